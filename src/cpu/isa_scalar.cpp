// Plain C++ for any x86-64.
#include "cpu/table.h"

#include "cpu/kernels/decode.inl"
#include "cpu/kernels/elementwise.inl"
#include "cpu/kernels/flash.inl"
#include "cpu/kernels/gemm.inl"
#include "cpu/kernels/gemv.inl"
#include "cpu/kernels/math.inl"
#include "cpu/kernels/micro.inl"
#include "cpu/kernels/pack.inl"
#include "cpu/kernels/table_parts.inl"
#include "cpu/kernels/vec_plain.inl"

namespace vl8::cpu {
extern const KernelTable table_scalar;
constinit const KernelTable table_scalar = make_table(kExactKernels, kExactKernels, peak_flop<FmaOp>);
}  // namespace vl8::cpu
