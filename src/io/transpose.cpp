// Register tiles of 16x16 bytes or 8x8 halves with SSE2, which every x86-64 has; tiles are walked in panels
// so that the cache lines of `out` are filled while they are in the cache.
#include "io/transpose.h"

#include <emmintrin.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace vl8 {
namespace {

template <typename T>
void transpose_plain(const T* in, int64_t rows, int64_t cols, T* out, int64_t r0, int64_t r1, int64_t c0,
                     int64_t c1) {
  for (int64_t c = c0; c < c1; ++c)
    for (int64_t r = r0; r < r1; ++r)
      std::memcpy(out + c * rows + r, in + r * cols + c, sizeof(T));  // `in` need not be aligned
}

// Interleaving row i with row i + N/2, log2(N) times, is the transpose of an N x N tile.
void tile(const uint8_t* in, int64_t cols, uint8_t* out, int64_t rows) {
  __m128i a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i * cols));
  for (int pass = 0; pass < 4; ++pass) {
    for (int i = 0; i < 8; ++i) {
      b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 8]);
      b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 8]);
    }
    std::copy(b, b + 16, a);
  }
  for (int i = 0; i < 16; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * rows), a[i]);
}

void tile(const uint16_t* in, int64_t cols, uint16_t* out, int64_t rows) {
  __m128i a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i * cols));
  for (int pass = 0; pass < 3; ++pass) {
    for (int i = 0; i < 4; ++i) {
      b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
      b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
    }
    std::copy(b, b + 8, a);
  }
  for (int i = 0; i < 8; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * rows), a[i]);
}

template <typename T>
void transpose_tiled(const T* in, int64_t rows, int64_t cols, T* out) {
  constexpr int64_t N = 16 / sizeof(T),
                    kPanel = 64;  // a panel of rows is one cache line of `out` (two for halves)
  const int64_t whole_rows = rows / N * N, whole_cols = cols / N * N;
  for (int64_t r0 = 0; r0 < whole_rows; r0 += kPanel)
    for (int64_t c = 0; c < whole_cols; c += N)
      for (int64_t r = r0; r < std::min(r0 + kPanel, whole_rows); r += N)
        tile(in + r * cols + c, cols, out + c * rows + r, rows);
  transpose_plain(in, rows, cols, out, whole_rows, rows, 0, whole_cols);
  transpose_plain(in, rows, cols, out, 0, rows, whole_cols, cols);
}

}  // namespace

void transpose(const void* in, int64_t rows, int64_t cols, size_t element_bytes, void* out) {
  switch (element_bytes) {
    case 1:
      return transpose_tiled(static_cast<const uint8_t*>(in), rows, cols, static_cast<uint8_t*>(out));
    case 2:
      return transpose_tiled(static_cast<const uint16_t*>(in), rows, cols, static_cast<uint16_t*>(out));
    case 4:
      return transpose_plain(static_cast<const uint32_t*>(in), rows, cols, static_cast<uint32_t*>(out), 0,
                             rows, 0, cols);
    default:
      fail(ErrorKind::internal, "transpose of elements of {} bytes", element_bytes);
  }
}

}  // namespace vl8
