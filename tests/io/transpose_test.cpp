#include "io/transpose.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace vl8 {
namespace {

TEST(Transpose, EqualsThePlainLoopOverRaggedSizes) {
  std::mt19937_64 rng(std::random_device{}());
  const int64_t sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 65, 130, 200};
  for (size_t element : {size_t(1), size_t(2), size_t(4)})
    for (int64_t rows : sizes)
      for (int64_t cols : sizes) {
        const size_t n = size_t(rows * cols) * element;
        std::vector<uint8_t> in(n + 1), out(n, 0xaa);
        for (auto& v : in) v = uint8_t(rng());
        const uint8_t* from = in.data() + (rows + cols) % 2;  // an unaligned source is allowed
        transpose(from, rows, cols, element, out.data());
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < cols; ++c)
            for (size_t b = 0; b < element; ++b)
              ASSERT_EQ(out[size_t(c * rows + r) * element + b], from[size_t(r * cols + c) * element + b])
                  << element << " bytes, [" << rows << ", " << cols << "] at " << r << ", " << c;
      }
}

}  // namespace
}  // namespace vl8
