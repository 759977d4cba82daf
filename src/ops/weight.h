// Weights as the model sees them: views into the checkpoint, in the number format of the file. How a backend lays
// them out for speed is its own affair (Ops::prepare). Source of names and scale rules: MODEL.md, spec 2.4 and 8.2.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace vl8 {

enum class ScaleKind : uint8_t {
  none,     // the stored values are the weights
  tensor,   // w = q * scale[0]
  channel,  // w = q * scale[row]
  block,    // w = q * scale[row / block_rows, col / block_cols], edge blocks may be smaller
  group,    // w = q * scale[row, col / block_cols]; block_cols a multiple of 16 that divides k
};

// Consecutive output rows that lie together in memory: [rows, k], row-major, no padding.
struct WeightPart {
  const void* data = nullptr;
  DType dtype = DType::f32;  // f32, f16, bf16, e4m3, e5m2, i8, i4 or e2m1; of the last two k is even
  int64_t rows = 0;
  ScaleKind scale_kind = ScaleKind::none;
  const float* scale = nullptr;  // multiplier; [1], [rows], [ceil(rows / block_rows), ceil(k / block_cols)] or of groups
  int64_t block_rows = 128, block_cols = 128;
  const uint16_t* scale_bf16 = nullptr;  // of groups, instead of `scale`: [rows, k / block_cols] as the file has them
  int64_t row_bytes(int64_t k) const { return k * dtype_bits(dtype) / 8; }
};

// What a backend keeps beside a weight (a packed copy, a device buffer).
struct PreparedWeight {
  virtual ~PreparedWeight() = default;
};

// A matrix [n, k] that maps k inputs to n outputs, y = x * Wᵀ. Fused projections (q|k|v, gate|up) are parts whose
// rows follow one another; nothing is copied to fuse them.
struct Weight {
  std::string name;  // for messages and probes: the module name of its first part
  int64_t n = 0, k = 0;
  std::vector<WeightPart> parts;
  float input_scale = 0;  // static activation scale of the file (w8a8 only); 0: dynamic
  std::shared_ptr<PreparedWeight> prepared;

  bool is_fp8() const {
    return !parts.empty() && (parts[0].dtype == DType::e4m3 || parts[0].dtype == DType::e5m2);
  }
  bool is_int8() const { return !parts.empty() && parts[0].dtype == DType::i8; }
};

struct Linear {
  Weight weight;
  Tensor bias;  // F32 [n], or empty
};

// Feed-forward experts of one MoE layer (spec 7.7). Per expert: gate_up [2M, C] (gate rows first), down [C, M].
struct Moe {
  Linear router;  // [E, C]
  std::vector<Linear> gate_up, down;
  int64_t top_k = 0;
};

}  // namespace vl8
