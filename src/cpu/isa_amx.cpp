// AMX tiles of bf16 beside AVX-512 BF16: Sapphire Rapids and later. Also built with VL8_EMULATE_TILES for the
// tests.
#include "cpu/table.h"

#include "cpu/kernels/amx.inl"
#include "cpu/kernels/bf16_units.inl"
#include "cpu/kernels/decode.inl"
#include "cpu/kernels/dot_bf16.inl"
#include "cpu/kernels/elementwise.inl"
#include "cpu/kernels/flash.inl"
#include "cpu/kernels/gemm.inl"
#include "cpu/kernels/gemv.inl"
#include "cpu/kernels/gemv_bf16.inl"
#include "cpu/kernels/math.inl"
#include "cpu/kernels/micro.inl"
#include "cpu/kernels/pack.inl"
#include "cpu/kernels/table_parts.inl"
#include "cpu/kernels/tile.inl"
#include "cpu/kernels/vec_avx512.inl"

#ifdef VL8_EMULATE_TILES
#define VL8_AMX_TABLE table_amx_emulated
#else
#define VL8_AMX_TABLE table_amx
#endif

namespace vl8::cpu {
namespace {
constexpr MatrixKernels kAmxKernels = {2,
                                       16,
                                       pack_tokens<AmxCore>,
                                       multiply<AmxCore>,
                                       gemv_bf16_bytes,
                                       gemv_bf16_pack,
                                       gemv_bf16,
                                       flash_bytes<AmxCore>,
                                       flash<AmxCore>,
                                       2};
}  // namespace
extern const KernelTable VL8_AMX_TABLE;
constinit const KernelTable VL8_AMX_TABLE = make_table(kExactKernels, kAmxKernels, amx_peak);
}  // namespace vl8::cpu
