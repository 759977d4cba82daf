// Tests and times the AMX kernels on a machine that has AMX: one static program, nothing but libc, JSON lines
// out.
//   amx_check [--threads N] [--emulated] [--quick]
// Exit 0: numbers right; 1: a kernel is wrong; 3: this machine has no AMX. --emulated: tests only, tiles in
// software.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "cpu/table.h"

namespace vl8::cpu {
extern const KernelTable table_amx, table_amx_prefetch0, table_amx_emulated;
}

namespace {
using namespace vl8::cpu;

bool has_amx() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("amx-tile") || !__builtin_cpu_supports("amx-bf16") ||
      !__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("gfni"))
    return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double patience = 1;  // share of the usual time for each measurement

template <typename F>
double median_seconds(double budget, F f) {
  f();
  budget *= patience;
  std::vector<double> t;
  for (double start = seconds(); t.size() < 3 || (seconds() - start < budget && t.size() < 100);) {
    double a = seconds();
    f();
    t.push_back(seconds() - a);
  }
  std::sort(t.begin(), t.end());
  return t[t.size() / 2];
}

// f(thread, task) for tasks handed out one by one.
template <typename F>
void run_tasks(int threads, int64_t tasks, F f) {
  std::atomic<int64_t> next{0};
  auto body = [&](int t) {
    for (int64_t i; (i = next.fetch_add(1)) < tasks;) f(t, i);
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < threads; ++t) pool.emplace_back(body, t);
  body(0);
  for (auto& t : pool) t.join();
}

void* take(size_t bytes) {
  bytes = (bytes + (2u << 20) - 1) & ~size_t((2u << 20) - 1);
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    std::fprintf(stderr, "out of memory: %zu MB\n", bytes >> 20);
    std::exit(1);
  }
  madvise(p, bytes, MADV_HUGEPAGE);
  return p;
}

float e4m3_value(uint8_t q) {
  int e = q >> 3 & 15, m = q & 7;
  float v = e ? std::ldexp(1.f + float(m) / 8, e - 7) : std::ldexp(float(m), -9);
  return q & 0x80 ? -v : v;
}
float bf16_value(uint16_t h) {
  uint32_t u = uint32_t(h) << 16;
  float x;
  std::memcpy(&x, &u, 4);
  return x;
}
uint16_t to_bf16(float x) {
  uint32_t u;
  std::memcpy(&u, &x, 4);
  return uint16_t((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

std::mt19937_64 engine(12345);

// A weight of random finite numbers with scales, in memory of its own.
struct Weight {
  int64_t n, k;
  bool fp8;
  uint8_t* data;
  std::vector<float> scale;
  Weight(int64_t n_, int64_t k_, bool fp8_)
      : n(n_), k(k_), fp8(fp8_), data(static_cast<uint8_t*>(take(size_t(n * k) * (fp8 ? 1 : 2)))) {
    uint64_t s = engine();
    for (size_t i = 0; i < size_t(n * k) * (fp8 ? 1 : 2); ++i) {
      s = s * 6364136223846793005 + 1442695040888963407;
      uint8_t b = uint8_t(s >> 56);
      data[i] = fp8 ? uint8_t((b & 0x7f) == 0x7f ? 0 : b) : i % 2 ? uint8_t(0x3c | (b & 0x81)) : b;
    }
    for (int64_t i = 0; i < (n + 127) / 128 * ((k + 127) / 128); ++i)
      scale.push_back(0.001f * float(1 + i % 7));
  }
  ~Weight() { munmap(data, (size_t(n * k) * (fp8 ? 1 : 2) + (2u << 20) - 1) & ~size_t((2u << 20) - 1)); }
  double at(int64_t r, int64_t c) const {
    if (!fp8) return bf16_value(reinterpret_cast<uint16_t*>(data)[r * k + c]);
    return double(e4m3_value(data[r * k + c])) * scale[size_t(r / 128 * ((k + 127) / 128) + c / 128)];
  }
  WeightRows rows() const {
    return {data,
            fp8 ? Number::e4m3 : Number::bf16,
            fp8 ? Scaling::block : Scaling::none,
            scale.data(),
            n,
            k,
            128,
            128};
  }
  size_t bytes() const { return size_t(n * k) * (fp8 ? 1 : 2); }
};

std::vector<float> normals(int64_t n) {
  std::normal_distribution<float> d;
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = bf16_value(to_bf16(d(engine)));
  return v;
}

struct ThreadScratch {
  void* panel = take(size_t(table_amx.bf16.panel_bytes));
  float* sums = static_cast<float*>(take(size_t(table_amx.bf16.task_groups * table_amx.bf16.task_rows * 64)));
};

// One product through multiply, as the backend would cut it.
struct Product {
  const MatrixKernels& k;
  const Weight& w;
  int64_t m, units, chunk_bytes;
  char* packed;
  std::vector<float> y;
  Product(const MatrixKernels& kernels, const Weight& weight, const std::vector<float>& x, int64_t tokens)
      : k(kernels), w(weight), m(tokens), units((weight.k + 31) / 32 * 16), chunk_bytes((m + 15) / 16 * kGroupBytes),
        y(size_t(tokens * weight.n)) {
    packed = static_cast<char*>(take(packed_bytes()));
    for (int64_t g = 0; g * 16 < m; ++g)
      k.pack_tokens({x.data() + g * 16 * w.k, w.k, nullptr, std::min<int64_t>(16, m - g * 16), w.k, units, false,
                     packed + g * kGroupBytes, chunk_bytes});
  }
  ~Product() { munmap(packed, (packed_bytes() + (2u << 20) - 1) & ~size_t((2u << 20) - 1)); }
  size_t packed_bytes() const { return size_t((units + kChunkUnits - 1) / kChunkUnits * chunk_bytes); }

  MultiplyTask task(const Weight& weight, int64_t row, int64_t rows, int64_t next, float* to, ThreadScratch& s) const {
    return {.w = weight.rows(),
            .up = {},
            .gated = false,
            .row_begin = row,
            .row_end = std::min(weight.n, row + rows),
            .x = packed,
            .chunk_bytes = chunk_bytes,
            .tokens = m,
            .units = units,
            .finish = {nullptr, nullptr, Curve::none},
            .y = to,
            .y_stride = weight.n,
            .round_bf16 = false,
            .panel = s.panel,
            .sums = s.sums,
            .next_row = next < weight.n ? next : -1};
  }
  void run(int threads, std::vector<ThreadScratch>& s) {
    const int64_t rows = k.task_rows;
    run_tasks(threads, (w.n + rows - 1) / rows, [&](int t, int64_t i) {
      k.multiply(task(w, i * rows, rows, (i + threads) * rows, y.data(), s[size_t(t)]));
    });
  }
};

bool check_products(const KernelTable& table) {
  std::vector<ThreadScratch> scratch(1);
  double worst = 0;
  for (bool fp8 : {true, false})
    for (int64_t m : {1, 2, 15, 16, 17, 31, 33, 48, 70})
      for (auto [n, k] : {std::pair<int64_t, int64_t>{16, 32}, {100, 200}, {130, 640}, {257, 129}}) {
        Weight w(n, k, fp8);
        std::vector<float> x = normals(m * k);
        Product p(table.bf16, w, x, m);
        p.run(1, scratch);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0, size = 1e-30;
            for (int64_t c = 0; c < k; ++c)
              sum += double(x[size_t(i * k + c)]) * w.at(j, c),
                  size += std::fabs(double(x[size_t(i * k + c)]) * w.at(j, c));
            worst = std::max(worst, std::fabs(p.y[size_t(i * n + j)] - sum) / size);
          }
      }
  std::printf("{\"check\":\"multiply\",\"worst_relative_error\":%.3g,\"ok\":%s}\n", worst,
              worst < 3e-6 ? "true" : "false");
  return worst < 3e-6;
}

bool check_flash(const KernelTable& table) {
  double worst = 0;
  for (int64_t d : {64, 72, 128})
    for (int64_t rows : {5, 48, 130}) {
      const int64_t keys = 300;
      std::vector<float> q = normals(rows * d), k = normals(keys * d), v = normals(keys * d),
                         out(size_t(rows * d));
      std::vector<uint16_t> kh, vh;
      for (float f : k) kh.push_back(to_bf16(f));
      for (float f : v) vh.push_back(to_bf16(f));
      void* scratch = take(size_t(table.bf16.flash_bytes(d, 0)));
      FlashTask t{{kh.data(), vh.data(), true, nullptr, 0, 0, d},
                  keys,
                  d,
                  q.data(),
                  d,
                  0,
                  out.data(),
                  d,
                  0,
                  1,
                  0,
                  rows,
                  false,
                  0,
                  1 / std::sqrt(float(d)),
                  false,
                  scratch};
      table.bf16.flash(t);
      for (int64_t i = 0; i < rows; ++i) {
        std::vector<double> p(static_cast<size_t>(keys));
        double top = -1e30, sum = 0;
        for (int64_t j = 0; j < keys; ++j) {
          for (int64_t e = 0; e < d; ++e)
            p[size_t(j)] += double(q[size_t(i * d + e)]) * double(k[size_t(j * d + e)]);
          top = std::max(top, p[size_t(j)] /= std::sqrt(double(d)));
        }
        for (double& x : p) sum += x = std::exp(x - top);
        for (int64_t e = 0; e < d; ++e) {
          double o = 0;
          for (int64_t j = 0; j < keys; ++j) o += p[size_t(j)] / sum * double(v[size_t(j * d + e)]);
          worst = std::max(worst, std::fabs(o - double(out[size_t(i * d + e)])));
        }
      }
      munmap(scratch, (size_t(table.bf16.flash_bytes(d, 0)) + (2u << 20) - 1) & ~size_t((2u << 20) - 1));
    }
  std::printf("{\"check\":\"attention\",\"worst_error\":%.3g,\"ok\":%s}\n", worst,
              worst < 6e-3 ? "true" : "false");
  return worst < 6e-3;
}

double peak_tflops(const KernelTable& table, int threads) {
  double best = 0;
  for (int i = 0; i < 7; ++i) {
    std::vector<double> flop(static_cast<size_t>(threads));
    double start = seconds();
    run_tasks(threads, threads, [&](int, int64_t j) { flop[size_t(j)] = table.peak(1000000); });
    double sum = 0;
    for (double f : flop) sum += f;
    best = std::max(best, sum / (seconds() - start) / 1e12);
  }
  return best;
}

double read_gbs(const KernelTable& table, int threads) {
  const size_t bytes = size_t(1) << 30, share = bytes / size_t(threads) & ~size_t(4095);
  char* p = static_cast<char*>(take(bytes));
  std::memset(p, 1, bytes);
  double best = 0;
  for (int i = 0; i < 7; ++i) {
    double start = seconds();
    run_tasks(threads, threads, [&](int, int64_t j) { table.read(p + size_t(j) * share, int64_t(share)); });
    best = std::max(best, double(share) * threads / (seconds() - start) / 1e9);
  }
  munmap(p, bytes);
  return best;
}

void bench_l2(const char* name, const KernelTable& table, double peak1) {
  Weight w(256, 2048, true);
  std::vector<float> x = normals(512 * 2048);
  Product p(table.bf16, w, x, 512);
  std::vector<ThreadScratch> s(1);
  double t = median_seconds(0.3, [&] { p.run(1, s); }), tflops = 2e-12 * 256 * 2048 * 512 / t;
  std::printf(
      "{\"bench\":\"l2\",\"kernels\":\"%s\",\"m\":512,\"n\":256,\"k\":2048,\"tflops\":%.3f,\"share_pct\":%."
      "1f}\n",
      name, tflops, 100 * tflops / peak1);
}

void bench_gemm(const char* name, const KernelTable& table, int threads, double peak) {
  struct Row {
    const char* shape;
    int64_t m, n, k;
    bool fp8;
  };
  std::vector<ThreadScratch> s(static_cast<size_t>(threads));
  for (const Row& r : {Row{"2B qkv", 512, 4096, 2048, true},
                       {"2B o", 512, 2048, 2048, true},
                       {"2B gate_up", 512, 12288, 2048, true},
                       {"2B down", 512, 2048, 6144, true},
                       {"8B qkv", 512, 6144, 4096, true},
                       {"8B gate_up", 512, 24576, 4096, true},
                       {"8B down", 512, 4096, 12288, true},
                       {"8B o bf16", 512, 4096, 4096, false},
                       {"vision fc1", 768, 4304, 1152, false},
                       {"M 256", 256, 2048, 2048, true},
                       {"M 64", 64, 12288, 2048, true}}) {
    Weight w(r.n, r.k, r.fp8);
    std::vector<float> x = normals(r.m * r.k);
    Product p(table.bf16, w, x, r.m);
    double t = median_seconds(0.4, [&] { p.run(threads, s); }),
           tflops = 2e-12 * double(r.m) * double(r.n) * double(r.k) / t;
    std::printf(
        "{\"bench\":\"gemm\",\"kernels\":\"%s\",\"threads\":%d,\"shape\":\"%s\",\"m\":%ld,\"n\":%ld,\"k\":%"
        "ld,\"ms\":%.2f,\"tflops\":%.3f,"
        "\"share_pct\":%.1f}\n",
        name, threads, r.shape, long(r.m), long(r.n), long(r.k), t * 1e3, tflops, 100 * tflops / peak);
    std::fflush(stdout);
  }
}

// Few tokens: the dot-product kernels against tiles, over weights that no cache holds.
void bench_small(const KernelTable& table, int threads, double ceiling) {
  const int64_t n = 12288, k = 2048;
  std::vector<Weight*> copies;
  size_t total = 0;
  for (bool fp8 : {true, false}) {
    for (; total < (size_t(768) << 20); total += copies.back()->bytes())
      copies.push_back(new Weight(n, k, fp8));
    std::vector<ThreadScratch> s(static_cast<size_t>(threads));
    for (int64_t m : {1, 2, 3, 4, 8, 16}) {
      std::vector<float> x = normals(m * k), y(size_t(m * n));
      double gbs[2] = {0, 0};
      if (m <= kGemvTokens) {
        std::vector<char> packed(size_t((k + 63) / 64 * m * table.bf16.gemv_block));
        for (int64_t i = 0; i < m; ++i)
          table.bf16.gemv_pack({x.data() + i * k, k, i, m, copies[0]->rows().type, false, packed.data()});
        const int64_t step = 64, per = n / step;
        double t = median_seconds(0.5, [&] {
          run_tasks(threads, per * int64_t(copies.size()), [&](int, int64_t i) {
            table.bf16.gemv({copies[size_t(i / per)]->rows(),
                             i % per * step,
                             i % per * step + step,
                             packed.data(),
                             m,
                             {nullptr, nullptr, Curve::none},
                             y.data(),
                             n,
                             false});
          });
        });
        gbs[0] = double(total) / t / 1e9;
      }
      Product p(table.bf16, *copies[0], x, m);
      const int64_t per = n / 128;
      double t = median_seconds(0.5, [&] {
        run_tasks(threads, per * int64_t(copies.size()), [&](int th, int64_t i) {
          table.bf16.multiply(p.task(*copies[size_t(i / per)], i % per * 128, 128, -1, y.data(), s[size_t(th)]));
        });
      });
      gbs[1] = double(total) / t / 1e9;
      std::printf(
          "{\"bench\":\"small\",\"threads\":%d,\"type\":\"%s\",\"tokens\":%ld,\"gemv_gb_per_s\":%.2f,\"tiles_"
          "gb_per_s\":%.2f,"
          "\"ceiling\":%.2f,\"best_share_pct\":%.1f}\n",
          threads, fp8 ? "e4m3" : "bf16", long(m), gbs[0], gbs[1], ceiling,
          100 * std::max(gbs[0], gbs[1]) / ceiling);
      std::fflush(stdout);
    }
    for (Weight* w : copies) delete w;
    copies.clear(), total = 0;
  }
}

void bench_flash(const KernelTable& table, int threads, double peak) {
  for (int64_t d : {64, 72, 128}) {
    const int64_t keys = 4096, rows = 192, tasks = 16 * threads;
    std::vector<float> q = normals(rows * d);
    std::vector<uint16_t> k(size_t(keys * d)), v;
    for (uint16_t& h : k) h = to_bf16(float(int(engine() % 2001) - 1000) / 500);
    v = k;
    std::vector<void*> scratch;
    std::vector<std::vector<float>> out;
    for (int t = 0; t < threads; ++t)
      scratch.push_back(take(size_t(table.bf16.flash_bytes(d, 0)))), out.emplace_back(size_t(rows * d));
    double t = median_seconds(0.5, [&] {
      run_tasks(threads, tasks, [&](int th, int64_t) {
        table.bf16.flash({{k.data(), v.data(), true, nullptr, 0, 0, d},
                          keys,
                          d,
                          q.data(),
                          d,
                          0,
                          out[size_t(th)].data(),
                          d,
                          0,
                          1,
                          0,
                          rows,
                          false,
                          0,
                          0.1f,
                          false,
                          scratch[size_t(th)]});
      });
    });
    double tflops = 4e-12 * double(rows * keys * d * tasks) / t;
    std::printf(
        "{\"bench\":\"attention\",\"threads\":%d,\"head\":%ld,\"keys\":%ld,\"tflops\":%.3f,\"share_pct\":%."
        "1f}\n",
        threads, long(d), long(keys), tflops, 100 * tflops / peak);
    std::fflush(stdout);
  }
}
}  // namespace

int main(int argc, char** argv) {
  int threads = 2;
  bool emulated = false;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--emulated"))
      emulated = true;
    else if (!std::strcmp(argv[i], "--quick"))
      patience = 0.3;
    else if (!std::strcmp(argv[i], "--threads") && i + 1 < argc)
      threads = std::max(1, std::atoi(argv[++i]));
    else
      return std::fprintf(stderr, "usage: %s [--threads N] [--emulated] [--quick]\n", argv[0]), 2;
  }
  if (emulated) return check_products(table_amx_emulated) && check_flash(table_amx_emulated) ? 0 : 1;
  if (!has_amx()) {
    std::printf("{\"amx\":false}\n");
    return 3;
  }
  if (!check_products(table_amx) || !check_flash(table_amx)) return 1;
  const double peak1 = peak_tflops(table_amx, 1), peak = peak_tflops(table_amx, threads),
               ceiling = read_gbs(table_amx, threads);
  std::printf(
      "{\"amx\":true,\"threads\":%d,\"peak_tflops_1\":%.3f,\"peak_tflops\":%.3f,\"read_gb_per_s\":%.2f}\n",
      threads, peak1, peak, ceiling);
  std::fflush(stdout);
  const std::pair<const char*, const KernelTable*> variants[] = {
      {"prefetch 1", &table_amx}, {"prefetch 0", &table_amx_prefetch0}};
  for (auto [name, table] : variants) bench_l2(name, *table, peak1);
  for (auto [name, table] : variants)
    if (patience == 1 || table == &table_amx) bench_gemm(name, *table, threads, peak);
  bench_flash(table_amx, threads, peak);
  if (patience == 1) bench_small(table_amx, threads, ceiling);
  return 0;
}
