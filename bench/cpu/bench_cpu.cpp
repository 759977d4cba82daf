// Micro benchmarks of the CPU backend, each as a share of the ceiling measured in the same run. One JSON line
// a row.
//   bench_cpu [--isa NAME] [--threads N] [ceiling|gemv|gemm|attention|vision|moe]...      (no name: all)
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "core/error.h"
#include "cpu/ceiling.h"
#include "cpu/cpu_ops.h"
#include "cpu/isa.h"
#include "rival_dnnl.h"

namespace {
using namespace vl8;

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
double median_ms(double budget_ms, const std::function<void()>& f) {
  f();
  std::vector<double> t;
  double start = now_ms();
  while (t.size() < 3 || (now_ms() - start < budget_ms && t.size() < 200)) {
    double a = now_ms();
    f();
    t.push_back(now_ms() - a);
  }
  std::sort(t.begin(), t.end());
  return t[t.size() / 2];
}

struct Settings {
  const cpu::Isa* isa = nullptr;
  int threads = 0;
  std::set<std::string> parts;
  bool has(const char* name) const { return parts.empty() || parts.count(name); }
};

// Random bytes that are finite numbers of the type, and their scales.
struct RandomWeight {
  std::vector<uint8_t> data;
  std::vector<float> scale;
  Linear linear;
  RandomWeight(DType type, int64_t n, int64_t k) {
    data.resize(size_t(n * k) * dtype_bytes(type));
    uint64_t s = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < data.size(); ++i) {
      s = s * 6364136223846793005 + 1442695040888963407;
      uint8_t b = uint8_t(s >> 56);
      if (type == DType::e4m3)
        data[i] = uint8_t((b & 0x80) | (0x28 + (b & 0x1f)));  // of size 2^-2 .. 2^2, as trained weights are
      else
        data[i] = i % 2 ? uint8_t(0x3c | (b & 0x81)) : b;
    }
    scale.assign(size_t((n + 127) / 128 * ((k + 127) / 128)), 0.01f);
    linear.weight.n = n, linear.weight.k = k;
    bool fp8 = type == DType::e4m3;
    linear.weight.parts = {
        {data.data(), type, n, fp8 ? ScaleKind::block : ScaleKind::none, fp8 ? scale.data() : nullptr}};
  }
};

std::vector<float> normals(int64_t n) {
  std::mt19937 g(7);
  std::normal_distribution<float> d;
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = d(g);
  return v;
}

void bench_gemv(const Settings& s, Ops& op, double ceiling) {
  struct Row {
    const char* name;
    DType type;
    int64_t n, k;
  };
  // Enough layers' worth of weights that no cache holds them: the big shapes alone exceed it.
  const Row rows[] = {{"8B gate_up", DType::e4m3, 24576, 4096}, {"8B down", DType::e4m3, 4096, 12288},
                      {"8B qkv", DType::e4m3, 6144, 4096},      {"2B gate_up", DType::e4m3, 12288, 2048},
                      {"2B down", DType::e4m3, 2048, 6144},     {"2B head", DType::bf16, 151936, 2048},
                      {"8B gate_up", DType::bf16, 24576, 4096}};
  for (const Row& r : rows) {
    std::vector<std::unique_ptr<RandomWeight>> copies;
    size_t one = size_t(r.n * r.k) * dtype_bytes(r.type), total = 0;
    while (total < (size_t(512) << 20))
      copies.push_back(std::make_unique<RandomWeight>(r.type, r.n, r.k)), total += one;
    for (int64_t m : {1, 2, 4, 8, 16}) {
      std::vector<float> x = normals(m * r.k);
      double ms = median_ms(600, [&] {
        op.begin_step();
        for (auto& w : copies) {
          Arena::Scope scope(op.arena());
          op.linear({x.data(), DType::f32, {m, r.k}}, w->linear);
        }
      });
      double gbs = double(total) / ms / 1e6;
      fmt::print(
          "{{\"bench\":\"gemv\",\"isa\":\"{}\",\"shape\":\"{}\",\"type\":\"{}\",\"tokens\":{},\"n\":{},\"k\":"
          "{},\"gb_per_s\":{:.2f},"
          "\"ceiling\":{:.2f},\"share_pct\":{:.1f}}}\n",
          s.isa->name, r.name, dtype_name(r.type), m, r.n, r.k, gbs, ceiling, 100 * gbs / ceiling);
      std::fflush(stdout);
    }
  }
}

void bench_gemm(const Settings& s, Ops& op, double peak) {
  struct Row {
    const char* name;
    DType type;
    int64_t m, n, k;
  };
  const Row rows[] = {
      {"2B gate_up", DType::e4m3, 64, 12288, 2048},  {"2B gate_up", DType::e4m3, 256, 12288, 2048},
      {"2B gate_up", DType::e4m3, 512, 12288, 2048}, {"2B down", DType::e4m3, 512, 2048, 6144},
      {"2B qkv", DType::e4m3, 512, 4096, 2048},      {"8B gate_up", DType::e4m3, 512, 24576, 4096},
      {"8B down", DType::e4m3, 512, 4096, 12288},    {"8B o", DType::bf16, 512, 4096, 4096},
      {"vision fc1", DType::bf16, 4096, 4096, 1024}, {"vision fc1", DType::bf16, 4096, 4304, 1152},
      {"square", DType::bf16, 2048, 2048, 2048}};
  for (const Row& r : rows) {
    RandomWeight w(r.type, r.n, r.k);
    std::vector<float> x = normals(r.m * r.k);
    double ms = median_ms(700, [&] {
      op.begin_step();
      op.linear({x.data(), DType::f32, {r.m, r.k}}, w.linear);
    });
    double rival = dnnl_bf16_matmul_ms(r.m, r.n, r.k, 5),
           flop = 2e-9 * double(r.m) * double(r.n) * double(r.k);
    fmt::print(
        "{{\"bench\":\"gemm\",\"isa\":\"{}\",\"shape\":\"{}\",\"type\":\"{}\",\"m\":{},\"n\":{},\"k\":{},"
        "\"ms\":{:.2f},\"tflops\":{:.3f},"
        "\"peak\":{:.3f},\"share_pct\":{:.1f},\"dnnl_bf16_tflops\":{:.3f}}}\n",
        s.isa->name, r.name, dtype_name(r.type), r.m, r.n, r.k, ms, flop / ms, peak, 100 * flop / ms / peak,
        rival > 0 ? flop / rival : 0);
    std::fflush(stdout);
  }
}

void bench_attention(const Settings& s, Ops& op, double peak, double ceiling) {
  struct Row {
    int64_t hq, hkv, q_len, kv_len;
  };
  for (const Row& r : {Row{16, 8, 512, 512},
                       {16, 8, 512, 4096},
                       {32, 8, 512, 512},
                       {32, 8, 512, 4096},
                       {16, 8, 1, 1024},
                       {32, 8, 1, 8192}}) {
    const int64_t d = 128, page = 64, pages = (r.kv_len + page - 1) / page, layers = r.q_len == 1 ? 16 : 1;
    KvCache cache = op.make_kv_cache(layers, r.hkv, d, page, pages);
    for (int64_t l = 0; l < layers; ++l)
      for (auto* base : {cache.k[size_t(l)], cache.v[size_t(l)]}) {
        auto* p = static_cast<uint16_t*>(base);
        for (size_t i = 0; i < cache.page_bytes() * size_t(pages) / 2; ++i)
          p[i] = uint16_t(0x3c00 + (i * 2654435761u >> 20) % 512);
      }
    std::vector<float> q = normals(r.q_len * r.hq * d), kv = normals(r.q_len * r.hkv * d);
    std::vector<int32_t> list(static_cast<size_t>(pages)), ids(static_cast<size_t>(r.q_len));
    for (size_t i = 0; i < list.size(); ++i) list[i] = int32_t(i);
    SequenceView seq{0, int32_t(r.q_len), int32_t(r.kv_len), list.data()};
    BatchView batch;
    batch.token_ids = ids, batch.sequences = {&seq, 1};
    QkvHeads x{{q.data(), DType::f32, {r.q_len, r.hq, d}},
               {kv.data(), DType::f32, {r.q_len, r.hkv, d}},
               {kv.data(), DType::f32, {r.q_len, r.hkv, d}}};
    double ms = median_ms(500,
                          [&] {
                            op.begin_step();
                            for (int64_t l = 0; l < layers; ++l) op.attention(x, cache, l, batch);
                          }) /
                double(layers);
    double pairs = double(r.q_len) * double(r.kv_len - r.q_len) + double(r.q_len) * double(r.q_len + 1) / 2;
    double tflops = 4e-9 * pairs * double(r.hq * d) / ms,
           gbs = double(r.kv_len * r.hkv * d * 2) * double(dtype_bytes(cache.dtype)) / ms / 1e6;
    fmt::print(
        "{{\"bench\":\"attention\",\"isa\":\"{}\",\"heads\":\"{}/"
        "{}\",\"q_len\":{},\"kv_len\":{},\"ms\":{:.3f},\"tflops\":{:.3f},"
        "\"share_pct\":{:.1f},\"kv_gb_per_s\":{:.1f},\"kv_share_pct\":{:.1f}}}\n",
        s.isa->name, r.hq, r.hkv, r.q_len, r.kv_len, ms, tflops, 100 * tflops / peak, gbs,
        100 * gbs / ceiling);
    std::fflush(stdout);
    op.free_kv_cache(cache);
  }
}

void bench_vision(const Settings& s, Ops& op, double peak) {
  for (auto [n, d] : {std::pair<int64_t, int64_t>{784, 64}, {4096, 64}, {4096, 72}}) {
    const int64_t heads = 16;
    std::vector<float> qkv = normals(n * 3 * heads * d), angle(size_t(n * d / 2), 0.5f);
    Rope rope{{angle.data(), DType::f32, {n, d / 2}}, {angle.data(), DType::f32, {n, d / 2}}};
    std::vector<int32_t> segments = {0, int32_t(n)};
    double ms = median_ms(800, [&] {
      op.begin_step();
      op.vision_attention({qkv.data(), DType::f32, {n, 3 * heads * d}}, heads, rope, segments);
    });
    double tflops = 4e-9 * double(n) * double(n) * double(heads * d) / ms;
    fmt::print(
        "{{\"bench\":\"vision\",\"isa\":\"{}\",\"patches\":{},\"head\":{},\"ms\":{:.2f},\"tflops\":{:.3f},"
        "\"share_pct\":{:.1f}}}\n",
        s.isa->name, n, d, ms, tflops, 100 * tflops / peak);
    std::fflush(stdout);
  }
}

// 30B-A3B: 128 experts of 768, 8 active, hidden 2048. Tokens choose at random, as an untrained router does.
void bench_moe(const Settings& s, Ops& op, double ceiling, double peak) {
  const int64_t experts = 128, hidden = 2048, inner = 768, k = 8;
  std::vector<std::unique_ptr<RandomWeight>> all;
  Moe moe;
  moe.top_k = k;
  all.push_back(std::make_unique<RandomWeight>(DType::bf16, experts, hidden));
  moe.router = all[0]->linear;
  for (int64_t e = 0; e < experts; ++e) {
    all.push_back(std::make_unique<RandomWeight>(DType::e4m3, 2 * inner, hidden));
    moe.gate_up.push_back(all.back()->linear);
    all.push_back(std::make_unique<RandomWeight>(DType::e4m3, hidden, inner));
    moe.down.push_back(all.back()->linear);
  }
  std::vector<float> many = normals(512 * hidden);
  for (int64_t t : {1, 4, 512}) {
    int64_t at = 0;
    double ms = median_ms(600, [&] {
      op.begin_step();
      op.moe({many.data() + at * hidden, DType::f32, {t, hidden}}, moe);
      at = t == 512 ? 0 : (at + t) % 508;
    });
    double bytes = double(k * 3 * inner * hidden) + double(experts * hidden * 2),
           flop = 2e-9 * double(t * k * 3 * inner * hidden);
    fmt::print(
        "{{\"bench\":\"moe\",\"isa\":\"{}\",\"tokens\":{},\"ms\":{:.3f},\"gb_per_s\":{:.2f},\"share_pct\":{:."
        "1f},\"tflops\":{:.3f},"
        "\"tflops_share_pct\":{:.1f}}}\n",
        s.isa->name, t, ms, bytes / ms / 1e6, t == 1 ? 100 * bytes / ms / 1e6 / ceiling : 0, flop / ms,
        100 * flop / ms / peak);
    std::fflush(stdout);
  }
}

int run(int argc, char** argv) {
  Settings s;
  std::string isa;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--isa") && i + 1 < argc)
      isa = argv[++i];
    else if (!std::strcmp(argv[i], "--threads") && i + 1 < argc)
      s.threads = std::atoi(argv[++i]);
    else
      s.parts.insert(argv[i]);
  }
  s.isa = &cpu::find_isa(isa);
  double ceiling = cpu::measure_read_ceiling_gbs(s.threads),
         peak = cpu::measure_matmul_peak_tflops(*s.isa, s.threads);
  fmt::print("{{\"bench\":\"ceiling\",\"isa\":\"{}\",\"read_gb_per_s\":{:.2f},\"peak_tflops\":{:.3f}}}\n",
             s.isa->name, ceiling, peak);
  std::fflush(stdout);
  auto op = make_cpu_ops(Precision::bf16, s.threads, s.isa->name);
  if (s.has("gemv")) bench_gemv(s, *op, ceiling);
  if (s.has("gemm")) bench_gemm(s, *op, peak);
  if (s.has("attention")) bench_attention(s, *op, peak, ceiling);
  if (s.has("vision")) bench_vision(s, *op, peak);
  if (s.has("moe")) bench_moe(s, *op, ceiling, peak);
  return 0;
}
}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const vl8::Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return e.kind() == vl8::ErrorKind::usage ? 2 : 1;
  }
}
