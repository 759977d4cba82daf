// AMX tiles of bf16 beside AVX-512 BF16: Sapphire Rapids and later. Also built with VL8_EMULATE_TILES for the
// tests.
#include "cpu/table.h"

// clang-format off: the order matters
#include "cpu/kernels/vec_avx512.inl"
#include "cpu/kernels/common.inl"
#include "cpu/kernels/bf16_units.inl"
#include "cpu/kernels/narrow_dot.inl"
#include "cpu/kernels/gemv_bf16.inl"
#include "cpu/kernels/tile.inl"
#include "cpu/kernels/amx.inl"
#include "cpu/kernels/amx_flash.inl"
// clang-format on

#ifndef VL8_AMX_TABLE  // other builds of these kernels have names of their own
#define VL8_AMX_TABLE table_amx
#endif

namespace vl8::cpu {
namespace {
constexpr MatrixKernels kAmxKernels = {2,
                                       16,
                                       kAmxRows,
                                       kAmxGroups,
                                       kAmxPanelBytes,
                                       pack_tokens<AmxCore>,
                                       amx_multiply,
                                       kGemvBf16Block,
                                       gemv_bf16_pack,
                                       gemv<DotRow>,
                                       kFlashGroups * 16,
                                       flash_bytes<AmxCore>,
                                       amx_flash,
                                       2};
}  // namespace
extern const KernelTable VL8_AMX_TABLE;
constinit const KernelTable VL8_AMX_TABLE = make_table(kExactKernels, kAmxKernels, amx_peak);
}  // namespace vl8::cpu
