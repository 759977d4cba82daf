// tokenizer.json read and checked: everything that the tokenizer is made of, in plain values.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe.h"

namespace vl8 {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool normalized = false;   // matched in normalised text, else in the raw text
  bool special = false;
};

struct SplitStep {
  std::string pattern;
  bool literal = false;
};

struct TokenBytes {
  uint32_t offset = 0, size = 0;  // in TokenizerFile::blob
  bool present = false;
};

struct TokenizerFile {
  std::string origin;              // its name, for messages
  std::string blob;                // bytes of all tokens
  std::vector<TokenBytes> tokens;  // by id; ids without a token are not present
  size_t base_tokens = 0;          // entries of the model's vocabulary
  std::array<TokenId, 256> byte_ids{};
  std::vector<Merge> merges;
  bool ignore_merges = false;  // a piece that is a token is that token, whatever the merges say
  std::vector<AddedToken> added;
  std::vector<SplitStep> splits;  // applied one after the other
  bool nfc = false;
};

constexpr size_t kMaxTokenizerBytes = size_t(256) << 20;
constexpr size_t kMaxTokenLength = 4096;  // bytes of one vocabulary entry or added token
constexpr size_t kMaxAddedTokens = 65536;

// Throws Error(input) for a broken file and Error(unsupported) for what vl8 does not do; both name the field.
TokenizerFile parse_tokenizer_file(std::string_view json, const std::string& origin);

}  // namespace vl8
