// Launching kernels: one place for stream, shared memory, cluster size and programmatic dependent launch.
#pragma once
#include <cuda_runtime.h>

#include <tuple>
#include <type_traits>

#include "cuda/gemm.h"
#ifdef VL8_CUDA_EMULATION
#include "cuda/emulate/emulate.h"
#endif

namespace vl8::cuda {

// Throws Error that names `what` and the CUDA error. Defined in cuda_error.cpp: fmt does not compile under nvcc.
void check_cuda(cudaError_t status, const char* what);

struct LaunchShape {
  dim3 grid, block;
  int shared_bytes = 0;
  int cluster = 1;
};

// Kernels of more than 48 KB of shared memory must have been allowed it: allow_shared, once per kernel and device.
template <typename... Args>
void allow_shared(void (*kernel)(Args...), int bytes) {
  if (bytes > 48 * 1024)
    check_cuda(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "shared memory limit");
}

#ifdef VL8_CUDA_EMULATION
#define VL8_DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(::vl8::emulate::dynamic_shared())
template <typename... Params, typename... Args>
void launch(const char*, void (*kernel)(Params...), const LaunchShape& shape, const GemmContext&, Args&&... args) {
  emulate::submit([=, parameters = std::tuple<std::remove_cv_t<Params>...>(Params(args)...)] {
    emulate::run(shape.grid, shape.block, shape.shared_bytes, [&] { std::apply(kernel, parameters); });
  });
}
#else
#define VL8_DYNAMIC_SHARED(type, name) extern __shared__ __align__(1024) type name[]
template <typename... Params, typename... Args>
void launch(const char* name, void (*kernel)(Params...), const LaunchShape& shape, const GemmContext& context,
            Args&&... args) {
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = size_t(shape.shared_bytes);
  config.stream = context.stream;
  config.attrs = attributes;
  if (shape.cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {unsigned(shape.cluster), 1, 1};
  }
  if (context.pdl && context.sm >= 90) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  check_cuda(cudaLaunchKernelEx(&config, kernel, Params(args)...), name);
}

#endif

}  // namespace vl8::cuda
