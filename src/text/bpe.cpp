#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"

namespace vl8 {
namespace {
constexpr uint64_t kEmptySlot = ~uint64_t(0);
constexpr int kRankBits = 22;
constexpr int kPresentBits =
    21;  // 256 KiB: stays in the second-level cache, 7 % false alarms with 151,387 merges

uint64_t pair_key(TokenId left, TokenId right) {
  return uint64_t(left) << kTokenIdBits | uint64_t(right);
}
uint64_t spread(uint64_t key) {
  return key * 0x9E3779B97F4A7C15u;
}
}  // namespace

Bpe::Bpe(const std::array<TokenId, 256>& byte_ids, std::span<const Merge> merges,
         std::span<const std::string_view> bytes)
    : byte_ids_(byte_ids), present_((size_t(1) << kPresentBits) / 64) {
  check(merges.size() <= kMaxMerges, "{} merges", merges.size());
  size_t slots = std::bit_ceil(std::max<size_t>(64, merges.size() + merges.size() / 2));
  slots_.assign(slots, kEmptySlot);
  mask_ = slots - 1;
  shift_ = 64 - std::countr_zero(slots);
  result_of_rank_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& m = merges[rank];
    uint64_t key = pair_key(m.left, m.right), hash = spread(key);
    uint64_t at = hash >> shift_;
    while (slots_[at] != kEmptySlot) at = (at + 1) & mask_;
    slots_[at] = key << kRankBits | rank;
    uint64_t bit = hash >> (64 - kPresentBits);
    present_[bit / 64] |= uint64_t(1) << (bit % 64);
    result_of_rank_.push_back(m.result);
  }
  fast_ = prepare_fast_path(merges, bytes);
  if (!fast_) origins_ = {}, length_ = {}, trie_ = {};
}

inline uint32_t Bpe::rank(TokenId left, TokenId right) const {
  uint64_t key = pair_key(left, right), hash = spread(key);
  uint64_t bit = hash >> (64 - kPresentBits);
  if (!(present_[bit / 64] >> (bit % 64) & 1)) return kNoRank;
  for (uint64_t at = hash >> shift_;; at = (at + 1) & mask_) {
    uint64_t slot = slots_[at];
    if (slot >> kRankBits == key) return uint32_t(slot & ((1u << kRankBits) - 1));
    if (slot == kEmptySlot) return kNoRank;
  }
}

bool Bpe::prepare_fast_path(std::span<const Merge> merges, std::span<const std::string_view> bytes) {
  origins_.assign(bytes.size(), {});
  length_.assign(bytes.size(), 0);
  std::vector<bool> made(bytes.size());
  std::vector<TokenTrie::Entry> whole;
  whole.reserve(merges.size() + 256);
  size_t total_bytes = 0;
  auto add = [&](TokenId id) {
    std::string_view b = bytes[size_t(id)];
    length_[size_t(id)] = uint16_t(b.size());
    whole.push_back({b, id});
    total_bytes += b.size();
  };
  for (TokenId id : byte_ids_) made[size_t(id)] = true, add(id);
  for (const Merge& m : merges) origins_[size_t(m.left)].goes_left = origins_[size_t(m.right)].goes_right = 1;
  for (uint32_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& m = merges[rank];
    if (made[size_t(m.result)] || !made[size_t(m.left)] || !made[size_t(m.right)]) return false;
    if (bytes[size_t(m.result)].size() > UINT16_MAX) return false;
    made[size_t(m.result)] = true;
    Origin& o = origins_[size_t(m.result)];
    o.left = uint32_t(m.left), o.right = uint32_t(m.right), o.born = rank + 1;
    bool parts_whole = length_[size_t(m.left)] && length_[size_t(m.right)];
    if (parts_whole && border_holds(m.left, m.right, rank + 1)) add(m.result);
  }
  if (total_bytes > TokenTrie::kMaxBytes) return false;
  TokenTrie::sort(whole);
  trie_ = TokenTrie(whole);
  return true;
}

// Undoes, last first, the merges that made the end of `left` and the begin of `right`. Whenever two tokens
// lay next to each other at the border, a merge of them with a rank below that of the merge that ended this
// (`limit`, 1 + rank) would have come first. At equal rank the leftmost place goes first: that is inside
// `left`, but before `right`.
// Which side was merged last is a coin's toss, so it is chosen without a branch.
inline bool Bpe::border_holds(TokenId left, TokenId right, uint32_t limit) const {
  Origin a = origins_[size_t(left)], b = origins_[size_t(right)];
  while (a.born != 0 || b.born != 0) {
    bool undo_left = a.born > b.born;
    limit = undo_left ? uint32_t(a.born) : uint32_t(b.born) + 1;
    left = undo_left ? TokenId(a.right) : left;
    right = undo_left ? right : TokenId(b.left);
    a = origins_[size_t(left)];
    b = origins_[size_t(right)];
    if (!(a.goes_left & b.goes_right)) continue;
    uint32_t r = rank(left, right);
    if (r != kNoRank && r + 1 < limit) return false;
  }
  return true;
}

bool Bpe::neighbours(TokenId left, TokenId right) const {
  bool may_merge = origins_[size_t(left)].goes_left & origins_[size_t(right)].goes_right;
  return !(may_merge && rank(left, right) != kNoRank) && border_holds(left, right, kNoRank);
}

size_t Bpe::encode(std::string_view piece, TokenId* out, BpeWork& work) const {
  return fast_ ? encode_fast(piece, out, work) : encode_by_heap(piece, out, work);
}

size_t Bpe::encode_fast(std::string_view piece, TokenId* out, BpeWork& work) const {
  auto [token, length] = trie_.longest(piece, piece.size());
  if (length == piece.size()) return *out = token, 1;
  work.blocked.assign(piece.size() / 64 + 1, 0);
  auto blocked = [&](size_t at) { return work.blocked[at / 64] >> (at % 64) & 1; };
  size_t count = 0, at = 0;
  for (;;) {
    TokenTrie::Found next;
    if (length == 0) {  // nothing fits behind the last token: it must be shorter
      check(count > 0, "no tokens for a piece of {} bytes", piece.size());
      work.blocked[at / 64] |= uint64_t(1) << (at % 64);
      token = out[--count];
      length = length_[size_t(token)];
      at -= length;
      next = trie_.longest(piece.substr(at), length - 1);
    } else if (!blocked(at + length) && (count == 0 || neighbours(out[count - 1], token))) {
      out[count++] = token;
      at += length;
      if (at == piece.size()) return count;
      next = trie_.longest(piece.substr(at), piece.size());
    } else {
      next = trie_.longest(piece.substr(at), length - 1);
    }
    token = next.id, length = next.bytes;
  }
}

size_t Bpe::encode_by_heap(std::string_view piece, TokenId* out, BpeWork& work) const {
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
