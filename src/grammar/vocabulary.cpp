#include "grammar/vocabulary.h"

#include <algorithm>

#include "core/error.h"
#include "grammar/network.h"
#include "text/utf8.h"

namespace vl8 {
namespace {

// -1: not plain characters only (or not whole ones).
int64_t plain_length(std::string_view s) {
  if (!is_valid_utf8(s)) return -1;
  int64_t n = 0;
  for (size_t i = 0; i < s.size(); ++n) {
    CodePoint c = decode_valid(s.data() + i);
    if (c.value < 0x20 || c.value == '"' || c.value == '\\') return -1;
    i += c.bytes;
  }
  return n;
}

std::vector<std::pair<TokenId, std::string>> ordinary_tokens(const Tokenizer& t) {
  std::vector<std::pair<TokenId, std::string>> out;
  for (TokenId id = 0; id < t.id_limit(); ++id)
    if (t.has_token(id) && !t.is_added(id)) out.emplace_back(id, t.token_bytes(id));
  return out;
}

std::vector<TokenId> control_tokens(const Tokenizer& t) {
  std::vector<TokenId> out;
  for (TokenId id = 0; id < t.id_limit(); ++id)
    if (t.is_added(id)) out.push_back(id);
  return out;
}

}  // namespace

TokenVocabulary::TokenVocabulary(const Tokenizer& t) : TokenVocabulary(ordinary_tokens(t), control_tokens(t), "tokenizer.json") {}

TokenVocabulary::TokenVocabulary(std::vector<std::pair<TokenId, std::string>> tokens, std::vector<TokenId> control,
                                 const std::string& origin)
    : origin_(origin) {
  for (auto& [id, _] : tokens) size_ = std::max(size_, id + 1);
  for (TokenId id : control) size_ = std::max(size_, id + 1);
  check(size_ < 1 << 24, "TokenVocabulary: token ids need more than three bytes");
  spellings_.resize(size_t(size_));
  for (auto& [id, bytes] : tokens)
    if (bytes.find(char(kTokenMark)) == std::string::npos && bytes.size() < 60'000) spellings_[size_t(id)] = std::move(bytes);
  for (TokenId id : control) spellings_[size_t(id)] = spell_token(id);
  build();
}

void TokenVocabulary::build() {
  std::vector<Token> plain, others;
  std::vector<std::pair<int64_t, TokenId>> by_length;
  std::vector<char> single(256, 0);
  for (TokenId id = 0; id < size_; ++id) {
    const std::string& s = spellings_[size_t(id)];
    if (s.empty()) continue;
    longest_ = std::max(longest_, int64_t(s.size()));
    if (s.size() == 1) single[uint8_t(s[0])] = 1;
    const int64_t n = plain_length(s);
    (n >= 0 ? plain : others).push_back({s, id});
    if (n >= 0) by_length.emplace_back(n, id);
  }
  for (int b = 0; b < 0xF5; ++b)  // 0xC0, 0xC1 and from 0xF5 on never occur in UTF-8
    if (!single[size_t(b)] && b != 0xC0 && b != 0xC1)
      fail(ErrorKind::unsupported,
           "{}: no token is the single byte 0x{:02X}; structured output needs a byte-level vocabulary, where every text can be said",
           origin_, b);
  plain_ = make_trie(plain);
  others_ = make_trie(others);
  std::sort(by_length.begin(), by_length.end());
  std::vector<uint32_t> mask(words(), 0);
  size_t next = 0;
  for (int64_t n = 0; next < by_length.size(); ++n) {
    for (; next < by_length.size() && by_length[next].first <= n; ++next)
      mask[size_t(by_length[next].second) / 32] |= 1u << (by_length[next].second % 32);
    plain_masks_.push_back(mask);
  }
}

std::vector<TokenVocabulary::Node> TokenVocabulary::make_trie(std::vector<Token>& tokens) {
  std::sort(tokens.begin(), tokens.end(), [](const Token& a, const Token& b) { return a.bytes < b.bytes; });
  std::vector<Node> nodes;
  std::vector<uint32_t> path;  // the nodes of the current token
  std::string_view before;
  auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) nodes[path.back()].end = uint32_t(nodes.size());
  };
  for (const Token& t : tokens) {
    const size_t common = size_t(std::mismatch(before.begin(), before.end(), t.bytes.begin(), t.bytes.end()).first - before.begin());
    // Equal spellings: the second token has a node of its own, so that both are allowed.
    const size_t keep = common == t.bytes.size() ? common - 1 : common;
    close(keep);
    for (size_t d = keep; d < t.bytes.size(); ++d) {
      path.push_back(uint32_t(nodes.size()));
      nodes.push_back({.end = 0, .token = -1, .byte = uint8_t(t.bytes[d]), .depth = uint16_t(d)});
    }
    nodes.back().token = t.id;
    before = t.bytes;
  }
  close(0);
  return nodes;
}

std::string_view TokenVocabulary::spelling(TokenId id) const {
  return id >= 0 && id < size_ ? std::string_view(spellings_[size_t(id)]) : std::string_view();
}

std::span<const uint32_t> TokenVocabulary::plain_up_to(int64_t n) const {
  return plain_masks_[size_t(std::min(n, longest_plain()))];
}

int64_t TokenVocabulary::greedy_count(std::string_view text) const {
  int64_t count = 0;
  while (!text.empty()) {
    size_t best = 1;  // every byte has a token
    for (const auto* trie : {&plain_, &others_})
      for (uint32_t i = 0; i < trie->size();) {
        const Node& n = (*trie)[i];
        if (n.depth >= text.size() || uint8_t(text[n.depth]) != n.byte) {
          i = n.end;
          continue;
        }
        if (n.token >= 0) best = std::max(best, size_t(n.depth) + 1);
        ++i;
      }
    text.remove_prefix(best);
    ++count;
  }
  return count;
}

}  // namespace vl8
