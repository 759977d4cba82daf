#include "cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace vl8::cpu {
namespace {

constexpr int64_t kSplitKeys =
    512;  // keys of one decode task: fixed, so that a token's sums never depend on the batch
constexpr int64_t kDecodeRows = 1;  // sequences with so few tokens go to the decode kernel

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

void check_head(int64_t d) {
  check(d > 0 && d <= kMaxHeadDim, "attention: head size {} is outside 1..{}", d, kMaxHeadDim);
}

// Query rows of one kv head of one sequence (or segment), to be cut into flash tasks.
struct Stripe {
  FlashTask task;
  int64_t rows, first_task;
};

// A run of flash tasks over stripes. Later rows of a causal stripe see more keys: they start first.
void run_flash(Context& c, std::span<Stripe> stripes, int64_t head_dim) {
  if (stripes.empty()) return;
  const int64_t rows = c.matrix().flash_rows;
  int64_t tasks = 0, keys = 0;
  for (Stripe& s : stripes) {
    s.first_task = tasks, tasks += ceil_div(s.rows, rows);
    keys = std::max(keys, s.task.kv_len);
  }
  const size_t bytes = size_t(c.matrix().flash_bytes(head_dim, keys));
  char* scratch = static_cast<char*>(c.scratch.take(bytes * size_t(c.pool.size())));
  c.pool.parallel_for(tasks, 1, [&](int thread, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      auto s = std::upper_bound(stripes.begin(), stripes.end(), t,
                                [](int64_t a, const Stripe& b) { return a < b.first_task; }) -
               1;
      const int64_t block = ceil_div(s->rows, rows) - 1 - (t - s->first_task);
      FlashTask f = s->task;
      f.row_begin = block * rows, f.row_end = std::min(s->rows, (block + 1) * rows);
      f.scratch = scratch + bytes * size_t(thread);
      c.matrix().flash(f);
    }
  });
}

// --- text

KvRows head_rows(const KvCache& cache, int64_t layer, int64_t head, const int32_t* pages) {
  const bool bf16 = cache.dtype == DType::bf16;
  const int64_t page = cache.kv_heads * cache.page_tokens * cache.head_dim;
  const size_t at = size_t(head * cache.page_tokens * cache.head_dim) * (bf16 ? 2 : 4);
  return {static_cast<char*>(cache.k[size_t(layer)]) + at,
          static_cast<char*>(cache.v[size_t(layer)]) + at,
          bf16,
          pages,
          cache.page_tokens,
          page,
          cache.head_dim};
}

void store_row(const Context& c, void* base, DType type, size_t at, const float* x, int64_t n) {
  if (type == DType::bf16)
    c.kernels.to_bf16(x, n, static_cast<uint16_t*>(base) + at);
  else
    std::memcpy(static_cast<float*>(base) + at, x, size_t(n) * 4);
}

void write_pages(Context& c, const QkvHeads& x, KvCache& cache, int64_t layer, const SequenceView& s) {
  const int64_t h = cache.kv_heads, d = cache.head_dim;
  c.each_row(s.q_len, 2 * h * d, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const int64_t j = s.kv_len - s.q_len + i, row = s.q_begin + i;
      for (int64_t head = 0; head < h; ++head) {
        size_t at = size_t(
            ((s.pages[j / cache.page_tokens] * h + head) * cache.page_tokens + j % cache.page_tokens) * d);
        store_row(c, cache.k[size_t(layer)], cache.dtype, at, x.k.f32() + (row * h + head) * d, d);
        store_row(c, cache.v[size_t(layer)], cache.dtype, at, x.v.f32() + (row * h + head) * d, d);
      }
    }
  });
}

// One decode task's share of one kv head, kept until all shares of the head are done.
struct Share {
  DecodeTask task;
  float* out;      // first share of a head: where [group, d] goes
  int64_t shares;  // of this head; 0 on all but the first
};

// Joins the shares of a head: sum_i e^(max_i - max) out_i / sum_i e^(max_i - max) sum_i.
void join_shares(const Context& c, const Share* first) {
  const DecodeTask& t = first->task;
  for (int64_t g = 0; g < t.group; ++g) {
    float top = t.max[g], sum = 0, *to = first->out + g * t.head_dim;
    for (int64_t i = 1; i < first->shares; ++i) top = std::max(top, first[i].task.max[g]);
    std::fill_n(to, t.head_dim, 0.0f);
    for (int64_t i = 0; i < first->shares; ++i)
      sum += std::exp(first[i].task.max[g] - top) * first[i].task.sum[g];
    for (int64_t i = 0; i < first->shares; ++i)
      c.kernels.axpy(std::exp(first[i].task.max[g] - top) / sum, first[i].task.out + g * t.head_dim,
                     t.head_dim, to);
  }
}

// Query rows rounded as the matrix units would round them, so that decode and prefill see the same numbers.
const float* decode_queries(Context& c, const float* q, int64_t n) {
  if (!c.rounds()) return q;
  uint16_t* half = c.scratch.array<uint16_t>(n);
  float* rounded = c.scratch.array<float>(n);
  c.kernels.to_bf16(q, n, half);
  c.kernels.to_f32(half, Number::bf16, 1.0f, n, rounded);
  return rounded;
}

void add_shares(Context& c, const KvRows& kv, const float* q, int64_t kv_len, int64_t group, int64_t d,
                float* out, Share*& at) {
  const int64_t shares = ceil_div(kv_len, kSplitKeys);
  float* memory = c.scratch.array<float>(shares * group * (d + 2 + kKeyBlock));
  for (int64_t i = 0; i < shares; ++i, ++at) {
    *at = {{kv, i * kSplitKeys, std::min(kv_len, (i + 1) * kSplitKeys), d, group, q,
            1.0f / std::sqrt(float(d)), nullptr, nullptr, nullptr, nullptr},
           out,
           i == 0 ? shares : 0};
    at->task.out = memory, memory += group * d;
    at->task.max = memory, memory += group;
    at->task.sum = memory, memory += group;
    at->task.scratch = memory, memory += group * kKeyBlock;
  }
}

// The decode kernel sums in another order than flash does: not where results must not depend on the batch.
bool decodes(const Context& c, const SequenceView& s) {
  return s.q_len <= kDecodeRows && !c.batch_invariant;
}

void run_decode(Context& c, const QkvHeads& x, const KvCache& cache, int64_t layer, const BatchView& batch,
                float* out) {
  const int64_t d = cache.head_dim, hq = x.q.shape[1], group = hq / cache.kv_heads;
  int64_t count = 0;
  for (const SequenceView& s : batch.sequences)
    if (decodes(c, s)) count += cache.kv_heads * ceil_div(s.kv_len, kSplitKeys);
  if (count == 0) return;
  Share* shares = c.scratch.array<Share>(count);
  Share* at = shares;
  for (const SequenceView& s : batch.sequences) {
    if (!decodes(c, s)) continue;
    const float* q = decode_queries(c, x.q.f32() + s.q_begin * hq * d, hq * d);
    for (int64_t h = 0; h < cache.kv_heads; ++h)
      add_shares(c, head_rows(cache, layer, h, s.pages), q + h * group * d, s.kv_len, group, d,
                 out + (s.q_begin * hq + h * group) * d, at);
  }
  c.pool.parallel_for(count, 1, [&](int, int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) c.kernels.decode(shares[i].task);
  });
  for (int64_t i = 0; i < count; ++i)
    if (shares[i].shares) join_shares(c, shares + i);
}

void run_prefill(Context& c, const QkvHeads& x, const KvCache& cache, int64_t layer, const BatchView& batch,
                 float* out) {
  const int64_t d = cache.head_dim, hq = x.q.shape[1], group = hq / cache.kv_heads;
  Stripe* stripes = c.scratch.array<Stripe>(int64_t(batch.sequences.size()) * cache.kv_heads);
  size_t n = 0;
  for (const SequenceView& s : batch.sequences) {
    if (decodes(c, s)) continue;
    for (int64_t h = 0; h < cache.kv_heads; ++h) {
      const int64_t at = (s.q_begin * hq + h * group) * d;
      stripes[n++] = {{.kv = head_rows(cache, layer, h, s.pages),
                       .kv_len = s.kv_len,
                       .head_dim = d,
                       .q = x.q.f32() + at,
                       .q_token_stride = hq * d,
                       .q_head_stride = d,
                       .out = out + at,
                       .out_token_stride = hq * d,
                       .out_head_stride = d,
                       .group = group,
                       .row_begin = 0,
                       .row_end = 0,
                       .causal = true,
                       .first_key = s.kv_len - s.q_len,
                       .scale = 1.0f / std::sqrt(float(d)),
                       .round_bf16 = c.rounds(),
                       .scratch = nullptr},
                      s.q_len * group,
                      0};
    }
  }
  run_flash(c, {stripes, n}, d);
}

}  // namespace

void paged_attention(Context& c, const QkvHeads& x, KvCache& cache, int64_t layer, const BatchView& batch,
                     float* out) {
  check_head(cache.head_dim);
  Arena::Scope scope(c.scratch);
  for (const SequenceView& s : batch.sequences) write_pages(c, x, cache, layer, s);
  run_prefill(c, x, cache, layer, batch, out);
  run_decode(c, x, cache, layer, batch, out);
}

namespace {

// Where the rotated keys and the values of a vision tower's rows go: [heads, rows, d].
struct HeadRows {
  char *k, *v;
  DType type;
  int64_t rows;
  const int32_t* row_of;  // place of each input row; null: its own number
};

// Splits qkv [m, 3 Hd], rotates queries [m, heads, d] and keys, and puts keys and values in their places.
void rotate_rows(Context& c, const Tensor& qkv, int64_t heads, const Rope& rope, float* q, const HeadRows& to) {
  const int64_t width = qkv.shape[1] / 3, d = width / heads, half = d / 2;
  c.each_row(qkv.rows(), 3 * width, [&](int64_t b, int64_t e) {
    float turned[kMaxHeadDim];
    for (int64_t i = b; i < e; ++i)
      for (int64_t h = 0; h < heads; ++h) {
        const float* from = qkv.f32() + i * 3 * width + h * d;
        const float *cos = rope.cos.f32() + i * half, *sin = rope.sin.f32() + i * half;
        const size_t at = size_t((h * to.rows + (to.row_of ? to.row_of[i] : i)) * d);
        c.kernels.norm_rope(from, nullptr, 0, cos, sin, d, q + i * width + h * d);
        c.kernels.norm_rope(from + width, nullptr, 0, cos, sin, d, turned);
        store_row(c, to.k, to.type, at, turned, d);
        store_row(c, to.v, to.type, at, from + 2 * width, d);
      }
  });
}

// Query rows begin..begin + rows of one head over keys key_begin..key_begin + keys.
Stripe vision_stripe(const Context& c, const HeadRows& kv, int64_t head, int64_t d, int64_t width, const float* q, float* out,
                     int64_t begin, int64_t rows, int64_t key_begin, int64_t keys) {
  const size_t at = size_t((head * kv.rows + key_begin) * d) * dtype_bytes(kv.type);
  return {{.kv = {kv.k + at, kv.v + at, kv.type == DType::bf16, nullptr, 0, 0, d},
           .kv_len = keys,
           .head_dim = d,
           .q = q + begin * width + head * d,
           .q_token_stride = width,
           .q_head_stride = 0,
           .out = out + begin * width + head * d,
           .out_token_stride = width,
           .out_head_stride = 0,
           .group = 1,
           .row_begin = 0,
           .row_end = 0,
           .causal = false,
           .first_key = 0,
           .scale = 1.0f / std::sqrt(float(d)),
           .round_bf16 = c.rounds(),
           .scratch = nullptr},
          rows,
          0};
}

}  // namespace

void segment_attention(Context& c, const Tensor& qkv, int64_t heads, const Rope& rope,
                       std::span<const int32_t> segments, float* out) {
  const int64_t n = qkv.rows(), width = qkv.shape[1] / 3, d = width / heads;
  check_head(d);
  Arena::Scope scope(c.scratch);
  const DType type = c.rounds() ? DType::bf16 : DType::f32;
  float* q = c.scratch.array<float>(n * width);
  const size_t bytes = size_t(n * width) * dtype_bytes(type);
  const HeadRows kv{static_cast<char*>(c.scratch.take(bytes)), static_cast<char*>(c.scratch.take(bytes)), type, n, nullptr};
  rotate_rows(c, qkv, heads, rope, q, kv);
  const int64_t parts = int64_t(segments.size()) - 1;
  Stripe* stripes = c.scratch.array<Stripe>(parts * heads);
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t s = 0; s < parts; ++s) {
      const int64_t begin = segments[size_t(s)], rows = segments[size_t(s) + 1] - begin;
      stripes[h * parts + s] = vision_stripe(c, kv, h, d, width, q, out, begin, rows, begin, rows);
    }
  run_flash(c, {stripes, size_t(parts * heads)}, d);
}

void memory_attention(Context& c, const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory, int64_t layer,
                      std::span<const int32_t> rows, float* out) {
  const int64_t m = qkv.rows(), width = qkv.shape[1] / 3, d = width / heads;
  check_head(d);
  Arena::Scope scope(c.scratch);
  float* q = c.scratch.array<float>(m * width);
  const HeadRows kv{static_cast<char*>(memory.k[size_t(layer)]), static_cast<char*>(memory.v[size_t(layer)]), memory.dtype,
                    memory.page_tokens, rows.data()};
  rotate_rows(c, qkv, heads, rope, q, kv);
  Stripe* stripes = c.scratch.array<Stripe>(heads);
  for (int64_t h = 0; h < heads; ++h) stripes[h] = vision_stripe(c, kv, h, d, width, q, out, 0, m, 0, memory.page_tokens);
  run_flash(c, {stripes, size_t(heads)}, d);
}

}  // namespace vl8::cpu
