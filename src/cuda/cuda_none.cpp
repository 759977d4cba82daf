// Linked in place of the backend where the CUDA toolkit was not found.
#include "cuda/ceiling.h"
#include "cuda/cuda_ops.h"

namespace vl8 {
namespace {
[[noreturn]] void fail_not_built() {
  fail(ErrorKind::unsupported, "this vl8 was built without CUDA: install the CUDA toolkit (12.9 or newer) and build again, or use --backend cpu");
}
}  // namespace

bool cuda_built() { return false; }
bool cuda_usable() { return false; }
CudaDeviceInfo cuda_device(int) { fail_not_built(); }
std::unique_ptr<Ops> make_cuda_ops(const CudaOptions&) { fail_not_built(); }
CudaCeiling measure_cuda_ceiling(int) { fail_not_built(); }

}  // namespace vl8
