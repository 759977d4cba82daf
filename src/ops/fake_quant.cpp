#include "ops/fake_quant.h"

#include <algorithm>
#include <cmath>

namespace vl8 {
namespace {
float largest(const float* x, int64_t n) {
  float amax = 0;
  for (int64_t i = 0; i < n; ++i) amax = std::max(amax, std::fabs(x[i]));
  return amax;
}
}  // namespace

InputRounding input_rounding(const Weight& w) {
  if (w.is_int8()) return InputRounding::i8_token;
  if (!w.is_fp8()) return InputRounding::none;
  if (w.input_scale != 0) return InputRounding::e4m3_static;
  const ScaleKind kind = w.parts[0].scale_kind;
  return kind == ScaleKind::tensor || kind == ScaleKind::channel ? InputRounding::e4m3_token : InputRounding::e4m3_group;
}

void fake_quantise_e4m3(float* x, int64_t n, float scale) {
  for (int64_t i = 0; i < n; ++i) x[i] = e4m3_to_f32(f32_to_e4m3(x[i] / scale)) * scale;
}

void fake_quantise_i8(float* x, int64_t n, float scale) {
  for (int64_t i = 0; i < n; ++i) x[i] = std::clamp(std::nearbyint(x[i] / scale), -127.0f, 127.0f) * scale;
}

void fake_quantise_input(const Weight& w, float* x, int64_t rows) {
  constexpr int64_t kGroup = 128;
  const InputRounding rounding = input_rounding(w);
  if (rounding == InputRounding::none) return;
  const int64_t step = rounding == InputRounding::e4m3_group ? kGroup : w.k;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t at = 0; at < w.k; at += step) {
      float* p = x + r * w.k + at;
      const int64_t n = std::min(step, w.k - at);
      switch (rounding) {
        case InputRounding::e4m3_static: fake_quantise_e4m3(p, n, w.input_scale); break;
        case InputRounding::e4m3_group: fake_quantise_e4m3(p, n, std::max(largest(p, n), 1e-10f) / 448.0f); break;
        case InputRounding::e4m3_token:
          fake_quantise_e4m3(p, n, std::max(largest(p, n) / 448.0f, 1.0f / (448.0f * 512.0f)));
          break;
        case InputRounding::i8_token: fake_quantise_i8(p, n, std::max(largest(p, n), 1e-10f) / 127.0f); break;
        case InputRounding::none: break;
      }
    }
}

}  // namespace vl8
