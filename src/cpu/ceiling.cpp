#include "cpu/ceiling.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/threads.h"

namespace vl8::cpu {
namespace {
double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
constexpr int kPasses = 7;
}  // namespace

double measure_read_ceiling_gbs(int threads) {
  constexpr size_t kBytes = size_t(1) << 30;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    fail(ErrorKind::resource, "out of memory: 1 GiB to measure the memory bandwidth could not be had");
  madvise(memory, kBytes, MADV_HUGEPAGE);
  const KernelTable& k = *find_isa("").table;
  ThreadPool pool(threads);
  const size_t share = kBytes / size_t(pool.size()) & ~size_t(4095);
  char* base = static_cast<char*>(memory);
  pool.run_on_all([&](int t) { std::memset(base + size_t(t) * share, 1, share); });
  double best = 0;
  std::atomic<int64_t> sink{0};
  for (int pass = 0; pass < kPasses; ++pass) {
    double start = seconds();
    pool.run_on_all([&](int t) { sink += k.read(base + size_t(t) * share, int64_t(share)); });
    best = std::max(best, double(share) * pool.size() / (seconds() - start) / 1e9);
  }
  munmap(memory, kBytes);
  return best;
}

double measure_matmul_peak_tflops(const Isa& isa, int threads) {
  ThreadPool pool(threads);
  std::vector<double> flop(size_t(pool.size()));
  auto pass = [&](int64_t rounds) {
    double start = seconds();
    pool.run_on_all([&](int t) { flop[size_t(t)] = isa.table->peak(rounds); });
    return seconds() - start;
  };
  int64_t rounds = 1000;
  while (pass(rounds) < 0.02) rounds *= 2;  // long enough for the clock to settle
  double best = 0;
  for (int i = 0; i < kPasses; ++i) {
    double time = pass(rounds), sum = 0;
    for (double f : flop) sum += f;
    best = std::max(best, sum / time / 1e12);
  }
  return best;
}

}  // namespace vl8::cpu
