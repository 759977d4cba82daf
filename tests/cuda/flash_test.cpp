// The Hopper attention kernels, emulated on the CPU, against float64 loops over the same BF16 inputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "core/dtype.h"
#include "cuda/sm90/attention/flash.h"

namespace vl8::cuda::sm90 {
namespace {

std::vector<uint16_t> random_bf16(size_t n, std::mt19937_64& rng) {
  std::normal_distribution<float> normal(0, 1.5f);
  std::vector<uint16_t> v(n);
  for (uint16_t& x : v) x = f32_to_bf16(normal(rng));
  return v;
}

// softmax(q k / sqrt(d)) v of one query over `keys` keys.
template <typename Key, typename Value>
std::vector<double> attend(const uint16_t* q, int d, int keys, Key key, Value value) {
  std::vector<double> w(size_t(keys), 0.0), out(size_t(d), 0.0);
  double largest = -1e30, sum = 0;
  for (int j = 0; j < keys; ++j) {
    for (int c = 0; c < d; ++c) w[size_t(j)] += double(bf16_to_f32(q[c])) * bf16_to_f32(key(j)[c]) / std::sqrt(double(d));
    largest = std::max(largest, w[size_t(j)]);
  }
  for (double& x : w) sum += x = std::exp(x - largest);
  for (int j = 0; j < keys; ++j)
    for (int c = 0; c < d; ++c) out[size_t(c)] += w[size_t(j)] / sum * bf16_to_f32(value(j)[c]);
  return out;
}

struct Error {
  double difference = 0, norm = 0;
  void add(double got, double want) { difference += (got - want) * (got - want), norm += want * want; }
  double relative() const { return std::sqrt(difference / norm); }
};

// Sequences of q_len new rows that end at kv_len, over scattered pages.
void run_paged(std::vector<std::pair<int, int>> lengths, int q_heads, int kv_heads, int page_tokens) {
  std::mt19937_64 rng(std::random_device{}());
  constexpr int d = 128;
  std::vector<FlashPaged::Sequence> sequences;
  std::vector<FlashTile> tiles;
  std::vector<int32_t> pages;
  int tokens = 0, page_count = 1;
  for (auto [q_len, kv_len] : lengths) page_count += (kv_len + page_tokens - 1) / page_tokens;
  std::vector<int32_t> free_pages(static_cast<size_t>(page_count));
  for (int i = 0; i < page_count; ++i) free_pages[size_t(i)] = i;
  std::shuffle(free_pages.begin(), free_pages.end(), rng);
  for (auto [q_len, kv_len] : lengths) {
    for (int row = 0; row < q_len; row += kFlashRows) tiles.push_back({int32_t(sequences.size()), row});
    sequences.push_back({tokens, q_len, kv_len, int32_t(pages.size())});
    for (int p = 0; p < kv_len; p += page_tokens) pages.push_back(free_pages[pages.size()]);
    tokens += q_len;
  }
  size_t cache = size_t(page_count) * kv_heads * page_tokens * d;
  auto q = random_bf16(size_t(tokens) * q_heads * d, rng), k = random_bf16(cache, rng), v = random_bf16(cache, rng);
  std::vector<uint16_t> out(q.size() + 8, 0xffff);
  FlashPaged a{q.data(), k.data(), v.data(), out.data(), sequences.data(), pages.data(), tiles.data(),
               tokens, q_heads, kv_heads, page_count, page_tokens, int32_t(tiles.size())};
  GemmContext context;
  launch_flash_paged(a, context);
  Error error;
  for (auto& s : sequences)
    for (int i = 0; i < s.q_len; i += 7)
      for (int h = 0; h < q_heads; ++h) {
        auto at = [&](const std::vector<uint16_t>& x, int j) {
          int page = pages[size_t(s.page_begin + j / page_tokens)];
          return &x[((size_t(page) * kv_heads + h / (q_heads / kv_heads)) * page_tokens + j % page_tokens) * d];
        };
        size_t row = (size_t(s.q_begin + i) * q_heads + h) * d;
        auto want = attend(&q[row], d, s.kv_len - s.q_len + i + 1, [&](int j) { return at(k, j); }, [&](int j) { return at(v, j); });
        for (int c = 0; c < d; ++c) error.add(bf16_to_f32(out[row + size_t(c)]), want[size_t(c)]);
      }
  EXPECT_LT(error.relative(), 6e-3);  // weights and results rounded to BF16
  for (size_t i = out.size() - 8; i < out.size(); ++i) ASSERT_EQ(out[i], 0xffff) << "written past the end";
}

TEST(FlashEmulated, PagedCausal) {
  run_paged({{200, 200}, {5, 300}, {130, 141}}, 4, 2, 64);
  run_paged({{40, 40}, {1, 1}}, 2, 1, 16);
  run_paged({{129, 400}}, 1, 1, 128);
}

TEST(FlashEmulated, Vision) {
  for (int d : {64, 72}) {
    std::mt19937_64 rng(std::random_device{}());
    int heads = 3;
    std::vector<int32_t> segments = {0, 150, 156, 420};
    int n = segments.back();
    std::vector<FlashTile> tiles;
    for (int s = 0; s < 3; ++s)
      for (int row = 0; row < segments[size_t(s) + 1] - segments[size_t(s)]; row += kFlashRows) tiles.push_back({s, row});
    auto qkv = random_bf16(size_t(n) * 3 * heads * d, rng);
    std::vector<uint16_t> out(size_t(n) * heads * d + 8, 0xffff);
    launch_flash_vision({qkv.data(), out.data(), segments.data(), tiles.data(), n, heads, d, int32_t(tiles.size())}, {});
    Error error;
    for (int s = 0; s < 3; ++s)
      for (int i = segments[size_t(s)]; i < segments[size_t(s) + 1]; i += 5)
        for (int h = 0; h < heads; ++h) {
          auto at = [&](int row, int part) { return &qkv[((size_t(row) * 3 + part) * heads + h) * d]; };
          int begin = segments[size_t(s)];
          auto want = attend(at(i, 0), d, segments[size_t(s) + 1] - begin, [&](int j) { return at(begin + j, 1); }, [&](int j) { return at(begin + j, 2); });
          for (int c = 0; c < d; ++c) error.add(bf16_to_f32(out[(size_t(i) * heads + h) * d + size_t(c)]), want[size_t(c)]);
        }
    EXPECT_LT(error.relative(), 6e-3) << "head size " << d;
    ASSERT_EQ(out.back(), 0xffff) << "written past the end";
  }
}

}  // namespace
}  // namespace vl8::cuda::sm90
