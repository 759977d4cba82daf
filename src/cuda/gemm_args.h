// What every matrix kernel is given: plain pointers and sizes, checked and flattened by gemm.cpp. Host and device.
#pragma once
#include "cuda/gemm.h"

namespace vl8::cuda {

template <Format F>
constexpr int kBytes = int(format_bytes(F));  // of one element; a variable, because device code may not call format_bytes

struct GemmArgs {
  const void* x;         // [m, k], row stride x_stride
  const float* x_scale;  // E4M3: [ceil(k / 128), x_scale_stride]
  const void* w;         // [experts, n, k]
  const float* w_scale;  // see Scales; [experts, ...]
  void* y;               // [m, columns], row stride y_stride
  const float* bias;     // [n] or null
  const void* residual;  // [m, columns], row stride residual_stride, or null
  const int32_t* offsets;  // [experts + 1] or null: one expert with all rows
  int m, n, k, experts;
  int columns;  // of y: n, or n / 2 with silu_mul
  int x_stride, x_scale_stride, y_stride, residual_stride;
  Format x_format, w_format, y_format, residual_format;
  Scales w_scales;
  Epilogue epilogue;
};

}  // namespace vl8::cuda
