// Plain C++ for any x86-64.
#include "cpu/table.h"

// clang-format off: the order matters
#include "cpu/kernels/vec_plain.inl"
#include "cpu/kernels/common.inl"
// clang-format on

namespace vl8::cpu {
extern const KernelTable table_scalar;
constinit const KernelTable table_scalar = make_table(kExactKernels, kExactKernels, peak_flop<FmaOp>);
}  // namespace vl8::cpu
