#include "cpu/product.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "ops/fake_quant.h"

namespace vl8::cpu {

Number number_of(DType type) {
  switch (type) {
    case DType::f32:
      return Number::f32;
    case DType::f16:
      return Number::f16;
    case DType::bf16:
      return Number::bf16;
    case DType::e4m3:
      return Number::e4m3;
    case DType::e5m2:
      return Number::e5m2;
    case DType::i8:
      return Number::i8;
    case DType::i4:
      return Number::i4;
    case DType::e2m1:
      return Number::e2m1;
    default:
      fail(ErrorKind::unsupported, "no CPU kernel for weights of type {}", dtype_name(type));
  }
}

WeightRows weight_rows(const Weight& weight, const WeightPart& part) {
  constexpr Scaling kScaling[] = {Scaling::none, Scaling::tensor, Scaling::channel, Scaling::block,
                                  Scaling::group};
  return {part.data,       number_of(part.dtype), kScaling[int(part.scale_kind)],
          part.scale,      part.scale_bf16,       part.rows,
          weight.k,        part.block_rows,       part.block_cols};
}

namespace {

// A part of one product with its packed tokens; the unit of planning.
struct Job {
  const Product* product;
  WeightRows w, up;  // up: where the product is gated
  int64_t first_row;  // of the part in y
  const MatrixKernels* kernels = nullptr;
  bool gemv = false;
  const void* packed = nullptr;
  int64_t units = 0;                         // of K, gemm only
  int64_t row_step = 0, group_step = 0;      // rows and token groups of a task
  int64_t row_blocks = 0, group_blocks = 0;  // tasks of this job
  int64_t first_task = 0;
};

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
int64_t round_up(int64_t a, int64_t b) {
  return ceil_div(a, b) * b;
}

// The bf16 units multiply block scales into sums of whole panel tiles; odd block shapes go to the float32
// units, which fold them into the weights element by element.
const MatrixKernels& choose_kernels(const Context& c, const WeightRows& w, bool exact) {
  const MatrixKernels& k = exact ? c.kernels.exact : c.matrix();
  bool fits =
      w.scaling != Scaling::block || k.per_unit == 1 || (w.block_cols % 64 == 0 && w.block_rows % 32 == 0);
  return fits ? k : c.kernels.exact;
}

// gemv walks K in steps of 64 columns, each under one scale.
bool whole_spans(const WeightRows& w) {
  return (w.scaling != Scaling::block && w.scaling != Scaling::group) || w.block_cols % 64 == 0;
}

bool takes_gemv(const Context& c, const MatrixKernels& k, const WeightRows& w, int64_t tokens) {
  return !c.batch_invariant && tokens <= k.gemv_tokens && whole_spans(w);
}

Finish finish_of(const Context& c, const Job& j) {
  const Product& p = *j.product;
  const Curve kCurves[] = {Curve::none, c.rounds() ? Curve::gelu_tanh : Curve::exact_gelu_tanh, Curve::gelu_erf};
  return {p.linear->bias.empty() ? nullptr : p.linear->bias.f32() + j.first_row,
          p.residual ? p.residual + j.first_row : nullptr, kCurves[int(p.act)]};
}

// Tasks of a job. gemv: about 128 KB of weights each; gemm: as large as the kernels take, smaller when they would
// be few.
void cut(const Context& c, Job& j) {
  if (j.gemv) {
    constexpr int64_t kBits[] = {32, 16, 16, 8, 8, 8, 4, 4};  // of each Number
    int64_t row_bytes = std::max<int64_t>(1, j.w.k * kBits[int(j.w.type)] / 8);
    j.row_step = std::clamp<int64_t>(131072 / row_bytes / 8 * 8, 8, 256);
    j.group_step = 1, j.group_blocks = 1;
  } else {
    const int64_t groups = ceil_div(j.product->tokens, kLane), most = j.kernels->task_groups;
    j.group_step = std::min(most, round_up(ceil_div(groups, ceil_div(groups, most)), 6));  // 6: whole tiles of all
    j.group_blocks = ceil_div(groups, j.group_step);
    j.row_step = j.kernels->task_rows / (j.product->gated ? 2 : 1);
    while (j.row_step > 32 && ceil_div(j.w.rows, j.row_step) * j.group_blocks < 3 * c.pool.size())
      j.row_step /= 2;
  }
  j.row_blocks = ceil_div(j.w.rows, j.row_step);
}

void run_gemv(const Context& c, const Job& j, int64_t task, bool round) {
  const Product& p = *j.product;
  int64_t row = task * j.row_step;
  j.kernels->gemv({j.w, row, std::min(j.w.rows, row + j.row_step), j.packed, p.tokens, finish_of(c, j),
                   p.y + j.first_row, p.linear->weight.n, round});
}

struct Scratch {
  void* panel;
  float* sums;
};

void run_gemm(const Context& c, const Job& j, int64_t task, bool round, Scratch s) {
  const Product& p = *j.product;
  int64_t row = task % j.row_blocks * j.row_step, group = task / j.row_blocks * j.group_step;
  int64_t token = group * kLane, n = p.linear->weight.n / (p.gated ? 2 : 1), next = row + j.row_step * c.pool.size();
  Finish f = finish_of(c, j);
  if (f.residual) f.residual += token * n;
  j.kernels->multiply({.w = j.w,
                       .up = j.up,
                       .gated = p.gated,
                       .row_begin = row,
                       .row_end = std::min(j.w.rows, row + j.row_step),
                       .x = static_cast<const char*>(j.packed) + group * kGroupBytes,
                       .chunk_bytes = ceil_div(p.tokens, kLane) * kGroupBytes,
                       .tokens = std::min(p.tokens - token, j.group_step * kLane),
                       .units = j.units,
                       .finish = f,
                       .y = p.y + token * n + j.first_row,
                       .y_stride = n,
                       .round_bf16 = round,
                       .panel = s.panel,
                       .sums = s.sums,
                       .next_row = next < j.w.rows ? next : -1});
}

// Token rows through eight bits and back (w8a8), gathered into memory of their own.
Product quantised(Context& c, const Product& p) {
  const int64_t k = p.linear->weight.k;
  float* x = c.scratch.array<float>(p.tokens * k);
  c.each_row(p.tokens, k, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) std::copy_n(p.x + (p.index ? p.index[i] : i) * p.x_stride, k, x + i * k);
    fake_quantise_input(p.linear->weight, x + b * k, e - b);
  });
  Product q = p;
  q.x = x, q.x_stride = k, q.index = nullptr;
  return q;
}

// Tokens of a product in the layout that a job's kernels read. Products with parts of one type share it.
void pack(Context& c, Job& j) {
  const Product& p = *j.product;
  const bool round = c.rounds() && !p.exact;
  if (j.gemv) {
    char* out =
        static_cast<char*>(c.scratch.take(size_t(ceil_div(j.w.k, 64) * p.tokens * j.kernels->gemv_block)));
    for (int64_t i = 0; i < p.tokens; ++i)
      j.kernels->gemv_pack(
          {p.x + (p.index ? p.index[i] : i) * p.x_stride, j.w.k, i, p.tokens, j.w.type, round, out});
    j.packed = out;
    return;
  }
  j.units = round_up(ceil_div(j.w.k, j.kernels->per_unit), 16);
  const int64_t groups = ceil_div(p.tokens, kLane), chunk_bytes = groups * kGroupBytes;
  char* out = static_cast<char*>(c.scratch.take(size_t(ceil_div(j.units, kChunkUnits) * chunk_bytes)));
  c.each_row(groups, j.w.k * kLane, [&](int64_t b, int64_t e) {
    for (int64_t g = b; g < e; ++g)
      j.kernels->pack_tokens(
          {p.index ? p.x : p.x + g * kLane * p.x_stride, p.x_stride, p.index ? p.index + g * kLane : nullptr,
           std::min<int64_t>(kLane, p.tokens - g * kLane), j.w.k, j.units, round, out + g * kGroupBytes,
           chunk_bytes});
  });
  j.packed = out;
}

// Halves of a fused gate and up projection, where both are of one format and the kernels can walk them in step.
std::optional<std::pair<WeightRows, WeightRows>> halves(const Weight& w) {
  if (w.parts.size() == 2) {
    const WeightRows gate = weight_rows(w, w.parts[0]), up = weight_rows(w, w.parts[1]);
    const bool alike = gate.rows == up.rows && gate.type == up.type && gate.scaling == up.scaling &&
                       gate.block_rows == up.block_rows && gate.block_cols == up.block_cols;
    return alike ? std::optional(std::pair(gate, up)) : std::nullopt;
  }
  return std::nullopt;
}

bool same_packing(const Job& a, const Job& b) {
  return a.product == b.product && a.gemv == b.gemv && a.kernels == b.kernels &&
         (!a.gemv || a.w.type == b.w.type);
}

// Panel and sums of each thread, large enough for every job.
std::vector<Scratch> task_scratch(Context& c, std::span<const Job> jobs) {
  int64_t panel = 0, sums = 0;
  for (const Job& j : jobs)
    if (!j.gemv) {
      panel = std::max(panel, j.kernels->panel_bytes);
      sums = std::max(sums, std::min(ceil_div(j.product->tokens, kLane), j.kernels->task_groups) * j.kernels->task_rows);
    }
  std::vector<Scratch> scratch(size_t(c.pool.size()));
  if (panel > 0)
    for (Scratch& s : scratch) s = {c.scratch.take(size_t(panel)), c.scratch.array<float>(sums * kLane)};
  return scratch;
}

// Plans one product: packs its tokens and adds a job for each part of its weight.
void plan(Context& c, const Product& p, std::vector<Job>& jobs, int64_t& tasks) {
  auto add = [&](const WeightRows& w, const WeightRows& up, int64_t row) {
    Job j{.product = &p, .w = w, .up = up, .first_row = row};
    j.kernels = &choose_kernels(c, j.w, p.exact);
    j.gemv = !p.gated && takes_gemv(c, *j.kernels, j.w, p.tokens);
    if (!jobs.empty() && same_packing(jobs.back(), j))
      j.packed = jobs.back().packed, j.units = jobs.back().units;
    else
      pack(c, j);
    cut(c, j);
    j.first_task = tasks;
    tasks += j.row_blocks * j.group_blocks;
    jobs.push_back(j);
  };
  const Weight& w = p.linear->weight;
  if (p.gated) {
    const auto [gate, up] = halves(w).value();
    return add(gate, up, 0);
  }
  int64_t row = 0;
  for (const WeightPart& part : w.parts) add(weight_rows(w, part), {}, row), row += part.rows;
}

}  // namespace

bool gates_in_product(const Context& c, const Linear& linear, int64_t tokens) {
  const auto parts = halves(linear.weight);
  return parts && !takes_gemv(c, choose_kernels(c, parts->first, false), parts->first, tokens);
}

void run_products(Context& c, std::span<const Product> products) {
  Arena::Scope scope(c.scratch);
  std::vector<Product> inputs(products.begin(), products.end());
  std::vector<Job> jobs;
  int64_t tasks = 0;
  for (Product& p : inputs) {
    if (p.tokens == 0) continue;
    const Weight& w = p.linear->weight;
    if (c.precision == Precision::w8a8 && input_rounding(w) != InputRounding::none) p = quantised(c, p);
    plan(c, p, jobs, tasks);
  }
  const std::vector<Scratch> scratch = task_scratch(c, jobs);
  c.pool.parallel_for(tasks, 1, [&](int thread, int64_t begin, int64_t end) {
    auto job = std::upper_bound(jobs.begin(), jobs.end(), begin,
                                [](int64_t t, const Job& j) { return t < j.first_task; }) -
               1;
    for (int64_t t = begin; t < end; ++t) {
      while (job + 1 != jobs.end() && t >= (job + 1)->first_task) ++job;
      if (job->gemv)
        run_gemv(c, *job, t - job->first_task, c.rounds() && !job->product->exact);
      else
        run_gemm(c, *job, t - job->first_task, c.rounds() && !job->product->exact, scratch[size_t(thread)]);
    }
  });
}

}  // namespace vl8::cpu
