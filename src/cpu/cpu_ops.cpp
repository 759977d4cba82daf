#include "cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/env.h"
#include "core/log.h"
#include "cpu/attention.h"
#include "cpu/moe.h"
#include "cpu/product.h"
#include "cpu/vision_rows.h"
#include "ops/ref_ops.h"
#include "ops/rotary.h"
#include "ops/weight_row.h"

namespace vl8 {
namespace {

class CpuOps final : public RefOps {
 public:
  CpuOps(Precision precision, int threads, const cpu::Isa& isa, bool batch_invariant)
      : RefOps(precision), c_(precision, threads, isa, batch_invariant), name_("cpu " + std::string(c_.isa.name)) {}
  std::string_view name() const override { return name_; }
  bool batch_invariant() const override { return c_.batch_invariant; }
  Kept keep(const Tensor& x) override {
    std::shared_ptr<float[]> owner(new float[size_t(x.shape.elements())]);
    copy(x.f32(), owner.get(), x.shape.elements());
    return {{owner.get(), DType::f32, x.shape}, owner};
  }
  Tensor upload(const Tensor& host) override {
    Tensor y = f32(host.shape);
    copy(host.f32(), y.f32(), host.shape.elements());
    return y;
  }
  void prepare(Weight& weight) override {
    for (const WeightPart& part : weight.parts)
      cpu::number_of(part.dtype);  // an unknown type is refused at load time
  }

 private:
  // [channels, k / channels] to [k / channels, channels].
  static void channels_last(const float* from, int64_t channels, int64_t k, float* to) {
    const int64_t n = k / channels;
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < n; ++i) to[i * channels + c] = from[c * n + i];
  }
  void copy(const float* from, float* to, int64_t n) {
    c_.each_row(n, 1, [&](int64_t b, int64_t e) { std::memcpy(to + b, from + b, size_t(e - b) * 4); });
  }

  Tensor do_linear(const Tensor& x, const Linear& w, Activation act, const Tensor* residual) override {
    Tensor y = f32({x.rows(), w.weight.n});
    cpu::run_products(c_, {{cpu::Product{.linear = &w,
                                         .x = x.f32(),
                                         .x_stride = w.weight.k,
                                         .tokens = x.rows(),
                                         .act = act,
                                         .residual = residual ? residual->f32() : nullptr,
                                         .y = y.f32()}}});
    return y;
  }

  Tensor do_gather_rows(const Tensor& x, std::span<const int32_t> rows) override {
    const int64_t n = x.cols();
    Tensor y = f32({int64_t(rows.size()), n});
    c_.each_row(y.rows(), n, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i)
        std::memcpy(y.f32() + i * n, x.f32() + rows[size_t(i)] * n, size_t(n) * 4);
    });
    return y;
  }

  Tensor do_embed(const Weight& table, std::span<const int32_t> ids) override {
    Tensor y = f32({int64_t(ids.size()), table.k});
    const WeightPart& part = table.parts[0];
    // Rows under one scale; the others are expanded element by element.
    const bool plain = table.parts.size() == 1 && part.scale_kind <= ScaleKind::channel;
    const int64_t row_bytes = part.row_bytes(table.k);
    auto row_scale = [&](int32_t row) {
      return part.scale_kind == ScaleKind::none ? 1.0f : part.scale[part.scale_kind == ScaleKind::channel ? row : 0];
    };
    c_.each_row(y.rows(), table.k, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) {
        if (!plain)
          weight_row_f32(table, ids[size_t(i)], y.f32() + i * table.k);
        else
          c_.kernels.to_f32(static_cast<const char*>(part.data) + ids[size_t(i)] * row_bytes,
                            cpu::number_of(part.dtype), row_scale(ids[size_t(i)]), table.k, y.f32() + i * table.k);
      }
    });
    return y;
  }

  void do_put_rows(Tensor& x, int64_t row, const Tensor& src, bool accumulate) override {
    const int64_t n = x.shape[1];
    c_.each_row(src.rows(), n, [&](int64_t b, int64_t e) {
      float* to = x.f32() + (row + b) * n;
      if (accumulate)
        c_.kernels.add(to, src.f32() + b * n, (e - b) * n, to);
      else
        std::memcpy(to, src.f32() + b * n, size_t((e - b) * n) * 4);
    });
  }

  Normed do_rms_norm(const Tensor& x, const Tensor* delta, const Tensor& weight, float eps) override {
    const int64_t n = x.cols();
    Tensor y = f32(x.shape), sum = delta ? f32(x.shape) : x;
    c_.each_row(x.rows(), n, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i)
        c_.kernels.rms_norm(x.f32() + i * n, delta ? delta->f32() + i * n : nullptr, weight.f32(), eps, n,
                            delta ? sum.f32() + i * n : nullptr, y.f32() + i * n);
    });
    return {y, sum};
  }

  Tensor do_add(const Tensor& x, const Tensor& y) override {
    Tensor z = f32(x.shape);
    c_.each_row(x.shape.elements(), 1,
                [&](int64_t b, int64_t e) { c_.kernels.add(x.f32() + b, y.f32() + b, e - b, z.f32() + b); });
    return z;
  }

  Rope do_mrope(const int32_t* positions, int64_t tokens, const RopeConfig& config) override {
    float factor;
    const std::vector<float> freq = mrope_inverse_frequencies(config, &factor);
    const int64_t half = config.head_dim / 2;
    Rope r{f32({tokens, half}), f32({tokens, half})};
    c_.each_row(
        tokens, half * 16, [&](int64_t b, int64_t e) {  // 16: a sine costs about as much as 16 additions
          for (int64_t t = b; t < e; ++t)
            for (int64_t i = 0; i < half; ++i) {
              float angle = freq[size_t(i)] * float(positions[mrope_axis(i, config.section) * tokens + t]);
              float *cos = r.cos.f32() + t * half + i, *sin = r.sin.f32() + t * half + i;
              rotary_turn(angle, cos, sin);
              *cos *= factor, *sin *= factor;
            }
        });
    return r;
  }

  QkvHeads do_qk_norm_rope(const Tensor& qkv, Heads h, const Tensor& q_norm, const Tensor& k_norm, float eps,
                           const Rope& rope) override {
    const int64_t t = qkv.rows(), d = h.dim, stride = qkv.shape[1];
    QkvHeads out{f32({t, h.q, d}), f32({t, h.kv, d}), f32({t, h.kv, d})};
    c_.each_row(t, stride * 2, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) {
        const float *src = qkv.f32() + i * stride, *cos = rope.cos.f32() + i * d / 2,
                    *sin = rope.sin.f32() + i * d / 2;
        for (int64_t j = 0; j < h.q + h.kv; ++j) {
          float* to = j < h.q ? out.q.f32() + (i * h.q + j) * d : out.k.f32() + (i * h.kv + j - h.q) * d;
          c_.kernels.norm_rope(src + j * d, j < h.q ? q_norm.f32() : k_norm.f32(), eps, cos, sin, d, to);
        }
        std::memcpy(out.v.f32() + i * h.kv * d, src + (h.q + h.kv) * d, size_t(h.kv * d) * 4);
      }
    });
    return out;
  }

  Tensor do_attention(const QkvHeads& qkv, KvCache& cache, int64_t layer, const BatchView& batch) override {
    Tensor y = f32({qkv.q.rows(), qkv.q.shape[1] * qkv.q.shape[2]});
    cpu::paged_attention(c_, qkv, cache, layer, batch, y.f32());
    return y;
  }

  Tensor do_silu_mul(const Tensor& gate_up) override {
    const int64_t n = gate_up.shape[1] / 2;
    Tensor y = f32({gate_up.rows(), n});
    c_.each_row(gate_up.rows(), 2 * n, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i)
        c_.kernels.silu_mul(gate_up.f32() + i * 2 * n, gate_up.f32() + i * 2 * n + n, n, y.f32() + i * n);
    });
    return y;
  }

  // Exact precisions sum in the order of the reference's convolution: channels innermost.
  Tensor do_patch_embed(const Tensor& patches, const Linear& w, int64_t channels) override {
    if (c_.rounds()) return do_linear(patches, w, Activation::none, nullptr);
    const int64_t k = w.weight.k, n = w.weight.n, t = patches.rows();
    Tensor x = f32({t, k}), rows = f32({n, k});
    c_.each_row(t, k, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) channels_last(patches.f32() + i * k, channels, k, x.f32() + i * k);
    });
    c_.each_row(n, k, [&](int64_t b, int64_t e) {
      std::vector<float> row(static_cast<size_t>(k));
      for (int64_t i = b; i < e; ++i) {
        weight_row_f32(w.weight, i, row.data());
        channels_last(row.data(), channels, k, rows.f32() + i * k);
      }
    });
    Linear turned;
    turned.weight.name = w.weight.name, turned.weight.n = n, turned.weight.k = k;
    turned.weight.parts = {{.data = rows.data, .dtype = DType::f32, .rows = n}};
    turned.bias = w.bias;
    return do_linear(x, turned, Activation::none, nullptr);
  }

  Tensor do_gated_linear(const Tensor& x, const Linear& w) override {
    if (!cpu::gates_in_product(c_, w, x.rows())) return do_silu_mul(do_linear(x, w, Activation::none, nullptr));
    Tensor y = f32({x.rows(), w.weight.n / 2});
    cpu::run_products(c_, {{cpu::Product{
                              .linear = &w, .x = x.f32(), .x_stride = w.weight.k, .tokens = x.rows(), .y = y.f32(), .gated = true}}});
    return y;
  }

  Tensor do_moe(const Tensor& x, const Moe& moe) override {
    Tensor y = f32(x.shape);
    cpu::run_moe(c_, x, moe, y.f32());
    return y;
  }

  Tensor do_add_position_embedding(const Tensor& x, const Tensor& table, std::span<const Grid> grids,
                                   int64_t merge) override {
    Tensor y = f32(x.shape);
    cpu::add_position_embedding(c_, x, table, grids, merge, y.f32());
    return y;
  }

  Rope do_vision_rope(std::span<const Grid> grids, int64_t head_dim, int64_t merge) override {
    int64_t n = 0;
    for (const Grid& g : grids) n += g.patches();
    Rope r{f32({n, head_dim / 2}), f32({n, head_dim / 2})};
    cpu::vision_rope(c_, grids, head_dim, merge, r.cos.f32(), r.sin.f32());
    return r;
  }

  Tensor do_layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) override {
    const int64_t n = x.cols();
    const auto layer_norm = c_.rounds() ? c_.kernels.layer_norm : c_.kernels.exact_layer_norm;
    Tensor y = f32(x.shape);
    c_.each_row(x.rows(), n, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i)
        layer_norm(x.f32() + i * n, weight.f32(), bias.f32(), eps, n, y.f32() + i * n);
    });
    return y;
  }

  Tensor do_vision_attention(const Tensor& qkv, int64_t heads, const Rope& rope,
                             std::span<const int32_t> segments) override {
    Tensor y = f32({qkv.rows(), qkv.shape[1] / 3});
    cpu::segment_attention(c_, qkv, heads, rope, segments, y.f32());
    return y;
  }

  Tensor do_vision_attention_memory(const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory, int64_t layer,
                                    std::span<const int32_t> rows) override {
    Tensor y = f32({qkv.rows(), qkv.shape[1] / 3});
    cpu::memory_attention(c_, qkv, heads, rope, memory, layer, rows, y.f32());
    return y;
  }

  cpu::Context c_;
  std::string name_;
};

int threads_from_env() {
  auto text = env("VL8_THREADS");
  if (!text) return 0;
  char* end = nullptr;
  long n = std::strtol(text->c_str(), &end, 10);
  if (*end || n < 1 || n > 1024) fail_usage("VL8_THREADS is '{}'; it must be a number from 1 to 1024", *text);
  return int(n);
}
}  // namespace

std::unique_ptr<Ops> cpu::make_ops(Precision precision, int threads, const Isa& isa, bool batch_invariant) {
  return std::make_unique<CpuOps>(precision, threads, isa, batch_invariant);
}

std::unique_ptr<Ops> make_cpu_ops(Precision precision, int threads, std::string_view isa, bool batch_invariant) {
  const cpu::Isa& row = cpu::find_isa(isa);
  if (row.name == "scalar" && isa.empty() && !env("VL8_ISA"))
    spdlog::warn("this CPU lacks AVX2, FMA or F16C: plain kernels are used, which are many times slower");
  return cpu::make_ops(precision, threads > 0 ? threads : threads_from_env(), row, batch_invariant);
}

}  // namespace vl8
