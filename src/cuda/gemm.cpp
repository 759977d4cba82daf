// Checks a product, chooses its kernel (choose/gemm_choice.h) and launches it.
#include "cuda/gemm.h"

#include <tuple>

#include "core/error.h"
#include "cuda/any/gemm/gemm_any.h"
#include "cuda/choose/gemm_table.h"
#include "cuda/cublaslt.h"
#include "cuda/gemm_args.h"
#include "cuda/gemm_with.h"
#include "cuda/sm80/gemm/gemv.h"
#include "cuda/sm80/gemm/mma.h"
#include "cuda/sm90/gemm/stream.h"
#include "cuda/sm90/gemm/tiles.h"

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

GemmProblem problem_of(const GemmArgs& a, const GemmContext& c) {
  int64_t unit = format_bytes(a.w_format), x_unit = format_bytes(a.x_format);
  auto at16 = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  bool aligned = a.k * unit % 16 == 0 && a.x_stride * x_unit % 16 == 0 && at16(a.x) && at16(a.w) && at16(a.x_scale);
  return {c.sm, c.sm_count, a.m, a.n, a.k, a.experts, a.x_format, a.w_format, a.y_format, a.w_scales,
          a.epilogue == Epilogue::silu_mul, aligned, a.epilogue != Epilogue::silu_mul || (!a.bias && !a.residual),
          cublaslt_fits(a) && cublaslt_found()};
}

void launch_choice(const GemmArgs& a, const GemmChoice& choice, const GemmContext& context) {
  bool fused = a.epilogue == Epilogue::silu_mul;
  switch (choice.kernel) {
    case GemmKernel::gemv: return launch_gemv(a, context);
    case GemmKernel::stream:
      check(context.workspace && context.workspace_bytes >= kGemmWorkspaceBytes, "product without its workspace");
      return a.w_format == Format::e4m3 ? sm90::launch_stream_e4m3(a, choice.tile.columns, context)
                                        : sm90::launch_stream_bf16(a, choice.tile.columns, context);
    case GemmKernel::tiles: {
      auto find = a.w_format == Format::e4m3 ? sm90::find_e4m3_tiles : sm90::find_bf16_tiles;
      const sm90::TileKernel* tiles = find(choice.tile, fused);
      check(tiles != nullptr, "tile {} x {} is not built", choice.tile.rows, choice.tile.columns);
      return tiles->launch(a, choice.band, context);
    }
    case GemmKernel::mma: return launch_mma(a, choice.tile, choice.splits, context);
    case GemmKernel::library: {
      // Behind the counters, which the other kernels expect to be zero.
      constexpr size_t kept = kStreamMaxTiles * sizeof(int);
      bool done = launch_cublaslt(a, static_cast<char*>(context.workspace) + kept, context.workspace_bytes - kept, context.stream);
      if (!done) fail(ErrorKind::unsupported, "cuBLASLt has no algorithm for a product of m {} n {} k {}", a.m, a.n, a.k);
      return;
    }
    case GemmKernel::any: return launch_gemm_any(a, context);
  }
}

GemmChoice choose(const GemmProblem& problem, const GemmContext& context) {
  return context.table ? context.table->choose(problem) : choose_gemm(problem);
}

}  // namespace

void gemm_as(const GemmParams& params, const GemmChoice& choice, const GemmContext& context) {
  GemmArgs args = flatten(params);
  if (args.m) launch_choice(args, choice, context);
}

void grouped_gemm_as(const GroupedGemmParams& params, const GemmChoice& choice, const GemmContext& context) {
  GemmArgs args = flatten(params.gemm);
  check(params.offsets && params.experts > 0 && params.experts < 65536, "grouped product of {} experts", params.experts);
  check(!args.bias && !args.residual, "a grouped product has neither bias nor residual");
  if (args.m == 0) return;
  args.offsets = params.offsets;
  args.experts = int(params.experts);
  launch_choice(args, choice, context);
}

GemmProblem problem_of(const GemmParams& params, const GemmContext& context) { return problem_of(flatten(params), context); }

void gemm(const GemmParams& params, const GemmContext& context) {
  gemm_as(params, choose(problem_of(params, context), context), context);
}

void grouped_gemm(const GroupedGemmParams& params, const GemmContext& context) {
  GemmProblem problem = problem_of(params.gemm, context);
  problem.experts = params.experts;
  grouped_gemm_as(params, choose(problem, context), context);
}

void quantize_rows(const GemmInput& x, int64_t k, void* q, float* scale, const GemmContext& context) {
  check(x.format != Format::e4m3 && x.data && q && scale, "quantize_rows takes F32 or BF16 and two outputs");
  if (x.m) launch_quantize_rows(x, int(k), q, scale, context);
}

}  // namespace vl8::cuda
