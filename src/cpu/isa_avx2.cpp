// AVX2 with FMA and F16C: Haswell, Zen and later.
#include "cpu/table.h"

// clang-format off: the order matters
#include "cpu/kernels/vec_avx2.inl"
#include "cpu/kernels/common.inl"
// clang-format on

namespace vl8::cpu {
extern const KernelTable table_avx2;
constinit const KernelTable table_avx2 = make_table(kExactKernels, kExactKernels, peak_flop<FmaOp>);
}  // namespace vl8::cpu
