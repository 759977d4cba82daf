// Finds added tokens in text: leftmost, and the longest of those that begin there, as the reference does.
#pragma once
#include <array>
#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/marked_text.h"
#include "text/tokenizer_file.h"

namespace vl8 {

class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  struct Match {
    size_t begin,
        end;  // bytes of the text that the token takes, with stripped white space; begin == end: none left
    TokenId id;
  };
  // The first match at or after `from`, whose bytes may not begin before `from`. `text` is valid UTF-8;
  // `spans` say which of its bytes are not the author's (sorted; see Tokenizer::encode_prompt for the rule).
  Match next(std::string_view text, size_t from, std::span<const TrustSpan> spans) const;

  bool empty() const { return tokens_.empty(); }

 private:
  const AddedToken* longest_at(std::string_view text, size_t at, std::span<const TrustSpan> spans) const;

  std::vector<AddedToken> tokens_;
  std::array<bool, 256> starts_{};  // by first byte
  // A trie: (node << 8 | byte) -> node; node 0 is the root. token_of_node_: index into tokens_, or -1.
  std::unordered_map<uint64_t, uint32_t> edges_;
  std::vector<int32_t> token_of_node_;
};

}  // namespace vl8
