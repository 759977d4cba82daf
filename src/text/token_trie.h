// All tokens by their bytes: which is the longest that begins a text? The children of a node lie side by
// side, and a subtree behind its root, so that the walk for one word touches few cache lines: with 151,643
// tokens in 3 MB, a table hashed by (node, byte) was three times slower.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/large_vector.h"
#include "text/token_id.h"

namespace vl8 {

class TokenTrie {
 public:
  struct Entry {
    std::string_view bytes;  // not empty; distinct from all others
    TokenId id;
  };
  TokenTrie() = default;
  static constexpr size_t kMaxBytes = (size_t(1) << 24) - 2;
  // `sorted` by `sort`; at most kMaxBytes in all. The views are read here only.
  explicit TokenTrie(std::span<const Entry> sorted);
  static void sort(std::vector<Entry>& entries);

  struct Found {
    TokenId id = -1;  // -1: none
    uint32_t bytes = 0;
  };
  // The longest token that begins `text`, looking at no more than max_bytes of it.
  Found longest(std::string_view text, size_t max_bytes) const;

  void prefetch(std::string_view text) const {
    if (text.size() >= 2)
      __builtin_prefetch(&nodes_[two_[size_t(uint8_t(text[0])) * 256 + uint8_t(text[1])]]);
  }

 private:
  // 8 bytes: with all 333,009 nodes of the official vocabulary in 2.7 MB, the part in use stays in the
  // caches.
  struct Node {
    uint64_t first : 24 = 0;        // its first child
    uint64_t children : 9 = 0;      // 0..256
    uint64_t label : 8 = 0;         // the byte that leads here
    uint64_t token_plus1 : 22 = 0;  // of the token that ends here; 0: none
  };
  void build(std::span<const Entry> entries, size_t depth, uint32_t node);
  uint32_t child(Node node, uint8_t byte) const;  // 0: none

  LargeVector<Node> nodes_;      // node 0 is the root
  std::vector<uint8_t> labels_;  // by node, again, for searching many children at once; 16 more at the end
  std::vector<uint32_t> two_;    // by the first two bytes: the node, or 0
};

}  // namespace vl8
