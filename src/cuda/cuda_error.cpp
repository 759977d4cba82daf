// CUDA failures as errors of vl8.
#include "core/error.h"
#include "cuda/launch.h"

namespace vl8::cuda {

void check_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    fail(ErrorKind::resource, "CUDA: {} failed: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

}  // namespace vl8::cuda
