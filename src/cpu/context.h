// What the verbs of the CPU backend share: threads, the chosen kernels, and scratch memory that is taken
// once.
#pragma once
#include <algorithm>

#include "core/arena.h"
#include "core/threads.h"
#include "cpu/isa.h"
#include "ops/ops.h"

namespace vl8::cpu {

struct Context {
  Context(Precision p, int threads, const Isa& row, bool invariant)
      : precision(p), batch_invariant(invariant || p != Precision::bf16), isa(row), kernels(*row.table), pool(threads) {}

  Precision precision;
  bool batch_invariant;  // exact precisions always are
  const Isa& isa;
  const KernelTable& kernels;
  ThreadPool pool;
  Arena scratch{size_t(4) << 20};  // every verb takes what it needs inside an Arena::Scope

  bool rounds() const { return precision == Precision::bf16; }
  const MatrixKernels& matrix() const { return rounds() ? kernels.bf16 : kernels.exact; }

  // f(begin, end) over rows of `width` elements; on this thread alone when the work is too small to share.
  template <typename F>
  void each_row(int64_t rows, int64_t width, F f) {
    constexpr int64_t kWorthSharing = 16384;  // elements: about two microseconds, a fork and join costs one
    int64_t grain = std::max<int64_t>(1, kWorthSharing / std::max<int64_t>(1, width));
    pool.parallel_for(rows, grain, [&](int, int64_t b, int64_t e) { f(b, e); });
  }
};

// A part of a weight as the kernels see it. Throws Error(unsupported) for a type there is no kernel for.
WeightRows weight_rows(const Weight& weight, const WeightPart& part);
Number number_of(DType type);

}  // namespace vl8::cpu
