// Checks every matrix kernel against the plain one on ragged shapes and fresh random numbers, then times them on the
// shapes of the published models: microseconds, TFLOP/s, GB/s of weights, share of the read ceiling measured in the same
// run, and cuBLASLt beside them.   gemm_bench [check] [bench] [flash] [tune] [profile] [seed=N] [only=KERNEL]
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/log.h"
#include "cuda/cublaslt.h"
#include "cuda/gemm_tune.h"
#include "cuda/gemm_with.h"
#include "cuda/launch.h"
#include "cuda/sm90/attention/flash.h"
#include "gemm_bench.h"

using namespace vl8;
using namespace vl8::cuda;

namespace {

void ok(cudaError_t e) { check_cuda(e, "bench"); }
struct Buffer {
  void* p = nullptr;
  size_t bytes = 0;
  explicit Buffer(size_t n) : bytes(n) { ok(cudaMalloc(&p, n ? n : 16)); }
  Buffer(const Buffer&) = delete;
  ~Buffer() { cudaFree(p); }
};

GemmContext context;
uint64_t seed = 1;
int failures = 0;
double ceiling_gb = 0;
std::string with;  // text that a label must hold
std::string only;  // a kernel's name as describe() prints it, or empty
int widest_cluster = 2;
bool small = false;  // small shapes, for compute-sanitizer
bool wanted(const std::string& label) {
  if (label.find(with) == std::string::npos) return false;
  if (widest_cluster < 2 && label.find("cluster 2") != std::string::npos) return false;
  return only.empty() || label.find(": " + only) != std::string::npos;
}

struct Shape {
  int64_t m, n, k, experts = 1;
  Format x = Format::e4m3, w = Format::e4m3, y = Format::bf16;
  Scales scales = Scales::block;
  Epilogue epilogue = Epilogue::none;
  bool bias = false, residual = false;
};

// Operands of a product; `copies` weights one after another, so that repeated runs do not find them in L2.
struct Operands {
  Shape s;
  int copies;
  size_t w_bytes, scale_floats;
  Buffer x, x_scale, w, w_scale, y, bias, residual, offsets;
  static size_t scale_count(const Shape& s) {
    size_t groups = size_t(scale_groups(s.k)), e = size_t(s.experts);
    return s.scales == Scales::row ? e * s.n : s.scales == Scales::row_block ? e * s.n * groups : e * ((s.n + 127) / 128) * groups;
  }
  int64_t columns() const { return s.epilogue == Epilogue::silu_mul ? s.n / 2 : s.n; }
  Operands(const Shape& shape, int copies_)
      : s(shape), copies(copies_), w_bytes(size_t(s.experts * s.n * s.k * format_bytes(s.w))), scale_floats(scale_count(s)),
        x(size_t(s.m * s.k * format_bytes(s.x))), x_scale(size_t(scale_groups(s.k) * scale_stride(s.m)) * 4),
        w(w_bytes * copies), w_scale(scale_floats * 4 * copies), y(size_t(s.m * columns()) * 4), bias(size_t(s.n) * 4),
        residual(size_t(s.m * columns()) * 2), offsets(size_t(s.experts + 1) * 4) {
    ++seed;
    fill_random(x.p, s.x, size_t(s.m * s.k), s.x == Format::e4m3 ? 60.0f : 1.0f, seed);
    fill_scales(static_cast<float*>(x_scale.p), x_scale.bytes / 4, seed);
    fill_random(w.p, s.w, size_t(s.experts * s.n * s.k) * copies, s.w == Format::e4m3 ? 60.0f : 1.0f, seed + 1000);
    fill_scales(static_cast<float*>(w_scale.p), scale_floats * copies, seed + 5);
    fill_random(bias.p, Format::f32, size_t(s.n), 1.0f, seed + 6);
    fill_random(residual.p, Format::bf16, size_t(s.m * columns()), 1.0f, seed + 7);
    if (s.experts > 1) {  // uneven, some experts empty
      std::mt19937_64 rng(seed);
      std::vector<int32_t> begin(size_t(s.experts + 1), 0), count(size_t(s.experts), 0);
      for (int64_t i = 0; i < s.m; ++i) ++count[rng() % uint64_t(s.experts)];
      for (int64_t e = 0; e < s.experts; ++e) begin[size_t(e + 1)] = begin[size_t(e)] + count[size_t(e)];
      ok(cudaMemcpy(offsets.p, begin.data(), begin.size() * 4, cudaMemcpyHostToDevice));
    }
    ok(cudaDeviceSynchronize());
  }
  GroupedGemmParams params(int copy, void* out, Format y_format) const {
    GemmParams p;
    p.x = {x.p, s.x, s.x == Format::e4m3 ? static_cast<const float*>(x_scale.p) : nullptr, s.m, 0};
    p.w = {static_cast<char*>(w.p) + w_bytes * copy, s.w, s.scales,
           s.scales == Scales::none ? nullptr : static_cast<const float*>(w_scale.p) + scale_floats * copy, s.n, s.k};
    p.y = {out, y_format, 0};
    p.bias = s.bias ? static_cast<const float*>(bias.p) : nullptr;
    p.residual = s.residual ? residual.p : nullptr;
    p.epilogue = s.epilogue;
    return {p, s.experts, static_cast<const int32_t*>(offsets.p)};
  }
};

void run(const Operands& o, int copy, void* out, Format y, const GemmChoice& c) {
  GroupedGemmParams p = o.params(copy, out, y);
  if (o.s.experts > 1) grouped_gemm_as(p, c, context);
  else gemm_as(p.gemm, c, context);
}

std::string label(const Shape& s, const GemmChoice& c) {
  GemmProblem p{context.sm, context.sm_count, s.m, s.n, s.k, s.experts, s.x, s.w, s.y, s.scales, s.epilogue == Epilogue::silu_mul};
  return describe(p, c);
}

// Where a wrong result is wrong: share of elements, which residues of row and column, and the first few.
void explain(const Operands& o, const Buffer& out, const Buffer& ref) {
  size_t n = size_t(o.s.m * o.columns()), bad = 0, shown = 0;
  std::vector<float> want(n);
  std::vector<uint8_t> raw(n * size_t(format_bytes(o.s.y)));
  ok(cudaMemcpy(want.data(), ref.p, n * 4, cudaMemcpyDeviceToHost));
  ok(cudaMemcpy(raw.data(), out.p, raw.size(), cudaMemcpyDeviceToHost));
  std::vector<size_t> rows(16), columns(16);
  double norm = 0;
  for (float v : want) norm += double(v) * v;
  double typical = std::sqrt(norm / double(n));
  for (size_t i = 0; i < n; ++i) {
    float got = o.s.y == Format::f32 ? reinterpret_cast<float*>(raw.data())[i] : bf16_to_f32(reinterpret_cast<uint16_t*>(raw.data())[i]);
    if (std::abs(got - want[i]) <= 0.02 * typical + 0.01 * std::abs(want[i])) continue;
    size_t row = i / size_t(o.columns()), column = i % size_t(o.columns());
    ++bad, ++rows[row % 16], ++columns[column % 16];
    if (shown++ < 8) printf("       row %zu column %zu: %g, not %g\n", row, column, double(got), double(want[i]));
  }
  printf("       %.2f %% wrong; by row mod 16:", 100.0 * double(bad) / double(n));
  for (size_t c : rows) printf(" %zu", c);
  printf("; by column mod 16:");
  for (size_t c : columns) printf(" %zu", c);
  printf("\n");
}

void check_one(Shape s, const GemmChoice& c) {
  if (small) s.n = std::min<int64_t>(s.n, 640), s.k = std::min<int64_t>(s.k, 784), s.m = std::min<int64_t>(s.m, 300);
  if (!wanted(label(s, c))) return;
  Operands o(s, 1);
  Buffer ref(size_t(s.m * o.columns()) * 4), out(size_t(s.m * o.columns()) * 4), sums(16);
  ok(cudaMemset(out.p, 0xff, out.bytes));  // NaN in every format
  ok(cudaMemset(sums.p, 0, 16));
  run(o, 0, ref.p, Format::f32, {});
  double worst = 0, d[2];
  for (int again = 0; again < 2; ++again) {  // twice: the second finds the workspace as the first left it
    context.pdl = again == 1;
    run(o, 0, out.p, s.y, c);
    run(o, 0, out.p, s.y, c);  // with pdl it overlaps the first
    context.pdl = false;
    ok(cudaMemset(sums.p, 0, 16));
    sum_differences(out.p, static_cast<float*>(ref.p), s.y, size_t(s.m * o.columns()), static_cast<double*>(sums.p));
    ok(cudaMemcpy(d, sums.p, 16, cudaMemcpyDeviceToHost));
    double e = std::sqrt(d[0] / d[1]);
    worst = e == e ? std::max(worst, e) : 1e9;
  }
  // BF16 outputs round by 2^-9 at most, the FP8 tensor cores keep 14 bits of a group's sum.
  double limit = s.y == Format::bf16 ? 4e-3 : s.w == Format::e4m3 && s.x == Format::e4m3 ? 1e-3 : s.x == Format::f32 ? 2e-6 : 2e-5;
  bool good = worst <= limit;
  failures += !good;
  fflush(stdout);
  printf("%s %-72s%s%s%s error %.2e (limit %.0e)\n", good ? "ok  " : "FAIL", label(s, c).c_str(), s.y == Format::f32 ? " y f32" : "",
         s.bias ? " bias" : "", s.residual ? " residual" : "", worst, limit);
  if (!good) explain(o, out, ref);
}

// The plain kernel itself, against float64 on the host.
void check_any() {
  Shape s{37, 65, 200};
  s.y = Format::f32;
  for (Scales scales : {Scales::block, Scales::row, Scales::row_block}) {
    s.scales = scales;
    Operands o(s, 1);
    Buffer out(size_t(s.m * s.n) * 4);
    run(o, 0, out.p, Format::f32, {});
    std::vector<uint8_t> x(size_t(s.m * s.k)), w(size_t(s.n * s.k));
    std::vector<float> xs(o.x_scale.bytes / 4), ws(o.scale_floats), y(size_t(s.m * s.n));
    auto get = [](auto& v, const Buffer& b) { ok(cudaMemcpy(v.data(), b.p, v.size() * sizeof v[0], cudaMemcpyDeviceToHost)); };
    get(x, o.x), get(w, o.w), get(xs, o.x_scale), get(ws, o.w_scale), get(y, out);
    double d = 0, r = 0;
    int64_t groups = scale_groups(s.k);
    for (int64_t i = 0; i < s.m; ++i)
      for (int64_t j = 0; j < s.n; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < s.k; ++k) {
          float sw = scales == Scales::block ? ws[size_t(j / 128 * groups + k / 128)] : scales == Scales::row ? ws[size_t(j)] : ws[size_t(j * groups + k / 128)];
          sum += double(e4m3_to_f32(x[size_t(i * s.k + k)])) * xs[size_t(k / 128 * scale_stride(s.m) + i)] *
                 e4m3_to_f32(w[size_t(j * s.k + k)]) * sw;
        }
        double e = y[size_t(i * s.n + j)] - sum;
        d += e * e, r += sum * sum;
      }
    bool good = std::sqrt(d / r) < 1e-6;
    failures += !good;
    printf("%s plain kernel against float64, scales %d: error %.1e\n", good ? "ok  " : "FAIL", int(scales), std::sqrt(d / r));
  }
}

GemmChoice gemv() { return {GemmKernel::gemv, {}, 0}; }
GemmChoice stream(int t) { return {GemmKernel::stream, {0, t, 1}, 0}; }
GemmChoice tiles(int r, int n, int c, int band = 8) { return {GemmKernel::tiles, {r, n, c}, band}; }
GemmChoice mma(int rows, int splits) { return {GemmKernel::mma, {rows, 128, 1}, 0, splits}; }

void check_all() {
  using enum Format;
  check_any();
  auto e = [](int64_t m, int64_t n, int64_t k) { return Shape{m, n, k}; };
  auto b = [](int64_t m, int64_t n, int64_t k) {
    Shape s{m, n, k};
    s.x = s.w = bf16, s.scales = Scales::none;
    return s;
  };
  auto with = [](Shape s, auto change) { change(s); return s; };
  // gemv: weights of each format, x of each format, ragged sizes, silu_mul, experts
  for (int64_t m : {1, 2, 3, 4}) check_one(with(e(m, 1030, 784), [](Shape& s) { s.y = f32; s.bias = true; }), gemv());
  check_one(with(e(1, 4096, 4096), [](Shape& s) { s.x = bf16; s.residual = true; }), gemv());
  check_one(with(e(2, 6144, 4096), [](Shape& s) { s.x = f32; s.y = f32; }), gemv());
  check_one(with(e(1, 1536, 2048), [](Shape& s) { s.x = bf16; s.epilogue = Epilogue::silu_mul; }), gemv());
  check_one(with(e(1, 999, 1024), [](Shape& s) { s.x = bf16; s.scales = Scales::row; }), gemv());
  check_one(with(b(1, 5001, 2560), [](Shape& s) { s.y = f32; }), gemv());
  check_one(with(b(4, 130, 2048), [](Shape& s) { s.w = f32; s.x = f32; s.y = f32; }), gemv());
  check_one(with(e(8, 1536, 2048), [](Shape& s) { s.experts = 16; s.epilogue = Epilogue::silu_mul; }), gemv());
  check_one(with(e(8, 2048, 768), [](Shape& s) { s.experts = 16; }), gemv());
  // stream
  for (int t : {8, 16, 32, 64}) {
    check_one(with(e(t - 1, 1030, 784), [](Shape& s) { s.bias = true; s.y = f32; }), stream(t));
    check_one(with(e(t, 4096, 4096), [](Shape& s) { s.residual = true; }), stream(t));
    check_one(with(e(t - 3, 3072, 2048), [](Shape& s) { s.epilogue = Epilogue::silu_mul; s.y = f32; }), stream(t));
    check_one(with(b(t, 5000, 1152), [](Shape& s) { s.y = f32; }), stream(t));
  }
  check_one(e(100, 2048, 2048), stream(64));
  check_one(with(e(5, 640, 1024), [](Shape& s) { s.scales = Scales::row; }), stream(8));
  check_one(with(e(64, 1536, 2048), [](Shape& s) { s.experts = 128; s.epilogue = Epilogue::silu_mul; }), stream(8));
  check_one(with(e(200, 2048, 768), [](Shape& s) { s.experts = 16; s.y = f32; }), stream(16));
  // tiles
  for (int cluster : {1, 2}) for (int r : {128, 256}) {
    check_one(with(e(300, 1030, 784), [](Shape& s) { s.y = f32; s.bias = true; }), tiles(r, 128, cluster));
    check_one(with(e(1000, 4096, 4096), [](Shape& s) { s.residual = true; }), tiles(r, 128, cluster));
    check_one(with(e(515, 3072, 2048), [](Shape& s) { s.epilogue = Epilogue::silu_mul; }), tiles(r, 128, cluster));
    check_one(with(e(333, 1000, 512), [](Shape& s) { s.scales = Scales::row; s.epilogue = Epilogue::gelu_erf; }), tiles(r, 128, cluster));
    check_one(with(e(1111, 2048, 768), [](Shape& s) { s.experts = 16; }), tiles(r, 128, cluster));
    check_one(with(e(2000, 1536, 2048), [](Shape& s) { s.experts = 16; s.epilogue = Epilogue::silu_mul; }), tiles(r, 128, cluster));
  }
  for (auto [n, c] : {std::pair{256, 1}, {216, 1}, {192, 1}, {144, 1}, {128, 1}, {128, 2}, {256, 2}}) {
    check_one(with(b(300, 1000, 1152), [](Shape& s) { s.y = f32; s.bias = true; }), tiles(128, n, c));
    check_one(with(b(777, 4304, 1152), [](Shape& s) { s.bias = true; s.epilogue = Epilogue::gelu_tanh; }), tiles(128, n, c));
    check_one(with(b(515, 1152, 4304), [](Shape& s) { s.bias = true; s.residual = true; }), tiles(128, n, c));
  }
  if (cublaslt_found()) {
    GemmChoice library{GemmKernel::library, {}, 0};
    check_one(e(512, 3072, 2048), library);
    check_one(with(e(132, 4096, 4096), [](Shape& s) { s.residual = true; }), library);
    check_one(b(300, 1152, 4304), library);
  }
  for (int r : {32, 128})
    for (int splits : {1, 3}) {
      check_one(with(e(r - 3, 1030, 784), [](Shape& s) { s.y = f32; s.bias = true; }), mma(r, splits));
      check_one(with(e(r + 9, 4096, 2048), [](Shape& s) { s.x = bf16; s.residual = true; }), mma(r, splits));
      check_one(with(b(r, 1150, 1152), [](Shape& s) { s.y = f32; s.epilogue = Epilogue::gelu_tanh; }), mma(r, splits));
      check_one(with(e(r, 1536, 2048), [](Shape& s) { s.epilogue = Epilogue::silu_mul; }), mma(r, splits));
    }
  check_one(with(e(500, 1536, 2048), [](Shape& s) { s.x = bf16; s.experts = 16; s.epilogue = Epilogue::silu_mul; }), mma(32, 1));
  check_one(with(e(900, 2048, 768), [](Shape& s) { s.experts = 16; }), mma(128, 1));
  printf("%s: %d failures\n", failures ? "CHECK FAILED" : "all checks passed", failures);
}

// Median microseconds of one call: graphs of many calls over rotating weights.
double time_us(const std::function<void(int)>& call, int copies, int calls) {
  cudaStream_t s = context.stream;
  for (int i = 0; i < 3; ++i) call(i % copies);
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  ok(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < calls; ++i) call(i % copies);
  ok(cudaStreamEndCapture(s, &graph));
  ok(cudaGraphInstantiate(&exec, graph, 0));
  cudaEvent_t a, b;
  ok(cudaEventCreate(&a)), ok(cudaEventCreate(&b));
  std::vector<float> ms;
  for (int i = 0; i < 8; ++i) {
    ok(cudaEventRecord(a, s)), ok(cudaGraphLaunch(exec, s)), ok(cudaEventRecord(b, s)), ok(cudaEventSynchronize(b));
    float t;
    ok(cudaEventElapsedTime(&t, a, b));
    if (i) ms.push_back(t);
  }
  std::sort(ms.begin(), ms.end());
  cudaGraphExecDestroy(exec), cudaGraphDestroy(graph);
  return ms[ms.size() / 2] * 1e3 / calls;
}

void bench(const Shape& s, const std::vector<GemmChoice>& choices, bool library) {
  if (std::none_of(choices.begin(), choices.end(), [&](auto& c) { return wanted(label(s, c)); })) return;
  size_t w = size_t(s.experts * s.n * s.k * format_bytes(s.w));
  int copies = int(std::clamp<size_t>((size_t(512) << 20) / w, 2, 32));
  double flop = 2.0 * double(s.m) * double(s.n) * double(s.k), active = 1;
  if (s.experts > 1) active = 1 - std::pow(1 - 1.0 / double(s.experts), double(s.m));  // expected share of experts in use
  Operands o(s, copies);
  double guess = std::max(flop / 1.2e15, double(w) * active / 3e12) * 1e6 + 3;
  int calls = std::clamp(int(4000 / guess), 8, 200);
  auto show = [&](const std::string& name, double us) {
    double gb = double(w) * active / us / 1e3;
    printf("%-82s %9.2f us %8.1f TFLOP/s %7.0f GB/s %5.1f %%\n", name.c_str(), us, flop / us / 1e6, gb, 100 * gb / ceiling_gb);
  };
  for (bool pdl : {false, true})
    for (const GemmChoice& c : choices) {
      if (pdl && s.m > 256) continue;
      if (!wanted(label(s, c))) continue;
      context.pdl = pdl;
      show(label(s, c) + (pdl ? " pdl" : ""), time_us([&](int copy) { run(o, copy, o.y.p, s.y, c); }, copies, calls));
    }
  context.pdl = false;
  if (library && cublaslt_found() && s.experts == 1) {
    auto call = [&](int copy) {
      GemmParams p = o.params(copy, o.y.p, s.y).gemm;
      GemmArgs a = {};
      a.x = p.x.data, a.x_scale = p.x.scale, a.w = p.w.data, a.w_scale = p.w.scale, a.y = p.y.data;
      a.m = int(s.m), a.n = int(s.n), a.k = int(s.k), a.columns = int(s.n), a.x_stride = int(s.k), a.y_stride = int(s.n);
      a.x_format = s.x, a.w_format = s.w, a.y_format = s.y, a.w_scales = s.scales, a.epilogue = Epilogue::none;
      if (!launch_cublaslt(a, context.workspace, context.workspace_bytes, context.stream)) throw std::runtime_error("no algorithm");
    };
    try {
      call(0);
      show("    cuBLASLt", time_us(call, copies, calls));
    } catch (const std::exception& e) {
      printf("    cuBLASLt: %s\n", e.what());
    }
  }
  fflush(stdout);
}

// The products of one decoder layer of the 8B model one after another, as decoding at batch 1 runs them.
void bench_chain(Format x, bool pdl) {
  constexpr int copies = 8;
  Shape qkv{1, 6144, 4096}, o{1, 4096, 4096}, gate_up{1, 24576, 4096}, down{1, 4096, 12288};
  gate_up.epilogue = Epilogue::silu_mul;
  std::vector<std::unique_ptr<Operands>> all;
  double bytes = 0;
  for (Shape s : {qkv, o, gate_up, down}) {
    s.x = x;
    all.push_back(std::make_unique<Operands>(s, copies));
    bytes += double(all.back()->w_bytes);
  }
  context.pdl = pdl;
  for (GemmChoice c : {gemv(), stream(8)}) {
    if (c.kernel == GemmKernel::stream && x != Format::e4m3) continue;
    double us = time_us([&](int copy) { for (auto& p : all) run(*p, copy, p->y.p, Format::bf16, c); }, copies, 36);
    printf("layer of 8B at batch 1, %s%s%s: %.1f us, %.0f GB/s, %.1f %% of the read ceiling; 36 layers %.3f ms\n", c.kernel == GemmKernel::gemv ? "gemv" : "stream",
           x == Format::e4m3 ? " w8a8" : " w8a16", pdl ? " pdl" : "", us, bytes / us / 1e3, 100 * bytes / us / 1e3 / ceiling_gb, us * 36 / 1e3);
  }
  context.pdl = false;
  fflush(stdout);
}

void bench_all() {
  Buffer big(size_t(4) << 30), sink(4);
  ok(cudaMemset(big.p, 1, big.bytes));
  double us = time_us([&](int) { read_all(big.p, big.bytes, static_cast<uint32_t*>(sink.p), context.stream); }, 1, 2);
  ceiling_gb = double(big.bytes) / us / 1e3;
  printf("read ceiling %.0f GB/s\n", ceiling_gb);
  auto b = [](int64_t m, int64_t n, int64_t k) {
    Shape s{m, n, k};
    s.x = s.w = Format::bf16, s.scales = Scales::none;
    return s;
  };
  auto silu = [](Shape s) { s.epilogue = Epilogue::silu_mul; return s; };
  auto a16 = [](Shape s) { s.x = Format::bf16; return s; };
  std::vector<GemmChoice> wide;
  for (int c : {1, 2}) for (int band : {4, 8, 16}) wide.push_back(tiles(256, 128, c, band));
  wide.push_back(tiles(128, 128, 2)), wide.push_back(tiles(128, 128, 1));
  bench({4096, 4096, 7168}, wide, true);
  bench({4096, 24576, 4096}, wide, true);
  bench(b(8192, 8192, 8192), {tiles(128, 256, 1), tiles(128, 256, 2)}, true);
  for (int64_t m : {1, 16, 64}) {
    std::vector<GemmChoice> c = {stream(m <= 8 ? 8 : int(m))};
    if (m <= 4) c.push_back(gemv());
    bench({m, 24576, 4096}, c, true);
  }
  bench(a16({1, 24576, 4096}), {gemv()}, false);
  for (auto [n, k] : {std::pair{6144, 4096}, {4096, 4096}, {4096, 12288}}) {
    bench(a16({1, n, k}), {gemv()}, false);
    bench({1, n, k}, {gemv(), stream(8)}, false);
    bench({4, n, k}, {gemv(), stream(8)}, false);
    bench({64, n, k}, {stream(64)}, true);
  }
  bench(silu(a16({1, 24576, 4096})), {gemv()}, false);
  bench(silu({1, 24576, 4096}), {gemv(), stream(8)}, false);
  if (only.empty() || only == "gemv")
    for (Format x : {Format::bf16, Format::e4m3})
      for (bool pdl : {false, true}) bench_chain(x, pdl);
  bench(b(1, 151936, 4096), {gemv(), stream(8)}, true);
  bench(b(64, 151936, 4096), {stream(64)}, true);
  bench(silu({4096, 24576, 4096}), {tiles(256, 128, 2)}, false);
  bench({4096, 6144, 4096}, {tiles(256, 128, 2)}, true);
  bench({4096, 4096, 12288}, {tiles(256, 128, 2)}, true);
  bench({1024, 4096, 4096}, {tiles(256, 128, 2), tiles(128, 128, 2)}, true);
  bench({256, 4096, 4096}, {tiles(256, 128, 2), tiles(128, 128, 2), stream(64)}, true);
  bench({128, 24576, 4096}, {tiles(128, 128, 2), stream(64)}, true);
  for (auto [n, k] : {std::pair{3456, 1152}, {1152, 1152}, {4304, 1152}, {1152, 4304}, {4608, 4608}})
    bench(b(4096, n, k), {tiles(128, 256, 1), tiles(128, 216, 1), tiles(128, 192, 1), tiles(128, 144, 1), tiles(128, 128, 1), tiles(128, 128, 2), tiles(128, 256, 2)}, true);
  auto gelu = [](Shape s) { s.bias = true, s.epilogue = Epilogue::gelu_tanh; return s; };
  auto residual = [](Shape s) { s.bias = s.residual = true; return s; };
  bench(gelu(b(4096, 4304, 1152)), {tiles(128, 216, 1)}, false);
  bench(residual(b(4096, 1152, 4304)), {tiles(128, 144, 1)}, false);
  bench(a16({16, 24576, 4096}), {mma(32, 1)}, false);
  bench(a16({16, 4096, 4096}), {mma(32, 4), mma(32, 8)}, false);
  bench(a16({4096, 24576, 4096}), {mma(128, 1)}, false);
  bench({4096, 24576, 4096}, {mma(128, 1)}, false);
  bench(b(4096, 24576, 4096), {tiles(128, 256, 1), tiles(128, 256, 2)}, true);
  auto moe = [](Shape s) { s.experts = 128; return s; };
  bench(moe(silu({8, 1536, 2048})), {gemv(), stream(8)}, false);
  bench(moe({8, 2048, 768}), {gemv(), stream(8)}, false);
  bench(moe(silu({512, 1536, 2048})), {stream(8), stream(16)}, false);
  bench(moe(silu({32768, 1536, 2048})), {tiles(256, 128, 2)}, false);
  bench(moe({32768, 2048, 768}), {tiles(256, 128, 2)}, false);
}

// What the autotuner finds for the published shapes; VL8_LOG is not read here, every candidate is printed.
void tune_all() {
  spdlog::set_level(spdlog::level::debug);
  spdlog::set_pattern("%v");
  Buffer w(size_t(2) << 30), scale(size_t(64) << 20);
  fill_random(w.p, Format::e4m3, w.bytes, 60.0f, ++seed), fill_scales(static_cast<float*>(scale.p), scale.bytes / 4, ++seed);
  ok(cudaDeviceSynchronize());
  std::vector<TunedProduct> products;
  auto add = [&](int64_t n, int64_t k, Format x, Format wf, bool fused, int64_t experts, Format y) {
    Scales scales = wf == Format::e4m3 ? Scales::block : Scales::none;
    products.push_back({{w.p, wf, scales, scales == Scales::none ? nullptr : static_cast<float*>(scale.p), n, k}, experts, experts > 1 ? 8 : 1, x, y, fused});
  };
  using enum Format;
  for (Format x : {e4m3, bf16}) {
    add(6144, 4096, x, e4m3, false, 1, bf16), add(4096, 4096, x, e4m3, false, 1, bf16);
    add(24576, 4096, x, e4m3, true, 1, bf16), add(4096, 12288, x, e4m3, false, 1, bf16);
  }
  add(1536, 2048, e4m3, e4m3, true, 128, bf16), add(2048, 768, e4m3, e4m3, false, 128, bf16);
  add(3456, 1152, bf16, bf16, false, 1, bf16), add(1152, 1152, bf16, bf16, false, 1, bf16), add(4304, 1152, bf16, bf16, false, 1, bf16),
      add(1152, 4304, bf16, bf16, false, 1, bf16), add(4608, 4608, bf16, bf16, false, 1, bf16);
  add(128, 2048, f32, f32, false, 1, f32);
  GemmTable table;
  auto begin = std::clock();
  int count = tune_gemms(products, 4096, context, table);
  printf("autotuned %d products in %.2f s of host time\n%s", count, double(std::clock() - begin) / CLOCKS_PER_SEC, table.text("this card").c_str());
}

// Attention: each shape against the plain loop where that is affordable, then its time.
void flash(int rows, int heads, int kv_heads, int d, bool causal, bool turns) {
  constexpr int page_tokens = 64;
  size_t qkv_floats = size_t(rows) * 3 * heads * d;
  Buffer qkv(qkv_floats * 2), k(size_t(rows) * kv_heads * d * 2), v(k.bytes), k_pages(k.bytes + 65536), v_pages(k.bytes + 65536),
      out(size_t(rows) * heads * d * 2), ref(size_t(rows) * heads * d * 4), sums(16);
  fill_random(qkv.p, Format::bf16, qkv_floats, 1.0f, ++seed);
  fill_random(k.p, Format::bf16, k.bytes / 2, 1.0f, ++seed), fill_random(v.p, Format::bf16, v.bytes / 2, 1.0f, ++seed);
  ok(cudaMemset(k_pages.p, 0, k_pages.bytes)), ok(cudaMemset(v_pages.p, 0, v_pages.bytes)), ok(cudaMemset(out.p, 0xff, out.bytes));
  copy_to_pages(k.p, k_pages.p, rows, kv_heads, page_tokens, d), copy_to_pages(v.p, v_pages.p, rows, kv_heads, page_tokens, d);
  std::vector<sm90::FlashTile> tiles;
  for (int r = (rows - 1) / 128 * 128; r >= 0; r -= 128) tiles.push_back({0, r});
  std::vector<int32_t> pages;
  for (int i = 0; i * page_tokens < rows; ++i) pages.push_back(i);
  sm90::FlashPaged::Sequence sequence{0, rows, rows, 0};
  int32_t segments[2] = {0, rows};
  auto upload = [](const auto* data, size_t n) {
    auto b = std::make_unique<Buffer>(n * sizeof *data);
    ok(cudaMemcpy(b->p, data, n * sizeof *data, cudaMemcpyHostToDevice));
    return b;
  };
  auto d_tiles = upload(tiles.data(), tiles.size());
  auto d_pages = upload(pages.data(), pages.size());
  auto d_seq = upload(&sequence, 1);
  auto d_seg = upload(segments, 2);
  auto go = [&](int) {
    if (causal)
      sm90::launch_flash_paged({qkv.p, k_pages.p, v_pages.p, out.p, static_cast<sm90::FlashPaged::Sequence*>(d_seq->p), static_cast<int32_t*>(d_pages->p),
                          static_cast<sm90::FlashTile*>(d_tiles->p), rows, heads, kv_heads, int(pages.size()), page_tokens, int(tiles.size())},
                         context, turns);
    else
      sm90::launch_flash_vision({qkv.p, out.p, static_cast<int32_t*>(d_seg->p), static_cast<sm90::FlashTile*>(d_tiles->p), rows, heads, d, int(tiles.size())},
                          context, turns);
  };
  ok(cudaDeviceSynchronize());
  go(0);
  ok(cudaStreamSynchronize(context.stream));
  const char* verdict = "not checked";
  double error = 0;
  if (rows <= 2100) {
    const uint16_t* x = static_cast<const uint16_t*>(qkv.p);
    if (causal) reference_attention(x, k.p, v.p, static_cast<float*>(ref.p), rows, heads, kv_heads, d, heads * d, kv_heads * d, true);
    else reference_attention(x, x + heads * d, x + 2 * heads * d, static_cast<float*>(ref.p), rows, heads, heads, d, 3 * heads * d, 3 * heads * d, false);
    ok(cudaMemset(sums.p, 0, 16));
    sum_differences(out.p, static_cast<float*>(ref.p), Format::bf16, size_t(rows) * heads * d, static_cast<double*>(sums.p));
    double s[2];
    ok(cudaMemcpy(s, sums.p, 16, cudaMemcpyDeviceToHost));
    error = std::sqrt(s[0] / s[1]);
    verdict = error < 8e-3 ? "ok" : "FAIL";
    failures += !(error < 8e-3);
  }
  double us = time_us(go, 1, rows > 2100 ? 10 : 4), flop = 4.0 * rows * double(rows) * heads * d * (causal ? 0.5 : 1.0);
  printf("%-4s flash %s%s rows %d heads %d/%d d %d: error %.1e  %9.1f us %7.1f TFLOP/s\n", verdict, causal ? "causal" : "full", turns ? " turns" : "", rows,
         heads, kv_heads, d, error, us, flop / us / 1e6);
  fflush(stdout);
}
void flash_all() {
  for (bool turns : {false, true}) {
    flash(333, 4, 2, 128, true, turns), flash(2048, 8, 2, 128, true, turns);
    flash(333, 3, 3, 72, false, turns), flash(1500, 4, 4, 64, false, turns);
    flash(8192, 32, 8, 128, true, turns), flash(4096, 32, 8, 128, true, turns), flash(4096, 16, 16, 72, false, turns), flash(4096, 16, 16, 64, false, turns);
  }
}

// One launch of each main kernel, for ncu.
void profile() {
  Shape wide{4096, 24576, 4096}, few{64, 24576, 4096}, one{1, 24576, 4096}, vision{4096, 4304, 1152};
  vision.x = vision.w = Format::bf16, vision.scales = Scales::none;
  for (auto& [s, c] : {std::pair{wide, tiles(256, 128, 2)}, {few, stream(64)}, {one, gemv()}, {vision, tiles(128, 216, 1)}}) {
    Operands o(s, 2);
    for (int i = 0; i < 2; ++i) run(o, i, o.y.p, s.y, c);
    ok(cudaDeviceSynchronize());
  }
}

}  // namespace

int main(int argc, char** argv) {
  bool do_check = argc == 1, do_bench = argc == 1, do_profile = false, do_flash = false, do_tune = false;
  seed = uint64_t(time(nullptr));
  for (int i = 1; i < argc; ++i) {
    if (!strcmp(argv[i], "check")) do_check = true;
    else if (!strcmp(argv[i], "bench")) do_bench = true;
    else if (!strcmp(argv[i], "flash")) do_flash = true;
    else if (!strcmp(argv[i], "tune")) do_tune = true;
    else if (!strcmp(argv[i], "profile")) do_profile = true;
    else if (!strncmp(argv[i], "seed=", 5)) seed = strtoull(argv[i] + 5, nullptr, 10);
    else if (!strncmp(argv[i], "with=", 5)) with = argv[i] + 5;
    else if (!strcmp(argv[i], "small")) small = true;
    else if (!strcmp(argv[i], "cluster=1")) widest_cluster = 1;
    else if (!strncmp(argv[i], "only=", 5)) only = argv[i] + 5;
    else return fprintf(stderr, "usage: gemm_bench [check] [bench] [flash] [tune] [profile] [seed=N] [only=gemv|stream|tiles|mma] [with=TEXT] [cluster=1] [small]\n"), 2;
  }
  cudaDeviceProp prop;
  if (cudaGetDeviceProperties(&prop, 0) != cudaSuccess) return fprintf(stderr, "gemm_bench: no GPU here\n"), 1;
  printf("%s, sm %d.%d, %d multiprocessors, seed %llu\n", prop.name, prop.major, prop.minor, prop.multiProcessorCount,
         static_cast<unsigned long long>(seed));
  try {
    context.sm = prop.major * 10 + prop.minor;
    context.sm_count = prop.multiProcessorCount;
    ok(cudaStreamCreate(&context.stream));
    context.stream = cudaStreamLegacy;
    ok(cudaMalloc(&context.workspace, kGemmWorkspaceBytes));
    ok(cudaMemset(context.workspace, 0, kGemmWorkspaceBytes));
    context.workspace_bytes = kGemmWorkspaceBytes;
    if (do_check) check_all();
    ok(cudaStreamCreateWithFlags(&context.stream, cudaStreamNonBlocking));  // capture needs a real stream
    if (do_bench) bench_all();
    if (do_flash) flash_all();
    if (do_tune) tune_all();
    if (do_profile) profile();
    ok(cudaDeviceSynchronize());
  } catch (const std::exception& e) {
    return fprintf(stderr, "gemm_bench: %s\n", e.what()), 1;
  }
  return failures ? 1 : 0;
}
