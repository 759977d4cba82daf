// Which short texts are one token by themselves? Most words of prose are, so this is asked first, for a batch
// of pieces at a time: the table is larger than the caches, and `prefetch` hides its latency (150 ns to
// memory where this was measured).
#pragma once
#include <bit>
#include <cstdint>
#include <string_view>

#include "text/large_vector.h"
#include "text/string_ids.h"
#include "text/token_id.h"

namespace vl8 {

class WholeTokens {
 public:
  static constexpr size_t kMaxBytes = 12;

  // At most kMaxBytes bytes, which with the length are determined by the two words; and their hash.
  struct Key {
    uint64_t a;
    uint32_t b;
    uint32_t hash;
  };
  static Key key_of(std::string_view s) {  // of 1 to kMaxBytes bytes
    const char* p = s.data();
    size_t n = s.size();
    Key k{};
    if (n > 8) {
      k.a = load_u64(p), k.b = uint32_t(load_u32(p + n - 4));
    } else if (n >= 4) {
      k.a = load_u32(p) | load_u32(p + n - 4) << 32;
    } else {
      k.a = two_words(p, n).a;
    }
    k.hash = uint32_t(mix(k.a, uint64_t(k.b) << 8 | n) >> 16);
    return k;
  }

  explicit WholeTokens(size_t expected = 0)
      : slots_(std::bit_ceil(expected + expected / 2 + 1)), mask_(slots_.size() - 1) {}
  void add(std::string_view bytes, TokenId id) {  // at most `expected` of them, distinct
    Key k = key_of(bytes);
    size_t at = k.hash & mask_;
    while (slots_[at].length) at = (at + 1) & mask_;
    slots_[at] = {k.a, k.b, uint32_t(id), uint32_t(bytes.size())};
  }
  void prefetch(const Key& k) const { __builtin_prefetch(&slots_[k.hash & mask_]); }
  TokenId find(const Key& k, size_t length) const {  // -1: none
    for (size_t at = k.hash & mask_; slots_[at].length; at = (at + 1) & mask_) {
      const Slot& s = slots_[at];
      if (s.a == k.a && s.b == k.b && s.length == length) return TokenId(s.id);
    }
    return -1;
  }

 private:
  struct Slot {
    uint64_t a;
    uint32_t b;
    uint32_t id : 24, length : 8;  // length 0: empty
  };
  LargeVector<Slot> slots_;
  size_t mask_;
};

}  // namespace vl8
