// The kernels that every instruction set has, over the names of its vec_*.inl.
// clang-format off: the order matters
#include "cpu/kernels/math.inl"
#include "cpu/kernels/double_float.inl"
#include "cpu/kernels/pack.inl"
#include "cpu/kernels/micro.inl"
#include "cpu/kernels/gemm.inl"
#include "cpu/kernels/gemv.inl"
#include "cpu/kernels/flash.inl"
#include "cpu/kernels/flash_exact.inl"
#include "cpu/kernels/decode.inl"
#include "cpu/kernels/elementwise.inl"
#include "cpu/kernels/table_parts.inl"
// clang-format on
