#include "cpu/moe.h"

#include <algorithm>
#include <cmath>

#include "cpu/product.h"

namespace vl8::cpu {
namespace {

// The k largest of n logits, ties to the lower index, and their softmax among themselves, which equals the
// renormalised softmax over all (spec 7.7).
void route(const float* logits, int64_t n, int64_t k, int32_t* expert, float* weight) {
  int64_t have = 0;
  for (int64_t e = 0; e < n; ++e) {
    int64_t at = have;
    while (at > 0 && logits[e] > logits[expert[at - 1]]) --at;
    if (at >= k) continue;
    have = std::min(have + 1, k);
    for (int64_t i = have - 1; i > at; --i) expert[i] = expert[i - 1];
    expert[at] = int32_t(e);
  }
  double sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += std::exp(double(logits[expert[i]]) - double(logits[expert[0]]));
  for (int64_t i = 0; i < k; ++i)
    weight[i] = float(std::exp(double(logits[expert[i]]) - double(logits[expert[0]])) / sum);
}

// Token copies sorted by expert: slot j of `order` is the j-th row that the experts compute.
struct Groups {
  int32_t* begin;  // [experts + 1]: rows of expert e are begin[e] .. begin[e + 1]
  int32_t* token;  // [T * k]: token of a row
  int32_t* row;    // [T * k]: row of choice (t, i)
};

Groups group_by_expert(Context& c, const int32_t* expert, int64_t tokens, int64_t k, int64_t experts) {
  Groups g{c.scratch.array<int32_t>(experts + 1), c.scratch.array<int32_t>(tokens * k),
           c.scratch.array<int32_t>(tokens * k)};
  std::fill_n(g.begin, experts + 1, 0);
  for (int64_t i = 0; i < tokens * k; ++i) ++g.begin[expert[i] + 1];
  for (int64_t e = 0; e < experts; ++e) g.begin[e + 1] += g.begin[e];
  int32_t* next = c.scratch.array<int32_t>(experts);
  std::copy_n(g.begin, experts, next);
  for (int64_t i = 0; i < tokens * k; ++i) {
    g.row[i] = next[expert[i]]++;
    g.token[g.row[i]] = int32_t(i / k);
  }
  return g;
}

}  // namespace

void run_moe(Context& c, const Tensor& x, const Moe& moe, float* out) {
  Arena::Scope scope(c.scratch);
  const int64_t t = x.rows(), hidden = x.cols(), experts = moe.router.weight.n, k = moe.top_k;
  if (t == 0) return;
  float* logits = c.scratch.array<float>(t * experts);
  run_products(c, {{Product{.linear = &moe.router,
                            .x = x.f32(),
                            .x_stride = hidden,
                            .tokens = t,
                            .y = logits,
                            .exact = true}}});
  int32_t* expert = c.scratch.array<int32_t>(t * k);
  float* weight = c.scratch.array<float>(t * k);
  c.each_row(t, experts * 8, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) route(logits + i * experts, experts, k, expert + i * k, weight + i * k);
  });
  const Groups g = group_by_expert(c, expert, t, k, experts);

  const int64_t inner = moe.down[0].weight.k;
  float* gate_up = c.scratch.array<float>(t * k * 2 * inner);
  float* act = c.scratch.array<float>(t * k * inner);
  float* down = c.scratch.array<float>(t * k * hidden);
  Product* products = c.scratch.array<Product>(experts);
  size_t n = 0;
  for (int64_t e = 0; e < experts; ++e)
    if (int64_t rows = g.begin[e + 1] - g.begin[e]; rows > 0)
      products[n++] = {.linear = &moe.gate_up[size_t(e)],
                       .x = x.f32(),
                       .x_stride = hidden,
                       .index = g.token + g.begin[e],
                       .tokens = rows,
                       .y = gate_up + g.begin[e] * 2 * inner};
  run_products(c, {products, n});
  c.each_row(t * k, 2 * inner, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i)
      c.kernels.silu_mul(gate_up + i * 2 * inner, gate_up + i * 2 * inner + inner, inner, act + i * inner);
  });
  n = 0;
  for (int64_t e = 0; e < experts; ++e)
    if (int64_t rows = g.begin[e + 1] - g.begin[e]; rows > 0)
      products[n++] = {.linear = &moe.down[size_t(e)],
                       .x = act + g.begin[e] * inner,
                       .x_stride = inner,
                       .tokens = rows,
                       .y = down + g.begin[e] * hidden};
  run_products(c, {products, n});
  c.each_row(t, hidden * k, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      std::fill_n(out + i * hidden, hidden, 0.0f);
      for (int64_t j = 0; j < k; ++j)
        c.kernels.axpy(weight[i * k + j], down + int64_t(g.row[i * k + j]) * hidden, hidden,
                       out + i * hidden);
    }
  });
}

}  // namespace vl8::cpu
