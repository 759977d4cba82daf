// Matrix products of activations with weights: packs the tokens once, cuts the work into tasks and runs them
// on all threads. Several products (the experts of a layer) can share one run, so that their tasks fill the
// threads.
#pragma once
#include <span>

#include "cpu/context.h"

namespace vl8::cpu {

// y = curve(x Wᵀ + b) + residual for `tokens` rows of x; row i of x is x + index[i] * x_stride (index null:
// i).
struct Product {
  const Linear* linear = nullptr;
  const float* x = nullptr;
  int64_t x_stride = 0;
  const int32_t* index = nullptr;
  int64_t tokens = 0;
  Activation act = Activation::none;
  const float* residual = nullptr;  // rows as y
  float* y = nullptr;               // [tokens, n]
  bool exact = false;               // float32 arithmetic whatever the precision (the router of a MoE layer)
  bool gated = false;               // y [tokens, n / 2] = silu(first half) * second half; see gates_in_product
};

// Whether a product of so many tokens can be gated: the two halves must have one format, and few tokens, which go
// another way, gain nothing.
bool gates_in_product(const Context& context, const Linear& linear, int64_t tokens);

void run_products(Context& context, std::span<const Product> products);

}  // namespace vl8::cpu
