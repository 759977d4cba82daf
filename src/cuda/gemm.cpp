// Checks a product, chooses its kernel (choose/gemm_choice.h) and launches it.
#include "cuda/gemm.h"

#include <tuple>

#include "core/error.h"
#include "cuda/any/gemm/gemm_any.h"
#include "cuda/gemm_args.h"

namespace vl8::cuda {
namespace {

constexpr int64_t kMaxDimension = int64_t(1) << 30;

GemmArgs flatten(const GemmParams& p) {
  const auto& [x, w, y] = std::tie(p.x, p.w, p.y);
  bool fused = p.epilogue == Epilogue::silu_mul;
  int64_t columns = fused ? w.n / 2 : w.n;
  check(x.m >= 0 && w.n > 0 && w.k > 0 && x.m < kMaxDimension && w.n < kMaxDimension && w.k < kMaxDimension,
        "product of m {} n {} k {}", x.m, w.n, w.k);
  check(x.data && w.data && y.data, "product with a null operand");
  check(y.format != Format::e4m3 && p.residual_format != Format::e4m3, "y and residual are F32 or BF16");
  check((x.format == Format::e4m3) == (x.scale != nullptr), "E4M3 activations, and only they, come with scales");
  check((w.scales == Scales::none) == (w.scale == nullptr), "weight scales: kind and pointer disagree");
  check(!fused || w.n % 2 == 0, "gate over up of {} rows", w.n);
  return {x.data, x.scale, w.data, w.scale, y.data, p.bias, p.residual, nullptr,
          int(x.m), int(w.n), int(w.k), 1, int(columns),
          int(x.stride ? x.stride : w.k), int(scale_stride(x.m)), int(y.stride ? y.stride : columns),
          int(p.residual_stride ? p.residual_stride : columns),
          x.format, w.format, y.format, p.residual_format, w.scales, p.epilogue};
}

}  // namespace

void gemm(const GemmParams& params, const GemmContext& context) {
  GemmArgs args = flatten(params);
  if (args.m == 0) return;
  launch_gemm_any(args, context);
}

void grouped_gemm(const GroupedGemmParams& params, const GemmContext& context) {
  GemmArgs args = flatten(params.gemm);
  check(params.offsets && params.experts > 0 && params.experts < 65536, "grouped product of {} experts", params.experts);
  check(!args.bias && !args.residual, "a grouped product has neither bias nor residual");
  if (args.m == 0) return;
  args.offsets = params.offsets;
  args.experts = int(params.experts);
  launch_gemm_any(args, context);
}

void quantize_rows(const GemmInput& x, int64_t k, void* q, float* scale, const GemmContext& context) {
  check(x.format != Format::e4m3 && x.data && q && scale, "quantize_rows takes F32 or BF16 and two outputs");
  if (x.m) launch_quantize_rows(x, int(k), q, scale, context);
}

}  // namespace vl8::cuda
