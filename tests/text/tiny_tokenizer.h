// Small tokenizer.json texts for tests that need no material from outside: the 256 bytes, then one token per
// merge.
#pragma once
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "text/byte_alphabet.h"
#include "text/splitter.h"

namespace vl8::testing {
using Json = nlohmann::ordered_json;

// Merges as pairs in the byte alphabet, e.g. {"a", "b"}. Ids: bytes 0..255 by value, then merges in order.
inline Json tiny_tokenizer(const std::vector<std::pair<std::string, std::string>>& merges,
                           const std::string& pattern = std::string(kQwenPattern)) {
  Json vocab = Json::object(), list = Json::array();
  for (int b = 0; b < 256; ++b) vocab[written_byte(uint8_t(b))] = b;
  for (const auto& [left, right] : merges) {
    if (!vocab.contains(left + right)) vocab[left + right] = vocab.size();
    list.push_back(left + " " + right);
  }
  Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", Json::array()},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
          {"post_processor", byte_level},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"vocab", vocab},
            {"merges", list}}}};
}

inline Json added_token(int id, const std::string& content, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

// Random merges over the letters of `alphabet`: each joins two tokens that are there already.
inline std::vector<std::pair<std::string, std::string>> random_merges(const std::string& alphabet,
                                                                      size_t count, std::mt19937& random) {
  std::vector<std::string> tokens;
  for (char c : alphabet) tokens.emplace_back(1, c);
  std::set<std::string> known(tokens.begin(), tokens.end());
  std::vector<std::pair<std::string, std::string>> merges;
  for (size_t tries = 0; merges.size() < count && tries < count * 50; ++tries) {
    std::string left = tokens[random() % tokens.size()], right = tokens[random() % tokens.size()];
    if (left.size() + right.size() > 12 || !known.insert(left + right).second) continue;
    merges.emplace_back(left, right);
    tokens.push_back(left + right);
  }
  return merges;
}

// Text of any script and shape, with long runs, combining marks, blanks and line ends; valid UTF-8.
std::string random_text(std::mt19937& random, size_t characters);

}  // namespace vl8::testing
