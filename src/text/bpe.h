// Byte-pair merging: a piece of text starts as one token per byte; again and again the neighbouring pair of
// lowest rank (leftmost among equals) becomes one token, until no pair has a merge.
//
// `encode` gets the same result without replaying the merges. If every token has one merge that makes it,
// after its parts, then a sequence of tokens is the result of merging exactly when each token comes out whole
// from its own bytes and no pair of neighbours would have been merged differently across their border. So the
// longest token that fits is taken at each place, its border to the token before is checked by undoing the
// merges of both from the last to the first, and a shorter one is tried when the check fails. The result for
// a prefix is unique, so a place from which nothing fits is never tried twice: time is linear in the piece.
// Vocabularies of other kinds take the merges by a heap.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/token_id.h"
#include "text/token_trie.h"

namespace vl8 {

constexpr int kTokenIdBits = 20;
constexpr TokenId kMaxTokenId =
    (1 << kTokenIdBits) - 2;  // largest id accepted in a file; one more marks "none"
constexpr uint32_t kMaxMerges = (1u << 22) - 2;

struct Merge {
  TokenId left, right, result;
};

// Scratch of one caller; keeps its memory between pieces.
struct BpeWork {
  struct Symbol {
    TokenId id;
    int32_t prev, next;  // indices, -1 at the ends; next == -2 marks a symbol that was merged away
  };
  std::vector<Symbol> symbols;
  std::vector<uint64_t> heap;     // rank << 32 | index of the left symbol
  std::vector<uint64_t> blocked;  // one bit per place in the piece from which nothing fits
};

class Bpe {
 public:
  // byte_ids[b]: the token of the single byte b. Ranks are the indices of merges. Pairs must be distinct; ids
  // must be in [0, kMaxTokenId]. bytes[id]: of every token that a merge names; read during construction only.
  Bpe(const std::array<TokenId, 256>& byte_ids, std::span<const Merge> merges,
      std::span<const std::string_view> bytes);

  TokenId byte_id(uint8_t b) const { return byte_ids_[b]; }

  // Writes the tokens of a non-empty piece to `out` (room for piece.size() of them) and returns their count.
  size_t encode(std::string_view piece, TokenId* out, BpeWork& work) const;
  void prefetch(std::string_view piece) const {  // says that `encode` will be asked for this soon
    if (fast_) trie_.prefetch(piece);
  }
  // The same by a heap of merges, O(n log n), for any vocabulary.
  size_t encode_by_heap(std::string_view piece, TokenId* out, BpeWork& work) const;
  // The definition above as a plain loop, quadratic; the reference for tests.
  std::vector<TokenId> encode_plainly(std::string_view piece) const;

  bool has_fast_path() const { return fast_; }
  bool is_whole(TokenId id) const {  // its bytes alone give it back; known with the fast path only
    return fast_ && size_t(id) < length_.size() && length_[size_t(id)];
  }

 private:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  // How a token came to be, in 8 bytes. Bytes have no merge: born 0. Most tokens are part of no merge on one
  // side or both, so most borders need no look-up.
  struct Origin {
    uint64_t left : kTokenIdBits = 0, right : kTokenIdBits = 0;
    uint64_t born : 22 = 0;                          // 1 + rank of its merge
    uint64_t goes_left : 1 = 0, goes_right : 1 = 0;  // the left or right part of some merge
  };
  uint32_t rank(TokenId left, TokenId right) const;  // kNoRank if the pair has no merge
  bool prepare_fast_path(std::span<const Merge> merges, std::span<const std::string_view> bytes);
  bool neighbours(TokenId left, TokenId right) const;  // they stay apart, each whole, when merged from bytes
  bool border_holds(TokenId left, TokenId right, uint32_t limit) const;
  size_t encode_fast(std::string_view piece, TokenId* out, BpeWork& work) const;

  std::array<TokenId, 256> byte_ids_{};
  std::vector<TokenId> result_of_rank_;
  LargeVector<uint64_t> slots_;    // open addressing: left << 42 | right << 22 | rank
  std::vector<uint64_t> present_;  // a bit per hash of a pair that has a merge; most pairs end here
  uint64_t mask_ = 0;
  int shift_ = 0;

  bool fast_ = false;
  LargeVector<Origin> origins_;   // by id
  std::vector<uint16_t> length_;  // by id, in bytes; 0: not a token that merging can give
  TokenTrie trie_;
};

}  // namespace vl8
