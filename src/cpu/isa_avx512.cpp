// AVX-512 F, BW, DQ, VL: Skylake-X, Zen 4 and later. Products in float32.
#include "cpu/table.h"

// clang-format off: the order matters
#include "cpu/kernels/vec_avx512.inl"
#include "cpu/kernels/common.inl"
// clang-format on

namespace vl8::cpu {
extern const KernelTable table_avx512;
constinit const KernelTable table_avx512 = make_table(kExactKernels, kExactKernels, peak_flop<FmaOp>);
}  // namespace vl8::cpu
