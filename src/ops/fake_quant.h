// Rounding of a linear's input to eight bits and back, as the weight's format asks (precision w8a8): what a device with
// eight-bit matrix units computes, in float32. Inference and training share it, so that a model is trained for the
// rounding it will run with.
#pragma once
#include "ops/weight.h"

namespace vl8 {

enum class InputRounding : uint8_t {
  none,         // weights that are not of eight bits
  e4m3_static,  // one scale from the file
  e4m3_group,   // FP8 in blocks: per token and 128 features, s = max(amax, 1e-10) / 448 (spec 8.3)
  e4m3_token,   // FP8 per channel or tensor: per token, s = max(amax / 448, 1 / (448 * 512)) (spec 8.5)
  i8_token,     // INT8: per token, s = max(amax, 1e-10) / 127, codes -127..127
};
InputRounding input_rounding(const Weight& weight);

// x [rows, weight.k], in place.
void fake_quantise_input(const Weight& weight, float* x, int64_t rows);

// n values that share one scale: E4M3 with saturation, or int8 to nearest even.
void fake_quantise_e4m3(float* x, int64_t n, float scale);
void fake_quantise_i8(float* x, int64_t n, float scale);

}  // namespace vl8
