#include "cuda/gemm_tune.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "cuda/gemm_with.h"
#include "cuda/launch.h"

namespace vl8::cuda {
namespace {

// No product with a larger y is timed (the head at many rows): a small card may have no memory to spare.
constexpr int64_t kLargestResult = int64_t(256) << 20;

struct DeviceBuffer {
  void* data = nullptr;
  explicit DeviceBuffer(size_t bytes) { check_cuda(cudaMalloc(&data, std::max<size_t>(bytes, 256)), "memory for autotuning"); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  ~DeviceBuffer() { cudaFree(data); }
};
struct Event {
  cudaEvent_t event = nullptr;
  Event() { check_cuda(cudaEventCreate(&event), "creating an event"); }
  Event(const Event&) = delete;
  ~Event() { cudaEventDestroy(event); }
};

// Buffers that serve every product: x and y of the largest, scales, even expert offsets, and a stretch of memory whose
// clearing pushes the weights of the last run out of L2.
struct Bench {
  DeviceBuffer x, scale, y, offsets, flush;
  size_t flush_bytes;
  Event begin, end;
  Bench(size_t x_bytes, size_t scale_bytes, size_t y_bytes, size_t experts, size_t l2_bytes)
      : x(x_bytes), scale(scale_bytes), y(y_bytes), offsets((experts + 1) * 4), flush(2 * l2_bytes), flush_bytes(2 * l2_bytes) {
    // 0x3c is 1.5 as E4M3 and 0x3c3c a small BF16 number: plain values, so that the units draw the power they draw in use.
    check_cuda(cudaMemset(x.data, 0x3c, x_bytes), "autotuning");
    check_cuda(cudaMemset(scale.data, 0x3c, scale_bytes), "autotuning");
  }
};

struct Run {
  const TunedProduct& product;
  int64_t m;
  Bench& bench;
  const GemmContext& context;

  void operator()(const GemmChoice& choice) const {
    GroupedGemmParams p;
    p.gemm.x = {bench.x.data, product.x, product.x == Format::e4m3 ? static_cast<const float*>(bench.scale.data) : nullptr, m, 0};
    p.gemm.w = product.w;
    p.gemm.y = {bench.y.data, product.y, 0};
    p.gemm.epilogue = product.fused ? Epilogue::silu_mul : Epilogue::none;
    p.experts = product.experts, p.offsets = static_cast<const int32_t*>(bench.offsets.data);
    product.experts > 1 ? grouped_gemm_as(p, choice, context) : gemm_as(p.gemm, choice, context);
  }
  // Best of a few runs, each from memory, not from L2.
  float milliseconds(const GemmChoice& choice, int runs) const {
    float best = std::numeric_limits<float>::infinity();
    (*this)(choice);  // first use: module load
    for (int i = 0; i < runs; ++i) {
      check_cuda(cudaMemsetAsync(bench.flush.data, i, bench.flush_bytes, context.stream), "autotuning");
      check_cuda(cudaEventRecord(bench.begin.event, context.stream), "autotuning");
      (*this)(choice);
      check_cuda(cudaEventRecord(bench.end.event, context.stream), "autotuning");
      check_cuda(cudaEventSynchronize(bench.end.event), "autotuning");
      float ms = 0;
      check_cuda(cudaEventElapsedTime(&ms, bench.begin.event, bench.end.event), "autotuning");
      best = std::min(best, ms);
    }
    return best;
  }
};

// cuBLASLt says only when it is asked whether it can do a product.
float milliseconds(const Run& run, const GemmChoice& candidate) {
  try {
    return run.milliseconds(candidate, 5);
  } catch (const Error& e) {
    if (candidate.kernel != GemmKernel::library) throw;
    return std::numeric_limits<float>::infinity();
  }
}

// Rows spread over the experts as routers do, unevenly: from half the average to one and a half.
void set_offsets(const TunedProduct& p, int64_t m, const Bench& bench) {
  std::vector<int32_t> offsets(size_t(p.experts) + 1);
  for (int64_t e = 0; e <= p.experts; ++e) {
    double u = double(e) / double(p.experts);
    offsets[size_t(e)] = int32_t(double(m) * (u + u * u) / 2);
  }
  check_cuda(cudaMemcpy(bench.offsets.data, offsets.data(), offsets.size() * 4, cudaMemcpyHostToDevice), "autotuning");
}

GemmProblem problem_at(const TunedProduct& p, int64_t m, const GemmContext& c) {
  GemmParams params;
  params.x = {&params, p.x, p.x == Format::e4m3 ? p.w.scale : nullptr, m, 0};  // only whether there are pointers counts
  params.w = p.w;
  params.y = {&params, p.y, 0};
  params.epilogue = p.fused ? Epilogue::silu_mul : Epilogue::none;
  GemmProblem problem = problem_of(params, c);
  problem.aligned = true, problem.experts = p.experts, problem.library = problem.library && p.experts == 1;
  return problem;
}

}  // namespace

int tune_gemms(std::span<const TunedProduct> products, int64_t max_tokens, const GemmContext& context, GemmTable& table) {
  size_t x_bytes = 0, scale_bytes = 0, y_bytes = 0, experts = 1;
  std::vector<std::pair<const TunedProduct*, int64_t>> missing;
  for (const TunedProduct& p : products)
    for (int64_t m : GemmTable::kRows) {
      GemmProblem problem = problem_at(p, m, context);
      if (m > std::max<int64_t>(GemmTable::bucket(max_tokens * p.rows_per_token), 1) || table.has(problem)) continue;
      if (m * p.w.n * format_bytes(p.y) > kLargestResult || gemm_candidates(problem).size() < 2) continue;
      bool listed = std::any_of(missing.begin(), missing.end(), [&](auto& other) {  // layers share shapes
        const TunedProduct& o = *other.first;
        return other.second == m && o.w.n == p.w.n && o.w.k == p.w.k && o.experts == p.experts && o.x == p.x && o.y == p.y &&
               o.w.format == p.w.format && o.w.scales == p.w.scales && o.fused == p.fused;
      });
      if (listed) continue;
      missing.emplace_back(&p, m);
      x_bytes = std::max(x_bytes, size_t(m * p.w.k * format_bytes(p.x)));
      scale_bytes = std::max(scale_bytes, size_t(scale_groups(p.w.k) * scale_stride(m)) * 4);
      y_bytes = std::max(y_bytes, size_t(m * p.w.n * format_bytes(p.y)));
      experts = std::max(experts, size_t(p.experts));
    }
  if (missing.empty()) return 0;
  int device = 0, l2 = 0;
  check_cuda(cudaGetDevice(&device), "autotuning");
  check_cuda(cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, device), "asking the size of L2");
  Bench bench(x_bytes, scale_bytes, y_bytes, experts, size_t(l2));
  for (auto [product, m] : missing) {
    check_cuda(cudaStreamSynchronize(context.stream), "autotuning");
    set_offsets(*product, m, bench);
    GemmProblem problem = problem_at(*product, m, context);
    Run run{*product, m, bench, context};
    GemmChoice best = choose_gemm(problem);
    float best_ms = run.milliseconds(best, 5);
    spdlog::debug("autotune: {}: {:.1f} us", describe(problem, best), double(best_ms) * 1e3);
    for (const GemmChoice& candidate : gemm_candidates(problem)) {
      if (candidate == best) continue;
      float ms = milliseconds(run, candidate);
      spdlog::debug("autotune: {}: {:.1f} us", describe(problem, candidate), double(ms) * 1e3);
      if (ms < best_ms * 0.98f) best = candidate, best_ms = ms;  // noise does not unseat the rules' choice
    }
    table.set(problem, best);
  }
  return int(missing.size());
}

std::string gemm_table_file(const std::string& device_name) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (!(cache && *cache) && !(home && *home)) return {};
  std::string name = device_name;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '-';
  std::string folder = cache && *cache ? std::string(cache) : std::string(home) + "/.cache";
  return folder + "/vl8/gemm-" + name + ".txt";
}

GemmTable load_gemm_table(const std::string& file, const std::string& device_name, const GemmContext& context) {
  if (file.empty() || !is_file(file)) return {};
  try {
    return GemmTable::parse(read_file(file, size_t(1) << 20), device_name, context.sm, context.sm_count);
  } catch (const Error& e) {
    spdlog::warn("the autotuning results in {} are not used: {}", file, e.what());
    return {};
  }
}

void save_gemm_table(const GemmTable& table, const std::string& file, const std::string& device_name) {
  if (file.empty()) return;
  try {
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    write_file(file, table.text(device_name));
  } catch (const std::exception& e) {
    spdlog::warn("autotuning results could not be kept in {}, the next start measures again: {}", file, e.what());
  }
}

}  // namespace vl8::cuda
