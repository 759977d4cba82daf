#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"

namespace vl8 {
namespace {
constexpr uint64_t kEmptySlot = ~uint64_t(0);
constexpr int kRankBits = 22;
constexpr size_t kShortPiece = 64;  // bytes; up to here a scan for the lowest rank beats a heap

uint64_t pair_key(TokenId left, TokenId right) {
  return uint64_t(left) << kTokenIdBits | uint64_t(right);
}
uint64_t spread(uint64_t key) {
  return key * 0x9E3779B97F4A7C15u;
}
}  // namespace

Bpe::Bpe(const std::array<TokenId, 256>& byte_ids, std::vector<Merge> merges)
    : byte_ids_(byte_ids), byte_pair_rank_(256 * 256, kNoRank) {
  check(merges.size() <= kMaxMerges, "{} merges", merges.size());
  size_t slots = std::bit_ceil(std::max<size_t>(64, merges.size() * 2));
  slots_.assign(slots, kEmptySlot);
  mask_ = slots - 1;
  shift_ = 64 - std::countr_zero(slots);
  result_of_rank_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& m = merges[rank];
    uint64_t key = pair_key(m.left, m.right);
    uint64_t at = spread(key) >> shift_;
    while (slots_[at] != kEmptySlot) at = (at + 1) & mask_;
    slots_[at] = key << kRankBits | rank;
    result_of_rank_.push_back(m.result);
  }
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b)
      byte_pair_rank_[size_t(a * 256 + b)] = rank(byte_ids_[size_t(a)], byte_ids_[size_t(b)]);
}

uint32_t Bpe::rank(TokenId left, TokenId right) const {
  uint64_t key = pair_key(left, right);
  for (uint64_t at = spread(key) >> shift_;; at = (at + 1) & mask_) {
    uint64_t slot = slots_[at];
    if (slot >> kRankBits == key) return uint32_t(slot & ((1u << kRankBits) - 1));
    if (slot == kEmptySlot) return kNoRank;
  }
}

size_t Bpe::encode(std::string_view piece, TokenId* out, BpeWork& work) const {
  return piece.size() <= kShortPiece ? encode_short(piece, out) : encode_long(piece, out, work);
}

size_t Bpe::encode_short(std::string_view piece, TokenId* out) const {
  size_t n = piece.size();
  auto byte = [&](size_t i) { return size_t(uint8_t(piece[i])); };
  uint32_t ranks[kShortPiece + 1];  // ranks[i]: of the pair (i, i+1)
  for (size_t i = 0; i < n; ++i) out[i] = byte_ids_[byte(i)];
  for (size_t i = 0; i + 1 < n; ++i) ranks[i] = byte_pair_rank_[byte(i) * 256 + byte(i + 1)];
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == kNoRank) break;
    out[best] = result_of_rank_[ranks[best]];
    std::memmove(out + best + 1, out + best + 2, (n - best - 2) * sizeof *out);
    std::memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
    --n;
    if (best + 1 < n) ranks[best] = rank(out[best], out[best + 1]);
    if (best > 0) ranks[best - 1] = rank(out[best - 1], out[best]);
  }
  return n;
}

size_t Bpe::encode_long(std::string_view piece, TokenId* out, BpeWork& work) const {
  check(piece.size() < size_t(INT32_MAX), "a piece of {} bytes", piece.size());
  auto& symbols = work.symbols;
  auto& heap = work.heap;
  int32_t n = int32_t(piece.size());
  symbols.resize(piece.size());
  heap.clear();
  for (int32_t i = 0; i < n; ++i)
    symbols[size_t(i)] = {byte_ids_[uint8_t(piece[size_t(i)])], i - 1, i + 1 < n ? i + 1 : -1};
  auto offer = [&](int32_t left) {
    const auto& s = symbols[size_t(left)];
    if (s.next < 0) return;
    uint32_t r = rank(s.id, symbols[size_t(s.next)].id);
    if (r == kNoRank) return;
    heap.push_back(uint64_t(r) << 32 | uint32_t(left));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  for (int32_t i = 0; i < n; ++i) offer(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    uint32_t r = uint32_t(heap.back() >> 32);
    auto& s = symbols[size_t(uint32_t(heap.back()))];
    heap.pop_back();
    // The entry may be of a pair that has since been merged into something else.
    if (s.next < 0 || rank(s.id, symbols[size_t(s.next)].id) != r) continue;
    auto& gone = symbols[size_t(s.next)];
    int32_t left = int32_t(&s - symbols.data());
    s.id = result_of_rank_[r];
    s.next = gone.next;
    gone.next = -2;
    if (s.next >= 0) symbols[size_t(s.next)].prev = left;
    if (s.prev >= 0) offer(s.prev);
    offer(left);
  }
  size_t count = 0;
  for (int32_t i = 0; i >= 0; i = symbols[size_t(i)].next) out[count++] = symbols[size_t(i)].id;
  return count;
}

std::vector<TokenId> Bpe::encode_plainly(std::string_view piece) const {
  std::vector<TokenId> ids;
  for (char c : piece) ids.push_back(byte_ids_[uint8_t(c)]);
  for (;;) {
    uint32_t best_rank = kNoRank;
    size_t best = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i)
      if (uint32_t r = rank(ids[i], ids[i + 1]); r < best_rank) best_rank = r, best = i;
    if (best_rank == kNoRank) return ids;
    ids[best] = result_of_rank_[best_rank];
    ids.erase(ids.begin() + int64_t(best) + 1);
  }
}

}  // namespace vl8
