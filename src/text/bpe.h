// Byte-pair merging: a piece of text starts as one token per byte; again and again the neighbouring pair of
// lowest rank (leftmost among equals) becomes one token, until no pair has a merge.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/token_id.h"

namespace vl8 {

constexpr int kTokenIdBits = 21;
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
  std::vector<uint64_t> heap;  // rank << 32 | index of the left symbol
};

class Bpe {
 public:
  Bpe() = default;
  // byte_ids[b]: the token of the single byte b. Ranks are the indices of merges. Pairs must be distinct
  // (see `find_merge`); ids must be in [0, kMaxTokenId].
  Bpe(const std::array<TokenId, 256>& byte_ids, std::vector<Merge> merges);

  TokenId byte_id(uint8_t b) const { return byte_ids_[b]; }

  // Writes the tokens of a non-empty piece to `out` (room for piece.size() of them) and returns their count.
  // Time is O(n log n) in the length of the piece.
  size_t encode(std::string_view piece, TokenId* out, BpeWork& work) const;
  // The definition above as a plain loop, quadratic; the reference for tests.
  std::vector<TokenId> encode_plainly(std::string_view piece) const;

  static constexpr uint32_t kNoRank = UINT32_MAX;
  uint32_t rank(TokenId left, TokenId right) const;  // kNoRank if the pair has no merge

 private:
  size_t encode_short(std::string_view piece, TokenId* out) const;
  size_t encode_long(std::string_view piece, TokenId* out, BpeWork& work) const;

  std::array<TokenId, 256> byte_ids_{};
  std::vector<TokenId> result_of_rank_;
  std::vector<uint32_t> byte_pair_rank_;  // [256 * 256], by bytes: the first look-up of every pair
  std::vector<uint64_t> slots_;           // open addressing: left << 43 | right << 22 | rank
  uint64_t mask_ = 0;
  int shift_ = 0;
};

}  // namespace vl8
