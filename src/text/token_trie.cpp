#include "text/token_trie.h"

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace vl8 {
namespace {
// The first 8 bytes as a number that sorts like them; zeros follow a shorter string.
uint64_t leading_bytes(std::string_view s) {
  uint64_t word = 0;
  std::memcpy(&word, s.data(), std::min<size_t>(s.size(), 8));
  return __builtin_bswap64(word);
}

}  // namespace

void TokenTrie::sort(std::vector<Entry>& entries) {
  struct Keyed {
    uint64_t key;
    Entry entry;
  };
  LargeVector<Keyed> keyed;
  keyed.reserve(entries.size());
  for (const auto& e : entries) keyed.push_back({leading_bytes(e.bytes), e});
  std::sort(keyed.begin(), keyed.end(), [](const Keyed& a, const Keyed& b) {
    return a.key != b.key ? a.key < b.key : a.entry.bytes < b.entry.bytes;
  });
  for (size_t i = 0; i < entries.size(); ++i) entries[i] = keyed[i].entry;
}

TokenTrie::TokenTrie(std::span<const Entry> entries) : two_(256 * 256) {
  nodes_.reserve(entries.size() * 5 / 2);
  nodes_.emplace_back();
  labels_.push_back(0);
  build(entries, 0, 0);
  labels_.resize(labels_.size() + 16);
  for (int a = 0; a < 256; ++a)
    if (uint32_t first = child(nodes_[0], uint8_t(a)))
      for (int b = 0; b < 256; ++b) two_[size_t(a * 256 + b)] = child(nodes_[first], uint8_t(b));
}

// `entries` are sorted, share their first `depth` bytes and belong below `node`.
void TokenTrie::build(std::span<const Entry> entries, size_t depth, uint32_t node) {
  if (!entries.empty() && entries[0].bytes.size() == depth) {
    nodes_[node].token_plus1 = uint32_t(entries[0].id + 1);
    entries = entries.subspan(1);
  }
  uint32_t first = uint32_t(nodes_.size());
  nodes_[node].first = first;
  std::array<uint32_t, 257> ends;
  uint32_t count = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    uint8_t byte = uint8_t(entries[i].bytes[depth]);
    if (count == 0 || labels_.back() != byte) {
      labels_.push_back(byte);
      nodes_.emplace_back().label = byte;
      ++count;
    }
    ends[count] = uint32_t(i + 1);
  }
  ends[0] = 0;
  nodes_[node].children = count;
  for (uint32_t c = 0; c < count; ++c)
    build(entries.subspan(ends[c], ends[c + 1] - ends[c]), depth + 1, first + c);
}

// Without a branch that depends on where the byte is: how the walk goes on is hard enough to predict.
inline uint32_t TokenTrie::child(Node node, uint8_t byte) const {
  const uint8_t* labels = labels_.data() + node.first;
  const __m128i wanted = _mm_set1_epi8(char(byte));
  auto among = [&](uint32_t at) {
    __m128i found = _mm_cmpeq_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(labels + at)), wanted);
    return uint32_t(_mm_movemask_epi8(found));
  };
  uint32_t children = uint32_t(node.children);
  if (children <= 16) [[likely]] {
    uint32_t bits = among(0) & ((1u << children) - 1);
    return bits ? uint32_t(node.first) + uint32_t(std::countr_zero(bits)) : 0;
  }
  for (uint32_t at = 0; at < children; at += 16)
    if (uint32_t bits = among(at)) {
      uint32_t i = at + uint32_t(std::countr_zero(bits));
      return i < children ? uint32_t(node.first) + i : 0;
    }
  return 0;
}

TokenTrie::Found TokenTrie::longest(std::string_view text, size_t max_bytes) const {
  size_t n = std::min(text.size(), max_bytes);
  if (n == 0) return {};
  Found found;
  uint32_t node = n < 2 ? 0 : two_[size_t(uint8_t(text[0])) * 256 + uint8_t(text[1])];
  for (size_t i = 2; node; ++i) {
    Node at = nodes_[node];
    bool ends = at.token_plus1 != 0;
    found.id = ends ? TokenId(at.token_plus1) - 1 : found.id;
    found.bytes = ends ? uint32_t(i) : found.bytes;
    if (i == n) break;
    node = child(at, uint8_t(text[i]));
  }
  if (found.bytes) return found;
  uint32_t first = child(nodes_[0], uint8_t(text[0]));
  return first && nodes_[first].token_plus1 ? Found{TokenId(nodes_[first].token_plus1) - 1, 1} : found;
}

}  // namespace vl8
