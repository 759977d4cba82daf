// Matrix products on a CUDA device: y = act(x Wᵀ + bias) + residual, plain and grouped by expert. This header is all
// that the rest of the backend sees; which kernel runs is decided in choose/gemm_choice.h and launched by gemm.cpp.
//
// Numerics (MODEL.md "Number formats"): products are summed in float32. E4M3 activations: sums over 128 features are
// multiplied by (row scale * weight scale) in float32 and added up in float32, which is how the FP8 checkpoints are
// meant. F32 activations: float32 FMA on exactly dequantised weights. BF16 activations: BF16 (or exact E4M3) operands,
// float32 sums. All calls are asynchronous on context.stream, allocate nothing, and can be captured in a graph.
#pragma once
#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace vl8::cuda {

using Stream = CUstream_st*;

enum class Format : uint8_t { f32, bf16, e4m3 };
constexpr int64_t format_bytes(Format f) { return f == Format::f32 ? 4 : f == Format::bf16 ? 2 : 1; }

// Multipliers of a stored weight. A scale per tensor is expanded to `row` when it is uploaded.
enum class Scales : uint8_t {
  none,
  row,        // F32 [n]
  block,      // F32 [ceil(n / 128), ceil(k / 128)]
  row_block,  // F32 [n, ceil(k / 128)]: fused parts whose rows are not multiples of 128; slow path only
};
enum class Epilogue : uint8_t {
  none,
  gelu_tanh,
  gelu_erf,
  silu_mul,  // W is gate over up, [2I, k]; y [m, I] = silu(x gateᵀ) * (x upᵀ)
};

constexpr int64_t kScaleGroup = 128;  // features that share one activation scale
// Activation scales lie M-major: scale of row i and features 128 g.. is x_scale[g * scale_stride(m) + i].
constexpr int64_t scale_stride(int64_t m) { return (m + 3) / 4 * 4; }
constexpr int64_t scale_groups(int64_t k) { return (k + kScaleGroup - 1) / kScaleGroup; }

// A weight on the device: [n, k] row-major without padding, or [experts, n, k] in a grouped product, scales likewise.
// `data` is 16-byte aligned. Fast kernels need rows of a multiple of 16 bytes; others run on the `any` kernels.
struct GemmWeight {
  const void* data = nullptr;
  Format format = Format::bf16;
  Scales scales = Scales::none;
  const float* scale = nullptr;
  int64_t n = 0, k = 0;
};

// Activations [m, k]. `stride` is in elements (0: k). E4M3 needs `scale`, see scale_stride.
struct GemmInput {
  const void* data = nullptr;
  Format format = Format::bf16;
  const float* scale = nullptr;
  int64_t m = 0, stride = 0;
};

struct GemmOutput {
  void* data = nullptr;  // [m, n] ([m, n / 2] with silu_mul), BF16 or F32
  Format format = Format::bf16;
  int64_t stride = 0;  // elements; 0: dense
};

struct GemmParams {
  GemmInput x;
  GemmWeight w;
  GemmOutput y;
  const float* bias = nullptr;     // F32 [n], added before the activation
  const void* residual = nullptr;  // [m, columns of y], added after it; may be y itself
  Format residual_format = Format::bf16;
  int64_t residual_stride = 0;     // elements; 0: dense
  Epilogue epilogue = Epilogue::none;
};

// Rows offsets[e] .. offsets[e + 1] of x meet the weight of expert e. x.m is the row count of all experts together
// and must equal offsets[experts]; the scale stride of E4M3 rows is scale_stride(x.m).
struct GroupedGemmParams {
  GemmParams gemm;                   // no bias, no residual
  int64_t experts = 0;
  const int32_t* offsets = nullptr;  // on the device, [experts + 1], ascending, first 0
};

struct GemmContext {
  Stream stream = nullptr;
  int sm = 0;                   // compute capability * 10: 80, 87, 89, 90 ...
  int sm_count = 0;
  void* workspace = nullptr;    // one per stream, at least kGemmWorkspaceBytes, zeroed once by its owner
  size_t workspace_bytes = 0;
  // Programmatic dependent launch: kernels may start before the previous one on the stream has ended; they wait for
  // its end before they touch x, residual or y, but prefetch weights before that. Weights must be complete by then.
  bool pdl = false;
  const class GemmTable* table = nullptr;  // measured choices (gemm_tune.h); null: the rules of choose/
};
constexpr size_t kGemmWorkspaceBytes = size_t(32) << 20;

// Both throw Error on a CUDA failure and abort (check) on parameters that break the contract above.
void gemm(const GemmParams& params, const GemmContext& context);
void grouped_gemm(const GroupedGemmParams& params, const GemmContext& context);

// Rows of BF16 or F32 [m, k] to E4M3 and scales: s = max(amax, 1e-10) / 448 over 128 features, q = round(x / s).
// q [m, k]; scale [scale_groups(k), scale_stride(m)].
void quantize_rows(const GemmInput& x, int64_t k, void* q, float* scale, const GemmContext& context);

}  // namespace vl8::cuda
