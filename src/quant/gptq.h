// GPTQ (Frantar et al., arXiv 2210.17323): the codes of a row are chosen column by column, and what rounding a column
// did is made up for in the columns that follow, weighed by how inputs go together. Four-bit groups only.
#pragma once
#include <vector>

#include "core/threads.h"
#include "quant/writer.h"

namespace vl8 {

// The second moments of a layer's inputs, as GPTQ needs them: `factor` [k, k], row-major, the upper triangular U with
// (H + damping)^-1 = Uᵀ U. k up to about 16000: 4 k^2 bytes.
struct GptqFactor {
  int64_t k = 0;
  std::vector<float> u;
  std::vector<float> importance;  // [k]: the diagonal of H, for the choice of scales
};
// h [k, k] = sum of x xᵀ over tokens, symmetric; it is used up. Damping is a share of the mean diagonal; it grows tenfold
// until the matrix can be factored, which few tokens may need.
GptqFactor gptq_factor(std::vector<float> h, int64_t k, ThreadPool& pool);

CodeError gptq_encode(const MatrixJob& job, const float* w, const GptqFactor& factor, ScaleRule rule, ThreadPool& pool, EncodedMatrix& out);

}  // namespace vl8
