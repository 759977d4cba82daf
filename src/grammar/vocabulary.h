// The tokens of a tokenizer as byte strings in walking order: a trie stored in preorder, where a node knows where its subtree
// ends. Tokens of plain characters only (network.h: the inside of a JSON string) lie in a trie of their own and have ready masks
// by their length, so that the inside of a string costs only the walk of the others.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace vl8 {

class TokenVocabulary {
 public:
  struct Node {
    uint32_t end;    // of its subtree: the next node to look at when this byte is not allowed
    int32_t token;   // that ends here, -1: none
    uint8_t byte;
    uint8_t padding = 0;
    uint16_t depth;  // of the node; the first byte of a token has 0
  };
  struct Token {
    std::string_view bytes;
    TokenId id;
  };

  // Control tokens (all added tokens) take part by their spelling for grammars (spell_token) only. Throws Error(unsupported)
  // where a byte of UTF-8 has no token of its own: then dead ends could not be excluded.
  explicit TokenVocabulary(const Tokenizer& tokenizer);
  TokenVocabulary(std::vector<std::pair<TokenId, std::string>> tokens, std::vector<TokenId> control, const std::string& origin);

  int32_t size() const { return size_; }  // one more than the largest id
  size_t words() const { return (size_t(size_) + 31) / 32; }
  int64_t longest_bytes() const { return longest_; }
  std::string_view spelling(TokenId id) const;  // empty: no such token, or one that no grammar can say

  const std::vector<Node>& plain() const { return plain_; }
  const std::vector<Node>& others() const { return others_; }
  // Tokens of at most n plain characters, as mask words; n beyond the longest is the longest.
  std::span<const uint32_t> plain_up_to(int64_t n) const;
  int64_t longest_plain() const { return int64_t(plain_masks_.size()) - 1; }

  // Tokens that together spell `text`, longest first at every step: the number of them.
  int64_t greedy_count(std::string_view text) const;

 private:
  void build();
  static std::vector<Node> make_trie(std::vector<Token>& tokens);

  int32_t size_ = 0;
  int64_t longest_ = 0;
  std::vector<std::string> spellings_;
  std::string origin_;
  std::vector<Node> plain_, others_;
  std::vector<std::vector<uint32_t>> plain_masks_;
};

}  // namespace vl8
