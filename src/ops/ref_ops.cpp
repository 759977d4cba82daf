#include "ops/ref_ops.h"

#include <algorithm>
#include <cstdlib>
#include <numbers>

#include "ops/fake_quant.h"
#include "ops/rotary.h"
#include "ops/weight_row.h"

namespace vl8 {

KvCache RefOps::make_kv_cache(int64_t layers, int64_t kv_heads, int64_t head_dim, int64_t page_tokens, int64_t pages) {
  KvCache c{layers, kv_heads, head_dim, page_tokens, pages, rounds_to_bf16() ? DType::bf16 : DType::f32, {}, {}};
  size_t bytes = c.page_bytes() * size_t(pages);
  for (int64_t i = 0; i < 2 * layers; ++i) {
    // calloc: untouched pages cost nothing until a sequence reaches them
    void* p = std::calloc(std::max<size_t>(bytes, 1), 1);
    if (!p) {
      free_kv_cache(c);
      fail(ErrorKind::resource, "out of memory: {} MB for the key/value cache ({} layers of {} pages of {} tokens) could not be had",
           (bytes * 2 * size_t(layers)) >> 20, layers, pages, page_tokens);
    }
    (i % 2 ? c.v : c.k).push_back(p);
  }
  return c;
}

void RefOps::free_kv_cache(KvCache& cache) {
  for (void* p : cache.k) std::free(p);
  for (void* p : cache.v) std::free(p);
  cache.k.clear(), cache.v.clear();
}

Kept RefOps::keep(const Tensor& x) {
  auto owner = std::make_shared<std::vector<float>>(x.f32(), x.f32() + x.shape.elements());
  return {{owner->data(), DType::f32, x.shape}, owner};
}

Tensor RefOps::upload(const Tensor& host) {
  Tensor y = f32(host.shape);
  std::copy_n(host.f32(), host.shape.elements(), y.f32());
  return y;
}

std::vector<float> RefOps::download(const Tensor& x) { return {x.f32(), x.f32() + x.shape.elements()}; }

std::vector<float> RefOps::product_input(const Tensor& x, const Weight& w) const {
  std::vector<float> v(x.f32(), x.f32() + x.shape.elements());
  if (precision_ == Precision::bf16)
    for (float& f : v) f = bf16_to_f32(f32_to_bf16(f));
  if (precision_ == Precision::w8a8) fake_quantise_input(w, v.data(), x.rows());
  return v;
}

float act_f32(Activation act, float z) {
  switch (act) {
    case Activation::none: return z;
    case Activation::gelu_tanh:
      return 0.5f * z * (1.0f + std::tanh(0.79788456080286535588f * (z + 0.044715f * z * z * z)));
    case Activation::gelu_erf: return 0.5f * z * (1.0f + std::erf(z * 0.70710678118654752440f));
  }
  return z;
}

Tensor RefOps::do_linear(const Tensor& x, const Linear& w, Activation act, const Tensor* residual) {
  const int64_t t = x.rows(), n = w.weight.n, k = w.weight.k;
  std::vector<float> in = product_input(x, w.weight), row(static_cast<size_t>(k));
  Tensor y = f32({t, n});
  for (int64_t j = 0; j < n; ++j) {
    weight_row_f32(w.weight, j, row.data());
    if (rounds_to_bf16() && !w.weight.is_fp8())
      for (float& f : row) f = bf16_to_f32(f32_to_bf16(f));
    for (int64_t i = 0; i < t; ++i) {
      double sum = 0;
      for (int64_t c = 0; c < k; ++c) sum += double(in[size_t(i * k + c)]) * double(row[size_t(c)]);
      float z = float(sum) + (w.bias.empty() ? 0.0f : w.bias.f32()[j]);
      y.f32()[i * n + j] = act_f32(act, z) + (residual ? residual->f32()[i * n + j] : 0.0f);
    }
  }
  return y;
}

Tensor RefOps::do_gather_rows(const Tensor& x, std::span<const int32_t> rows) {
  const int64_t c = x.shape[1];
  Tensor y = f32({int64_t(rows.size()), c});
  for (size_t i = 0; i < rows.size(); ++i) std::copy_n(x.f32() + rows[i] * c, c, y.f32() + int64_t(i) * c);
  return y;
}

Tensor RefOps::do_embed(const Weight& table, std::span<const int32_t> ids) {
  Tensor y = f32({int64_t(ids.size()), table.k});
  for (size_t i = 0; i < ids.size(); ++i) weight_row_f32(table, ids[i], y.f32() + int64_t(i) * table.k);
  return y;
}

void RefOps::do_put_rows(Tensor& x, int64_t row, const Tensor& src, bool accumulate) {
  float* d = x.f32() + row * x.shape[1];
  for (int64_t i = 0; i < src.shape.elements(); ++i) d[i] = src.f32()[i] + (accumulate ? d[i] : 0.0f);
}

Normed RefOps::do_rms_norm(const Tensor& x, const Tensor* delta, const Tensor& weight, float eps) {
  const int64_t t = x.rows(), c = x.cols();
  Tensor y = f32(x.shape), sum = delta ? f32(x.shape) : x;
  for (int64_t i = 0; i < t; ++i) {
    double squares = 0;
    for (int64_t j = 0; j < c; ++j) {
      if (delta) sum.f32()[i * c + j] = x.f32()[i * c + j] + delta->f32()[i * c + j];
      double v = sum.f32()[i * c + j];
      squares += v * v;
    }
    float factor = float(1.0 / std::sqrt(squares / double(c) + double(eps)));
    for (int64_t j = 0; j < c; ++j) y.f32()[i * c + j] = weight.f32()[j] * (sum.f32()[i * c + j] * factor);
  }
  return {y, sum};
}

Tensor RefOps::do_add(const Tensor& x, const Tensor& y) {
  Tensor z = f32(x.shape);
  for (int64_t i = 0; i < x.shape.elements(); ++i) z.f32()[i] = x.f32()[i] + y.f32()[i];
  return z;
}

int mrope_axis(int64_t pair, const int64_t section[3]) {
  if (pair % 3 == 1 && pair < 3 * section[1]) return 1;
  if (pair % 3 == 2 && pair < 3 * section[2]) return 2;
  return 0;
}

// YaRN (arXiv 2309.00071): pairs that turn often keep their frequency, slow ones are divided by the factor, those
// between are blended; cos and sin are scaled by the attention factor.
std::vector<float> mrope_inverse_frequencies(const RopeConfig& c, float* attention_factor) {
  const int64_t half = c.head_dim / 2;
  std::vector<float> f(static_cast<size_t>(half));
  *attention_factor = 1;
  for (int64_t i = 0; i < half; ++i) f[size_t(i)] = rotary_frequency(c.theta, 2 * i, c.head_dim);
  if (c.yarn_factor <= 1) return f;
  auto turns_dim = [&](double turns) {  // the pair that makes `turns` turns over the original context
    return double(c.head_dim) * std::log(double(c.yarn_original_positions) / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(c.theta));
  };
  double low = std::max(0.0, std::floor(turns_dim(c.yarn_beta_fast)));
  double high = std::min(double(c.head_dim - 1), std::ceil(turns_dim(c.yarn_beta_slow)));
  if (low == high) high += 0.001;
  for (int64_t i = 0; i < half; ++i) {
    double slow = std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
    f[size_t(i)] = float(double(f[size_t(i)]) * (1 - slow) + double(f[size_t(i)]) / c.yarn_factor * slow);
  }
  *attention_factor = float(c.yarn_attention_factor > 0 ? c.yarn_attention_factor : 0.1 * std::log(c.yarn_factor) + 1);
  return f;
}

Rope RefOps::do_mrope(const int32_t* positions, int64_t tokens, const RopeConfig& config) {
  float factor;
  std::vector<float> freq = mrope_inverse_frequencies(config, &factor);
  const int64_t half = config.head_dim / 2;
  Rope r{f32({tokens, half}), f32({tokens, half})};
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < half; ++i) {
      float angle = freq[size_t(i)] * float(positions[mrope_axis(i, config.section) * tokens + t]);
      float *cos = r.cos.f32() + t * half + i, *sin = r.sin.f32() + t * half + i;
      rotary_turn(angle, cos, sin);
      *cos *= factor, *sin *= factor;
    }
  return r;
}

namespace {
// In place: feature i turns with i + half.
void rotate(float* x, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    float a = x[i], b = x[i + half];
    x[i] = a * cos[i] - b * sin[i];
    x[i + half] = b * cos[i] + a * sin[i];
  }
}
}  // namespace

QkvHeads RefOps::do_qk_norm_rope(const Tensor& qkv, Heads h, const Tensor& q_norm, const Tensor& k_norm, float eps,
                                 const Rope& rope) {
  const int64_t t = qkv.rows(), d = h.dim, stride = qkv.shape[1];
  QkvHeads out{f32({t, h.q, d}), f32({t, h.kv, d}), f32({t, h.kv, d})};
  auto head = [&](float* dst, const float* src, const float* w, int64_t row) {
    double squares = 0;
    for (int64_t j = 0; j < d; ++j) squares += double(src[j]) * double(src[j]);
    float factor = float(1.0 / std::sqrt(squares / double(d) + double(eps)));
    for (int64_t j = 0; j < d; ++j) dst[j] = w[j] * (src[j] * factor);
    rotate(dst, rope.cos.f32() + row * (d / 2), rope.sin.f32() + row * (d / 2), d / 2);
  };
  for (int64_t i = 0; i < t; ++i) {
    const float* src = qkv.f32() + i * stride;
    for (int64_t j = 0; j < h.q; ++j) head(out.q.f32() + (i * h.q + j) * d, src + j * d, q_norm.f32(), i);
    for (int64_t j = 0; j < h.kv; ++j) head(out.k.f32() + (i * h.kv + j) * d, src + (h.q + j) * d, k_norm.f32(), i);
    std::copy_n(src + (h.q + h.kv) * d, h.kv * d, out.v.f32() + i * h.kv * d);
  }
  return out;
}

namespace {
// One page slot of one head: element d of key `j`.
size_t kv_index(const KvCache& c, const SequenceView& s, int64_t j, int64_t head) {
  return size_t(((s.pages[j / c.page_tokens] * c.kv_heads + head) * c.page_tokens + j % c.page_tokens) * c.head_dim);
}
void store(void* base, DType type, size_t at, const float* src, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (type == DType::bf16) static_cast<uint16_t*>(base)[at + size_t(i)] = f32_to_bf16(src[i]);
    else static_cast<float*>(base)[at + size_t(i)] = src[i];
}
// softmax(scale * scores) over `n`, in double, in place.
void softmax(std::vector<double>& scores, double scale) {
  double top = *std::max_element(scores.begin(), scores.end()), sum = 0;
  for (double& s : scores) sum += s = std::exp((s - top) * scale);
  for (double& s : scores) s /= sum;
}
}  // namespace

Tensor RefOps::do_attention(const QkvHeads& x, KvCache& cache, int64_t layer, const BatchView& batch) {
  const int64_t hq = x.q.shape[1], hkv = cache.kv_heads, d = cache.head_dim;
  void *kp = cache.k[size_t(layer)], *vp = cache.v[size_t(layer)];
  Tensor y = f32({x.q.rows(), hq * d});
  std::vector<double> p, sum(static_cast<size_t>(d));
  for (const SequenceView& s : batch.sequences) {
    for (int64_t i = 0; i < s.q_len; ++i)
      for (int64_t h = 0; h < hkv; ++h) {
        size_t at = kv_index(cache, s, s.kv_len - s.q_len + i, h);
        store(kp, cache.dtype, at, x.k.f32() + ((s.q_begin + i) * hkv + h) * d, d);
        store(vp, cache.dtype, at, x.v.f32() + ((s.q_begin + i) * hkv + h) * d, d);
      }
    for (int64_t i = 0; i < s.q_len; ++i)
      for (int64_t h = 0; h < hq; ++h) {
        const float* q = x.q.f32() + ((s.q_begin + i) * hq + h) * d;
        const int64_t keys = s.kv_len - s.q_len + i + 1, kv = h / (hq / hkv);
        p.assign(size_t(keys), 0);
        for (int64_t j = 0; j < keys; ++j)
          for (int64_t e = 0; e < d; ++e) {
            float qe = rounds_to_bf16() ? bf16_to_f32(f32_to_bf16(q[e])) : q[e];
            p[size_t(j)] += double(qe) * double(load_f32(kp, cache.dtype, kv_index(cache, s, j, kv) + size_t(e)));
          }
        softmax(p, 1.0 / std::sqrt(double(d)));
        std::fill(sum.begin(), sum.end(), 0);
        for (int64_t j = 0; j < keys; ++j)
          for (int64_t e = 0; e < d; ++e)
            sum[size_t(e)] += p[size_t(j)] * double(load_f32(vp, cache.dtype, kv_index(cache, s, j, kv) + size_t(e)));
        for (int64_t e = 0; e < d; ++e) y.f32()[((s.q_begin + i) * hq + h) * d + e] = float(sum[size_t(e)]);
      }
  }
  return y;
}

Tensor RefOps::do_silu_mul(const Tensor& gate_up) {
  const int64_t t = gate_up.rows(), n = gate_up.shape[1] / 2;
  Tensor y = f32({t, n});
  for (int64_t i = 0; i < t; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float g = gate_up.f32()[i * 2 * n + j];
      y.f32()[i * n + j] = g / (1.0f + std::exp(-g)) * gate_up.f32()[i * 2 * n + n + j];
    }
  return y;
}

Tensor RefOps::do_moe(const Tensor& x, const Moe& moe) {
  const int64_t t = x.rows(), c = x.cols(), experts = moe.router.weight.n;
  // The router is float32 in every precision: rounding its inputs would only flip choices between near equals.
  RefOps exact(Precision::f32);
  Tensor logits = exact.do_linear(x, moe.router, Activation::none, nullptr), y = f32({t, c});
  std::fill_n(y.f32(), t * c, 0.0f);
  std::vector<int64_t> order(static_cast<size_t>(experts));
  for (int64_t i = 0; i < t; ++i) {
    const float* row = logits.f32() + i * experts;
    for (int64_t e = 0; e < experts; ++e) order[size_t(e)] = e;
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return row[a] > row[b]; });
    double sum = 0;
    for (int64_t j = 0; j < moe.top_k; ++j) sum += std::exp(double(row[order[size_t(j)]]) - double(row[order[0]]));
    for (int64_t j = 0; j < moe.top_k; ++j) {
      Arena::Scope scope(arena());
      const size_t e = size_t(order[size_t(j)]);
      float w = float(std::exp(double(row[e]) - double(row[order[0]])) / sum);
      Tensor one = x.slice_rows(i, i + 1);
      Tensor h = do_silu_mul(do_linear(one, moe.gate_up[e], Activation::none, nullptr));
      Tensor out = do_linear(h, moe.down[e], Activation::none, nullptr);
      for (int64_t k = 0; k < c; ++k) y.f32()[i * c + k] += w * out.f32()[k];
    }
  }
  return y;
}

Tensor RefOps::do_add_position_embedding(const Tensor& x, const Tensor& table, std::span<const Grid> grids, int64_t merge) {
  const int64_t c = x.cols(), side = int64_t(std::lround(std::sqrt(double(table.rows()))));
  check(side * side == table.rows(), "position table has {} rows, not a square", table.rows());
  Tensor out = f32(x.shape);
  auto source = [&](int64_t i, int64_t n) { return n > 1 ? float(i) * float(side - 1) / float(n - 1) : 0.0f; };
  each_patch(grids, merge, [&](int64_t row, int64_t y, int64_t xx, const Grid& g) {
    float u = source(y, g.h), v = source(xx, g.w);
    int64_t y0 = int64_t(u), x0 = int64_t(v), y1 = std::min(y0 + 1, side - 1), x1 = std::min(x0 + 1, side - 1);
    float dy = u - float(y0), dx = v - float(x0);
    auto at = [&](int64_t a, int64_t b) { return table.f32() + (a * side + b) * c; };
    const float *p00 = at(y0, x0), *p01 = at(y0, x1), *p10 = at(y1, x0), *p11 = at(y1, x1);
    for (int64_t j = 0; j < c; ++j)
      out.f32()[row * c + j] = x.f32()[row * c + j] + ((1 - dy) * (1 - dx) * p00[j] + (1 - dy) * dx * p01[j] +
                                                       dy * (1 - dx) * p10[j] + dy * dx * p11[j]);
  });
  return out;
}

Rope RefOps::do_vision_rope(std::span<const Grid> grids, int64_t head_dim, int64_t merge) {
  int64_t n = 0;
  for (const Grid& g : grids) n += g.patches();
  const int64_t half = head_dim / 2, quarter = head_dim / 4;
  Rope r{f32({n, half}), f32({n, half})};
  each_patch(grids, merge, [&](int64_t row, int64_t y, int64_t x, const Grid&) {
    for (int64_t i = 0; i < half; ++i) {
      float freq = rotary_frequency(10000.0, 2 * (i % quarter), half);
      float angle = float(i < quarter ? y : x) * freq;
      rotary_turn(angle, r.cos.f32() + row * half + i, r.sin.f32() + row * half + i);
    }
  });
  return r;
}

Tensor RefOps::do_layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) {
  const int64_t t = x.rows(), c = x.cols();
  Tensor y = f32(x.shape);
  for (int64_t i = 0; i < t; ++i) {
    const float* in = x.f32() + i * c;
    double mean = 0, var = 0;
    for (int64_t j = 0; j < c; ++j) mean += in[j];
    mean /= double(c);
    for (int64_t j = 0; j < c; ++j) var += (in[j] - mean) * (in[j] - mean);
    double factor = 1.0 / std::sqrt(var / double(c) + double(eps));
    for (int64_t j = 0; j < c; ++j) y.f32()[i * c + j] = float((in[j] - mean) * factor) * weight.f32()[j] + bias.f32()[j];
  }
  return y;
}

Tensor RefOps::do_vision_attention(const Tensor& qkv, int64_t heads, const Rope& rope, std::span<const int32_t> segments) {
  const int64_t n = qkv.rows(), c = qkv.shape[1] / 3, d = c / heads, half = d / 2;
  std::vector<float> x(qkv.f32(), qkv.f32() + n * 3 * c);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t h = 0; h < 2 * heads; ++h)
      rotate(x.data() + i * 3 * c + h * d, rope.cos.f32() + i * half, rope.sin.f32() + i * half, half);
  if (rounds_to_bf16())
    for (float& f : x) f = bf16_to_f32(f32_to_bf16(f));
  Tensor y = f32({n, c});
  std::vector<double> p, sum(static_cast<size_t>(d));
  for (size_t s = 1; s < segments.size(); ++s)
    for (int64_t i = segments[s - 1]; i < segments[s]; ++i)
      for (int64_t h = 0; h < heads; ++h) {
        const float* q = x.data() + i * 3 * c + h * d;
        p.assign(size_t(segments[s] - segments[s - 1]), 0);
        for (size_t j = 0; j < p.size(); ++j) {
          const float* k = x.data() + (segments[s - 1] + int64_t(j)) * 3 * c + c + h * d;
          for (int64_t e = 0; e < d; ++e) p[j] += double(q[e]) * double(k[e]);
        }
        softmax(p, 1.0 / std::sqrt(double(d)));
        std::fill(sum.begin(), sum.end(), 0);
        for (size_t j = 0; j < p.size(); ++j) {
          const float* v = x.data() + (segments[s - 1] + int64_t(j)) * 3 * c + 2 * c + h * d;
          for (int64_t e = 0; e < d; ++e) sum[size_t(e)] += p[j] * double(v[e]);
        }
        for (int64_t e = 0; e < d; ++e) y.f32()[i * c + h * d + e] = float(sum[size_t(e)]);
      }
  return y;
}

Tensor RefOps::do_vision_attention_memory(const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory, int64_t layer,
                                          std::span<const int32_t> rows) {
  const int64_t m = qkv.rows(), c = qkv.shape[1] / 3, d = c / heads, half = d / 2, n = memory.page_tokens;
  void *kp = memory.k[size_t(layer)], *vp = memory.v[size_t(layer)];
  std::vector<float> x(qkv.f32(), qkv.f32() + m * 3 * c);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t h = 0; h < 2 * heads; ++h)
      rotate(x.data() + i * 3 * c + h * d, rope.cos.f32() + i * half, rope.sin.f32() + i * half, half);
  if (rounds_to_bf16())
    for (float& f : x) f = bf16_to_f32(f32_to_bf16(f));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t h = 0; h < heads; ++h) {
      const size_t at = size_t((h * n + rows[size_t(i)]) * d);
      store(kp, memory.dtype, at, x.data() + i * 3 * c + c + h * d, d);
      store(vp, memory.dtype, at, x.data() + i * 3 * c + 2 * c + h * d, d);
    }
  Tensor y = f32({m, c});
  std::vector<double> p, sum(static_cast<size_t>(d));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t h = 0; h < heads; ++h) {
      const float* q = x.data() + i * 3 * c + h * d;
      p.assign(size_t(n), 0);
      for (int64_t j = 0; j < n; ++j)
        for (int64_t e = 0; e < d; ++e) p[size_t(j)] += double(q[e]) * double(load_f32(kp, memory.dtype, size_t((h * n + j) * d + e)));
      softmax(p, 1.0 / std::sqrt(double(d)));
      std::fill(sum.begin(), sum.end(), 0);
      for (int64_t j = 0; j < n; ++j)
        for (int64_t e = 0; e < d; ++e) sum[size_t(e)] += p[size_t(j)] * double(load_f32(vp, memory.dtype, size_t((h * n + j) * d + e)));
      for (int64_t e = 0; e < d; ++e) y.f32()[i * c + h * d + e] = float(sum[size_t(e)]);
    }
  return y;
}

}  // namespace vl8
