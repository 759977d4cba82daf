#include "cuda/cublaslt.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "core/error.h"

namespace vl8::cuda {
namespace {

#define VL8_CUBLASLT(X)                                                                                          \
  X(cublasLtCreate) X(cublasLtGetVersion) X(cublasLtMatmul) X(cublasLtMatmulDescCreate)                          \
  X(cublasLtMatmulDescSetAttribute) X(cublasLtMatrixLayoutCreate) X(cublasLtMatmulPreferenceCreate)              \
  X(cublasLtMatmulPreferenceSetAttribute) X(cublasLtMatmulAlgoGetHeuristic)

struct Library {
#define VL8_MEMBER(name) decltype(&::name) name = nullptr;
  VL8_CUBLASLT(VL8_MEMBER)
#undef VL8_MEMBER
  cublasLtHandle_t handle = nullptr;
};

// One plan a shape: descriptors, layouts and the first algorithm of the heuristic. Kept for the life of the process.
struct Plan {
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
  cublasLtMatmulAlgo_t algo = {};
  bool found = false;
};

const Library* library() {
  static const std::unique_ptr<Library> loaded = []() -> std::unique_ptr<Library> {
    void* so = nullptr;
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"})
      if ((so = dlopen(name, RTLD_NOW | RTLD_LOCAL))) break;
    if (!so) return nullptr;
    auto lib = std::make_unique<Library>();
#define VL8_LOAD(name) \
  if (!(lib->name = reinterpret_cast<decltype(&::name)>(dlsym(so, #name)))) return nullptr;
    VL8_CUBLASLT(VL8_LOAD)
#undef VL8_LOAD
    if (lib->cublasLtGetVersion() < 120900 || lib->cublasLtCreate(&lib->handle) != CUBLAS_STATUS_SUCCESS) return nullptr;
    return lib;
  }();
  return loaded.get();
}

Plan make_plan(const Library& lib, const GemmArgs& a, size_t workspace_bytes) {
  Plan p;
  bool fp8 = a.w_format == Format::e4m3;
  cudaDataType_t type = fp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF, y_type = a.y_format == Format::bf16 ? CUDA_R_16BF : CUDA_R_32F;
  lib.cublasLtMatmulDescCreate(&p.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  auto set = [&](cublasLtMatmulDescAttributes_t name, auto value) {
    lib.cublasLtMatmulDescSetAttribute(p.desc, name, &value, sizeof value);
  };
  // Column-major: y' [n, m] = (W' [k, n])ᵀ x' [k, m].
  set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
  if (fp8) {
    set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, int32_t(CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F));
    set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, int32_t(CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F));
    set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, a.w_scale);
    set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, a.x_scale);
  }
  lib.cublasLtMatrixLayoutCreate(&p.w, type, uint64_t(a.k), uint64_t(a.n), a.k);
  lib.cublasLtMatrixLayoutCreate(&p.x, type, uint64_t(a.k), uint64_t(a.m), a.x_stride);
  lib.cublasLtMatrixLayoutCreate(&p.y, y_type, uint64_t(a.n), uint64_t(a.m), a.y_stride);
  cublasLtMatmulPreference_t preference;
  lib.cublasLtMatmulPreferenceCreate(&preference);
  lib.cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes,
                                           sizeof workspace_bytes);
  cublasLtMatmulHeuristicResult_t result;
  int count = 0;
  p.found = lib.cublasLtMatmulAlgoGetHeuristic(lib.handle, p.desc, p.w, p.x, p.y, p.y, preference, 1, &result, &count) ==
                CUBLAS_STATUS_SUCCESS &&
            count > 0;
  if (p.found) p.algo = result.algo;
  return p;
}

}  // namespace

bool cublaslt_found() { return library() != nullptr; }

bool cublaslt_fits(const GemmArgs& a) {
  bool formats = a.x_format == a.w_format && ((a.w_format == Format::bf16 && a.w_scales == Scales::none) ||
                                              (a.w_format == Format::e4m3 && a.w_scales == Scales::block && a.k % 512 == 0 &&
                                               a.m % 4 == 0 && a.n % 4 == 0));
  return formats && !a.offsets && !a.bias && a.epilogue == Epilogue::none &&
         (!a.residual || (a.residual_format == a.y_format && a.residual_stride == a.y_stride));
}

bool launch_cublaslt(const GemmArgs& a, void* workspace, size_t workspace_bytes, Stream stream) {
  const Library* lib = library();
  check(lib && cublaslt_fits(a), "cublasLt asked for a product it cannot do");
  static std::mutex mutex;
  static std::map<std::tuple<int, int, int, int, int, Format, Format>, Plan> plans;
  std::lock_guard lock(mutex);
  auto [at, fresh] = plans.try_emplace({a.m, a.n, a.k, a.x_stride, a.y_stride, a.w_format, a.y_format});
  if (fresh) at->second = make_plan(*lib, a, workspace_bytes);
  const Plan& p = at->second;
  if (!p.found) return false;
  if (a.w_format == Format::e4m3) {
    lib->cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &a.w_scale, sizeof a.w_scale);
    lib->cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &a.x_scale, sizeof a.x_scale);
  }
  float one = 1, beta = a.residual ? 1 : 0;
  return lib->cublasLtMatmul(lib->handle, p.desc, &one, a.w, p.w, a.x, p.x, &beta, a.residual ? a.residual : a.y, p.y, a.y,
                             p.y, &p.algo, workspace, workspace_bytes, stream) == CUBLAS_STATUS_SUCCESS;
}

}  // namespace vl8::cuda
