// The strip version takes one block at a time into a float32 tile that stays in the cache, and works on it in
// branch-free loops that compilers vectorise. It must give the bits of quantize_reference.
#include "quant/fp8_block.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"

namespace vl8 {
namespace {

constexpr int32_t kMagnitude = 0x7fffffff, kInfinity = 0x7f800000;
constexpr float kLargest = 448;
constexpr int32_t kLargestBits = 0x43e00000;
constexpr int64_t kMaxBlock = 128;
constexpr int64_t kLanes = 16;  // partial sums, so that the compiler may add them in parallel

// A ?: that stays arithmetic: GCC makes a branch of it where one side is dear, and then does not vectorise.
inline int32_t choose(bool first, int32_t a, int32_t b) {
  return b ^ ((a ^ b) & -int32_t(first));
}

// f32_to_e4m3 without branches: NaN does not occur here.
inline uint8_t encode(float x) {
  const int32_t u = std::bit_cast<int32_t>(x), sign = (u >> 24) & 0x80;
  const int32_t bits = std::min(u & kMagnitude, kLargestBits);
  const int32_t small =
      std::bit_cast<int32_t>(std::bit_cast<float>(bits) + 0x1p14f) - 0x46800000;    // below 2^-6
  const int32_t normal = (bits + 0x7ffff + ((bits >> 20) & 1) - 0x3c000000) >> 20;  // 3 bits of mantissa
  return uint8_t(sign | choose(bits < 0x3c800000, small, normal));
}

inline float decode_magnitude(int32_t code) {  // of a code below 0x7f
  const int32_t small = std::bit_cast<int32_t>(float(code) * 0x1p-9f), normal = (code << 20) + 0x3c000000;
  return std::bit_cast<float>(choose(code < 8, small, normal));
}

void to_f32(const void* in, DType dtype, int64_t at, int64_t n, float* out) {
  if (dtype == DType::f32) {
    std::copy_n(static_cast<const float*>(in) + at, n, out);
  } else if (dtype == DType::bf16) {
    auto p = static_cast<const uint16_t*>(in) + at;
    for (int64_t i = 0; i < n; ++i) out[i] = bf16_to_f32(p[i]);
  } else {
    check(dtype == DType::f16, "quantising {} weights", dtype_name(dtype));
    auto p = static_cast<const uint16_t*>(in) + at;
    for (int64_t i = 0; i < n; ++i) out[i] = f16_to_f32(p[i]);
  }
}

int32_t largest_bits(const float* x, int64_t n) {  // magnitudes order like their bits
  int32_t most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::bit_cast<int32_t>(x[i]) & kMagnitude);
  return most;
}

// y = x / scale, in place, and its codes.
void encode_run(float* __restrict x, int64_t n, float scale, uint8_t* __restrict out) {
  for (int64_t i = 0; i < n; ++i) x[i] /= scale;
  for (int64_t i = 0; i < n; ++i) out[i] = encode(x[i]);
}

// Partial sums of one run, in units of the scale, where no square overflows.
struct LaneSums {
  float error[kLanes] = {}, square[kLanes] = {}, coded[kLanes] = {}, product[kLanes] = {};
  inline void add(int64_t lane, float y, uint8_t code) {
    const float v = std::fabs(y), q = decode_magnitude(code & 0x7f), e = v - q;
    error[lane] += e * e;
    square[lane] += v * v;
    coded[lane] += q * q;
    product[lane] += v * q;  // they have one sign
  }
};

BlockError error_of_run(const float* __restrict y, int64_t n, const uint8_t* __restrict codes) {
  LaneSums lanes;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) lanes.add(j, y[i + j], codes[i + j]);
  for (int64_t j = 0; i < n; ++i, ++j) lanes.add(j, y[i], codes[i]);
  BlockError sum;
  for (int64_t j = 0; j < kLanes; ++j)
    sum.error += double(lanes.error[j]), sum.square += double(lanes.square[j]), sum.coded += double(lanes.coded[j]),
        sum.product += double(lanes.product[j]);
  return sum;
}

}  // namespace

void encode_e4m3(const float* x, int64_t n, uint8_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = encode(x[i]);
}

void decode_e4m3(const uint8_t* codes, int64_t n, float scale, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    const int32_t sign = int32_t(uint32_t(codes[i] & 0x80) << 24);
    out[i] = std::bit_cast<float>(std::bit_cast<int32_t>(decode_magnitude(codes[i] & 0x7f)) | sign) * scale;
  }
}

std::optional<BlockError> quantize_strip(const void* in, DType dtype, int64_t rows, int64_t cols,
                                         int64_t block, uint8_t* out, float* scales) {
  check(rows <= block && block <= kMaxBlock, "a strip of {} rows in blocks of {}", rows, block);
  float tile[kMaxBlock * kMaxBlock];
  BlockError sum;
  for (int64_t begin = 0; begin < cols; begin += block) {
    const int64_t width = std::min(block, cols - begin);
    for (int64_t r = 0; r < rows; ++r) to_f32(in, dtype, r * cols + begin, width, tile + r * width);
    const int32_t most = largest_bits(tile, rows * width);
    if (most >= kInfinity) return std::nullopt;
    float scale = std::bit_cast<float>(most) / kLargest;
    if (scale == 0) scale = 1;
    scales[begin / block] = scale;
    for (int64_t r = 0; r < rows; ++r) {
      uint8_t* codes = out + r * cols + begin;
      encode_run(tile + r * width, width, scale, codes);
      const BlockError e = error_of_run(tile + r * width, width, codes);
      const double unit = double(scale) * double(scale);
      sum.error += e.error * unit, sum.square += e.square * unit, sum.coded += e.coded * unit, sum.product += e.product * unit;
    }
  }
  return sum;
}

bool quantize_reference(const float* in, int64_t rows, int64_t cols, int64_t block, uint8_t* out,
                        float* scales) {
  const int64_t columns = (cols + block - 1) / block;
  for (int64_t r0 = 0; r0 < rows; r0 += block)
    for (int64_t c0 = 0; c0 < cols; c0 += block) {
      const int64_t r1 = std::min(r0 + block, rows), c1 = std::min(c0 + block, cols);
      float amax = 0;
      for (int64_t r = r0; r < r1; ++r)
        for (int64_t c = c0; c < c1; ++c) {
          if (!std::isfinite(in[r * cols + c])) return false;
          amax = std::max(amax, std::fabs(in[r * cols + c]));
        }
      float s = amax / 448;
      if (s == 0) s = 1;
      scales[r0 / block * columns + c0 / block] = s;
      for (int64_t r = r0; r < r1; ++r)
        for (int64_t c = c0; c < c1; ++c) out[r * cols + c] = f32_to_e4m3(in[r * cols + c] / s);
    }
  return true;
}

}  // namespace vl8
