// Inside media only: the inner loops, one table per instruction set. The files kernels_avx2.cpp and
// kernels_avx512.cpp are compiled for a newer CPU, so this header has no inline functions and no STL: what
// the linker could merge with the copy of another file must not exist here. All tables give the same bits.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace vl8::pixel {

// One axis of a resize. Output i = clamp((round + sum_k weight[i][k] * in[first[i] + k]) >> shift, 0, 255)
// with round = 2^(shift-1), weight = high, or high * 2^kSplitBits + low where low is not null (weights of
// more than 16 bits).
struct Axis {
  int in, out;  // samples
  int taps;     // per output, a multiple of 4; unused ones are 0. first[i] + taps <= in unless in < taps
  int shift;
  const int32_t* first;  // [out]
  const int16_t* high;   // [out][taps]
  const int16_t* low;    // [out][taps], 0 .. 2^kSplitBits - 1, or null
};
constexpr int kSplitBits = 11;
constexpr int kRowsAtOnce = 4;  // of the horizontal pass
constexpr int kSlack = 64;      // bytes after the last row that a kernel may read, never write

// (x - mean) / std for the three channels, in float32 with the rounding of a division.
struct Norm {
  float mean[3], std[3], inverse[3];  // inverse = float(1 / std)
  const float* exact;                 // [3][256]: the plain division
};

struct Kernels {
  const char* name;

  // RGB rows: in[r] has axis.in pixels, out[r] gets axis.out. r = 0 .. kRowsAtOnce - 1; rows may repeat.
  // Needs axis.in >= axis.taps and kSlack readable bytes after each in[r].
  void (*horizontal)(const uint8_t* const* in, uint8_t* const* out, const Axis* axis);

  // out[i] = clamp((round + sum_k weight[k] * rows[k][i]) >> shift) for i < bytes; taps is even.
  void (*vertical)(const uint8_t* const* rows, const int16_t* high, const int16_t* low, int taps, int shift,
                   int64_t bytes, uint8_t* out);

  // One patch of 16x16 pixels: out[c * plane + copy * 256 + 16 * y + x] = norm(rgb[y * stride + 3 * x + c])
  // for copy < copies. 64-byte aligned output; `stream` writes around the cache (end with `fence`). Needs
  // rgb[15 * stride + 47] to be the last byte that is read.
  void (*patch_f32)(const uint8_t* rgb, size_t stride, const Norm* norm, size_t plane, int copies,
                    bool stream, float* out);
  void (*patch_bf16)(const uint8_t* rgb, size_t stride, const Norm* norm, size_t plane, int copies,
                     bool stream, uint16_t* out);
  void (*fence)();
};

extern const Kernels kScalarKernels, kAvx2Kernels, kAvx512Kernels;

}  // namespace vl8::pixel
