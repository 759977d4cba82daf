// The plain loops, for any CPU.
#include "media/kernels.h"

namespace vl8::pixel {
namespace {

uint8_t clamp_byte(int64_t v) {
  return uint8_t(v < 0 ? 0 : v > 255 ? 255 : v);
}

int weight_of(const int16_t* high, const int16_t* low, int64_t i) {
  return low ? high[i] * (1 << kSplitBits) + low[i] : high[i];
}

void horizontal(const uint8_t* const* in, uint8_t* const* out, const Axis* axis) {
  for (int r = 0; r < kRowsAtOnce; ++r) {
    if (r && out[r] == out[r - 1]) continue;
    for (int i = 0; i < axis->out; ++i) {
      int32_t sum[3] = {1 << (axis->shift - 1), 1 << (axis->shift - 1), 1 << (axis->shift - 1)};
      const uint8_t* p = in[r] + int64_t(axis->first[i]) * 3;
      for (int k = 0; k < axis->taps; ++k) {
        if (axis->first[i] + k >= axis->in)
          break;  // only where the axis is shorter than the filter: weight 0
        int w = weight_of(axis->high, axis->low, int64_t(i) * axis->taps + k);
        for (int c = 0; c < 3; ++c) sum[c] += w * p[3 * k + c];
      }
      for (int c = 0; c < 3; ++c) out[r][3 * i + c] = clamp_byte(sum[c] >> axis->shift);
    }
  }
}

void vertical(const uint8_t* const* rows, const int16_t* high, const int16_t* low, int taps, int shift,
              int64_t bytes, uint8_t* out) {
  constexpr int kBlock = 256;  // sums of a block stay in the L1 cache and the inner loop runs along the rows
  int32_t sum[kBlock];
  for (int64_t at = 0; at < bytes; at += kBlock) {
    const int n = int(bytes - at < kBlock ? bytes - at : kBlock);
    for (int i = 0; i < n; ++i) sum[i] = 1 << (shift - 1);
    for (int k = 0; k < taps; ++k) {
      const int w = weight_of(high, low, k);
      const uint8_t* row = rows[k] + at;
      for (int i = 0; i < n; ++i) sum[i] += w * row[i];
    }
    for (int i = 0; i < n; ++i) out[at + i] = clamp_byte(sum[i] >> shift);
  }
}

uint16_t round_bf16(float f) {
  union {
    float f;
    uint32_t u;
  } bits = {f};
  return uint16_t((bits.u + 0x7fff + (bits.u >> 16 & 1)) >> 16);
}

void patch_f32(const uint8_t* rgb, size_t stride, const Norm* norm, size_t plane, int copies, bool,
               float* out) {
  for (int c = 0; c < 3; ++c)
    for (int i = 0; i < 256; ++i) {
      const float v = norm->exact[c * 256 + rgb[size_t(i / 16) * stride + size_t(i % 16 * 3 + c)]];
      for (int copy = 0; copy < copies; ++copy) out[size_t(c) * plane + size_t(copy * 256 + i)] = v;
    }
}

void patch_bf16(const uint8_t* rgb, size_t stride, const Norm* norm, size_t plane, int copies, bool,
                uint16_t* out) {
  for (int c = 0; c < 3; ++c)
    for (int i = 0; i < 256; ++i) {
      const uint16_t v =
          round_bf16(norm->exact[c * 256 + rgb[size_t(i / 16) * stride + size_t(i % 16 * 3 + c)]]);
      for (int copy = 0; copy < copies; ++copy) out[size_t(c) * plane + size_t(copy * 256 + i)] = v;
    }
}

void fence() {}

}  // namespace

extern const Kernels kScalarKernels;
const Kernels kScalarKernels = {"scalar", horizontal, vertical, patch_f32, patch_bf16, fence};

}  // namespace vl8::pixel
