// AVX-512 with BF16 dot products and GFNI: Zen 4 and later (full rate), Sapphire Rapids and later (half
// rate).
#include "cpu/table.h"

// clang-format off: the order matters
#include "cpu/kernels/vec_avx512.inl"
#include "cpu/kernels/common.inl"
#include "cpu/kernels/bf16_units.inl"
#include "cpu/kernels/dot_bf16.inl"
#include "cpu/kernels/narrow_dot.inl"
#include "cpu/kernels/gemv_bf16.inl"
// clang-format on

namespace vl8::cpu {
namespace {
constexpr MatrixKernels kDotKernels = {2,
                                       1,
                                       kTaskRows,
                                       kTaskGroups,
                                       kPanelBytes,
                                       pack_tokens<DotCore>,
                                       multiply<DotCore>,
                                       kGemvBf16Block,
                                       gemv_bf16_pack,
                                       gemv<DotRow>,
                                       kFlashGroups * 16,
                                       flash_bytes<DotCore>,
                                       flash<DotCore>,
                                       kGemvTokens};
}  // namespace
extern const KernelTable table_avx512_bf16;
constinit const KernelTable table_avx512_bf16 = make_table(kExactKernels, kDotKernels, peak_flop<DotOp>);
}  // namespace vl8::cpu
