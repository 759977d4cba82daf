// The emulated backend has no cuBLASLt.
#include "cuda/cublaslt.h"

namespace vl8::cuda {

bool cublaslt_found() { return false; }
bool cublaslt_fits(const GemmArgs&) { return false; }
bool launch_cublaslt(const GemmArgs&, void*, size_t, Stream) { return false; }

}  // namespace vl8::cuda
