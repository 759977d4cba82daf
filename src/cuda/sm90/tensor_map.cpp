#include "cuda/sm90/tensor_map.h"

#include <cuda_runtime.h>

#include "core/error.h"
#include "cuda/launch.h"

#ifdef VL8_CUDA_EMULATION
#include <cstring>

#include "cuda/emulate/ptx_sm90.h"

namespace vl8::cuda::sm90 {

CUtensorMap matrix_map(const void* data, Format format, int64_t rows, int64_t columns, int64_t stride, int box_rows,
                       int box_columns, bool swizzle) {
  int unit = int(format_bytes(format));
  check(stride * unit % 16 == 0 && box_columns * unit % 16 == 0 && box_rows <= 256 && box_columns <= 256,
        "the tensor copy engine does not take rows of {} elements in boxes of {} x {}", stride, box_rows, box_columns);
  EmulatedMap m{static_cast<const char*>(data), rows, columns * unit, stride * unit, box_rows, box_columns * unit, unit, swizzle};
  CUtensorMap map = {};
  std::memcpy(&map, &m, sizeof m);
  return map;
}

CUtensorMap heads_map(const void* data, int64_t rows, int64_t heads, int64_t dim, int box_rows) {
  EmulatedMap m{static_cast<const char*>(data), rows, dim * 2, heads * dim * 2, box_rows, 128, 2, 1, heads};
  CUtensorMap map = {};
  std::memcpy(&map, &m, sizeof m);
  return map;
}

}  // namespace vl8::cuda::sm90
#else
namespace vl8::cuda::sm90 {
namespace {

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                            const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// The driver's function, asked of the runtime so that nothing links against libcuda.
Encode encoder() {
  static Encode found = [] {
    void* f = nullptr;
    cudaDriverEntryPointQueryResult status;
    check_cuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000, cudaEnableDefault, &status),
               "looking up cuTensorMapEncodeTiled");
    if (status != cudaDriverEntryPointSuccess || !f)
      fail(ErrorKind::unsupported, "the NVIDIA driver is too old for Hopper kernels: install driver 580 or newer");
    return reinterpret_cast<Encode>(f);
  }();
  return found;
}

}  // namespace

CUtensorMap matrix_map(const void* data, Format format, int64_t rows, int64_t columns, int64_t stride, int box_rows,
                       int box_columns, bool swizzle) {
  CUtensorMap map;
  CUtensorMapDataType type = format == Format::f32    ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
                             : format == Format::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                      : CU_TENSOR_MAP_DATA_TYPE_UINT8;
  cuuint64_t sizes[2] = {cuuint64_t(columns), cuuint64_t(rows)};
  cuuint64_t strides[1] = {cuuint64_t(stride * format_bytes(format))};
  cuuint32_t box[2] = {cuuint32_t(box_columns), cuuint32_t(box_rows)}, steps[2] = {1, 1};
  CUresult r = encoder()(&map, type, 2, const_cast<void*>(data), sizes, strides, box, steps,
                         CU_TENSOR_MAP_INTERLEAVE_NONE,
                         swizzle ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
                         CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(r == CUDA_SUCCESS, "tensor map of [{}, {}] stride {} box {} x {}: driver error {}", rows, columns, stride,
        box_rows, box_columns, int(r));
  return map;
}

CUtensorMap heads_map(const void* data, int64_t rows, int64_t heads, int64_t dim, int box_rows) {
  CUtensorMap map;
  cuuint64_t sizes[3] = {cuuint64_t(dim), cuuint64_t(heads), cuuint64_t(rows)};
  cuuint64_t strides[2] = {cuuint64_t(dim * 2), cuuint64_t(heads * dim * 2)};
  cuuint32_t box[3] = {64, 1, cuuint32_t(box_rows)}, steps[3] = {1, 1, 1};
  CUresult r = encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(data), sizes, strides, box, steps,
                         CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                         CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(r == CUDA_SUCCESS, "tensor map of [{}, {}, {}]: driver error {}", rows, heads, dim, int(r));
  return map;
}

}  // namespace vl8::cuda::sm90
#endif
