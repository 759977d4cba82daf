#include "quant/calibrate.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_map>

#include "core/error.h"
#include "engine/loaded_model.h"
#include "engine/runner.h"
#include "io/weight_binder.h"
#include "ops/forward_ops.h"
#include "quant/encoded_linear.h"
#include "quant/gptq.h"
#include "quant/histogram.h"

namespace vl8 {
namespace {

constexpr int64_t kSampleRows = 64;  // inputs with which a layer's output error is measured

// Which stored matrices make up each linear, in the order of its parts.
struct LinearNames {
  std::unordered_map<const Linear*, std::vector<std::string>>& names;
  void vector(Tensor&, const std::string&, int64_t) {}
  void table_f32(Tensor&, const std::string&, int64_t, int64_t) {}
  void table(Weight&, const std::string&, int64_t, int64_t) {}
  void linear(Linear& l, std::initializer_list<LinearPart> parts, int64_t, bool) {
    for (const LinearPart& p : parts) names[&l].push_back(p.name);
  }
  void experts(Moe& m, const std::string& prefix, int64_t experts, int64_t, int64_t) {
    for (int64_t e = 0; e < experts; ++e) {
      const std::string p = fmt::format("{}.experts.{}.", prefix, e);
      names[&m.gate_up[size_t(e)]] = {p + "gate_proj", p + "up_proj"};
      names[&m.down[size_t(e)]] = {p + "down_proj"};
    }
  }
  void head(Linear&, const std::string&, const Weight&, int64_t, int64_t, bool) {}
};

class CalibratingOps final : public ForwardOps {
 public:
  CalibratingOps(Ops& inner, const QuantPlan& plan, MatrixWriter& writer, const CalibrationOptions& options, ThreadPool& pool)
      : ForwardOps(inner), plan_(plan), writer_(writer), options_(options), pool_(pool) {
    for (size_t i = 0; i < plan.matrices.size(); ++i) jobs_[plan.matrices[i].module] = i;
  }
  std::unordered_map<const Linear*, std::vector<std::string>> names;
  KvAmax amax;

  // Layers come one after another and none comes back, so all of them share one layer's pages.
  KvCache make_kv_cache(int64_t layers, int64_t kv_heads, int64_t head_dim, int64_t page_tokens, int64_t pages) override {
    KvCache c = inner_.make_kv_cache(1, kv_heads, head_dim, page_tokens, pages);
    c.layers = layers;
    c.k.resize(size_t(layers), c.k[0]), c.v.resize(size_t(layers), c.v[0]);
    amax.k.assign(size_t(layers), std::vector<float>(size_t(kv_heads))), amax.v = amax.k;
    return c;
  }
  void free_kv_cache(KvCache& c) override {
    c.k.resize(1), c.v.resize(1);
    inner_.free_kv_cache(c);
  }

 protected:
  Tensor do_linear(const Tensor& x, const Linear& w, Activation act, const Tensor* residual) override {
    auto it = names.find(&w);
    if (it == names.end() || !jobs_.contains(it->second[0])) return ForwardOps::do_linear(x, w, act, residual);
    EncodedLinear encoded(w.weight, it->second.size());
    encode(x, w, it->second, encoded);
    return ForwardOps::do_linear(x, encoded.linear, act, residual);
  }

  Tensor do_gated_linear(const Tensor& x, const Linear& w) override { return inner_.silu_mul(do_linear(x, w, Activation::none, nullptr)); }

  Tensor do_attention(const QkvHeads& qkv, KvCache& cache, int64_t layer, const BatchView& batch) override {
    auto most = [](const Tensor& t, std::vector<float>& out) {
      const float* p = t.f32();
      const int64_t heads = t.shape[1], d = t.shape[2];
      for (int64_t i = 0; i < t.shape.elements(); ++i) out[size_t(i / d % heads)] = std::max(out[size_t(i / d % heads)], std::fabs(p[i]));
    };
    most(qkv.k, amax.k[size_t(layer)]), most(qkv.v, amax.v[size_t(layer)]);
    return ForwardOps::do_attention(qkv, cache, layer, batch);
  }

  // The verbs of a MoE layer one by one, so that each expert's linears are seen with their own tokens (spec 7.7).
  Tensor do_moe(const Tensor& x, const Moe& moe) override {
    const int64_t tokens = x.rows(), experts = moe.router.weight.n;
    Tensor logits = inner_.linear(x, moe.router), y = inner_.arena().tensor(DType::f32, x.shape);
    std::memset(y.data, 0, y.bytes());
    std::vector<std::vector<std::pair<int32_t, float>>> rows(static_cast<size_t>(experts));  // (token, weight) of each expert
    std::vector<int64_t> order(static_cast<size_t>(experts));
    for (int64_t t = 0; t < tokens; ++t) {
      const float* row = logits.f32() + t * experts;
      for (int64_t e = 0; e < experts; ++e) order[size_t(e)] = e;
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return row[a] > row[b]; });
      double sum = 0;
      for (int64_t j = 0; j < moe.top_k; ++j) sum += std::exp(double(row[order[size_t(j)]]) - double(row[order[0]]));
      for (int64_t j = 0; j < moe.top_k; ++j) {
        const int64_t e = order[size_t(j)];
        rows[size_t(e)].push_back({int32_t(t), float(std::exp(double(row[e]) - double(row[order[0]])) / sum)});
      }
    }
    for (int64_t e = 0; e < experts; ++e) run_expert(x, moe, size_t(e), rows[size_t(e)], y);
    return y;
  }

 private:
  void run_expert(const Tensor& x, const Moe& moe, size_t e, const std::vector<std::pair<int32_t, float>>& rows, Tensor& y) {
    if (rows.empty()) return;  // written later, without calibration
    Arena::Scope scope(inner_.arena());
    std::vector<int32_t> index;
    for (const auto& [token, weight] : rows) index.push_back(token);
    Tensor own = inner_.gather_rows(x, index);
    Tensor out = do_linear(inner_.silu_mul(do_linear(own, moe.gate_up[e], Activation::none, nullptr)), moe.down[e], Activation::none, nullptr);
    for (size_t i = 0; i < rows.size(); ++i)
      for (int64_t c = 0; c < x.cols(); ++c) y.f32()[rows[i].first * x.cols() + c] += rows[i].second * out.f32()[int64_t(i) * x.cols() + c];
  }

  void encode(const Tensor& x, const Linear& w, const std::vector<std::string>& modules, EncodedLinear& out) {
    out.linear.bias = w.bias;
    Inputs inputs{.x = &x};
    for (size_t p = 0; p < modules.size(); ++p) {
      const size_t index = jobs_.at(modules[p]);
      const MatrixJob& job = plan_.matrices[index];
      Linear part;  // of the source, for the output error
      part.weight = part_of(w.weight, modules.size(), p, job.rows);
      EncodedMatrix matrix;
      writer_.write_matrix(index, knowledge(job, part, inputs), &matrix);
      out.add(job.format, job.rows, std::move(matrix));
    }
    inner_.prepare(out.linear.weight);
  }

  // The rows of one module of a linear: a part of its own, or, of fused experts, a run of rows of the only part.
  static Weight part_of(const Weight& w, size_t modules, size_t index, int64_t rows) {
    if (w.parts.size() == modules) return {.name = w.name, .n = w.parts[index].rows, .k = w.k, .parts = {w.parts[index]}};
    check(w.parts.size() == 1 && w.parts[0].scale_kind == ScaleKind::none, "{}: {} parts for {} modules", w.name, w.parts.size(), modules);
    WeightPart p = w.parts[0];
    p.data = static_cast<const std::byte*>(p.data) + int64_t(index) * rows * p.row_bytes(w.k);
    p.rows = rows;
    return {.name = w.name, .n = rows, .k = w.k, .parts = {p}};
  }

  // What is computed at most once for all parts of a linear.
  struct Inputs {
    const Tensor* x;
    std::optional<GptqFactor> factor;
    std::vector<float> importance;
    float scale = 0;
  };

  InputKnowledge knowledge(const MatrixJob& job, const Linear& part, Inputs& in) {
    InputKnowledge known;
    const Tensor& x = *in.x;
    if (is_four_bits(job.format) && options_.gptq) {
      known.encode = [this, &in](const MatrixJob& j, const float* w, EncodedMatrix& out) {
        if (!in.factor) in.factor = gptq_factor(second_moment(*in.x), in.x->cols(), pool_);
        return gptq_encode(j, w, *in.factor, options_.rule, pool_, out);
      };
    } else if (options_.rule == ScaleRule::mse && coding_row(job.format.coding).scaling != ScaleKind::block) {
      if (in.importance.empty()) in.importance = mean_squares(x);
      known.importance = in.importance.data();
    }
    if (job.input_scale != kNoTensor) {
      if (in.scale == 0) {
        MagnitudeHistogram h;
        h.add(x.f32(), x.shape.elements());
        in.scale = h.e4m3_scale(options_.rule);
      }
      known.input_scale = in.scale;
    }
    known.output_sqnr_db = [this, &job, part, &in](const EncodedMatrix& m) { return output_sqnr(job, part, m, *in.x); };
    return known;
  }

  static std::vector<float> mean_squares(const Tensor& x) {
    std::vector<float> sum(static_cast<size_t>(x.cols()));
    for (int64_t r = 0; r < x.rows(); ++r)
      for (int64_t c = 0; c < x.cols(); ++c) sum[size_t(c)] += x.f32()[r * x.cols() + c] * x.f32()[r * x.cols() + c];
    for (float& s : sum) s /= float(std::max<int64_t>(1, x.rows()));
    return sum;
  }

  // H = Xᵀ X by the engine's own matrix product: rows of Xᵀ against Xᵀ as a weight, a slice of rows at a time.
  std::vector<float> second_moment(const Tensor& x) {
    const int64_t t = x.rows(), k = x.cols(), slice = std::clamp<int64_t>((int64_t(64) << 20) / (4 * k), 16, k);
    std::vector<float> turned(size_t(k * t)), h(size_t(k * k));
    pool_.parallel_for(k, 16, [&](int, int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c)
        for (int64_t r = 0; r < t; ++r) turned[size_t(c * t + r)] = x.f32()[r * k + c];
    });
    Linear as_weight;
    as_weight.weight = {.name = "second moment", .n = k, .k = t, .parts = {{.data = turned.data(), .dtype = DType::f32, .rows = k}}};
    for (int64_t row = 0; row < k; row += slice) {
      Arena::Scope scope(inner_.arena());
      const int64_t rows = std::min(slice, k - row);
      Tensor y = inner_.linear({turned.data() + row * t, DType::f32, {rows, t}}, as_weight);
      std::copy_n(y.f32(), rows * k, h.data() + row * k);
    }
    return h;
  }

  double output_sqnr(const MatrixJob& job, const Linear& part, const EncodedMatrix& m, const Tensor& x) {
    Arena::Scope scope(inner_.arena());
    EncodedLinear encoded(part.weight, 1);
    encoded.add(job.format, job.rows, m);
    std::vector<int32_t> rows;
    const int64_t n = std::min(kSampleRows, x.rows());
    for (int64_t i = 0; i < n; ++i) rows.push_back(int32_t(i * x.rows() / n));
    Tensor sample = inner_.gather_rows(x, rows), exact = inner_.linear(sample, part), coded = inner_.linear(sample, encoded.linear);
    CodeError e;
    for (int64_t i = 0; i < exact.shape.elements(); ++i) {
      const double a = exact.f32()[i], b = coded.f32()[i];
      e.error += (a - b) * (a - b), e.square += a * a;
    }
    return e.sqnr_db();
  }

  const QuantPlan& plan_;
  MatrixWriter& writer_;
  const CalibrationOptions& options_;
  ThreadPool& pool_;
  std::unordered_map<std::string, size_t> jobs_;
};

// All pictures of all prompts through the vision tower at once: each of its linears is seen once, with every input.
void encode_visuals(Runner& runner, std::vector<Sequence>& sequences) {
  std::vector<const VisualInput*> inputs;
  for (const Sequence& s : sequences)
    for (const VisualInput& v : s.prompt.visuals) inputs.push_back(&v);
  if (inputs.empty()) return;
  const std::unique_ptr<Encoding> encoding = runner.start(inputs);
  encoding->advance(encoding->blocks());
  const std::vector<FeaturesPtr> features = encoding->take();
  size_t at = 0;
  for (Sequence& s : sequences)
    for (FeaturesPtr& f : s.features) f = features[at++];
}

}  // namespace

KvAmax calibrate(const std::filesystem::path& source, const QuantPlan& plan, MatrixWriter& writer, std::vector<Prompt> prompts,
                 const CalibrationOptions& options, ThreadPool& pool) {
  if (prompts.empty()) fail_usage("the calibration set is empty");
  EngineOptions engine{.precision = Precision::bf16, .threads = options.threads, .page_tokens = options.page_tokens};
  std::unique_ptr<Ops> ops = make_ops(engine);
  const ModelConfig config = load_model_config(source);
  auto store = std::make_shared<WeightStore>(Checkpoint(source));
  WeightBinder binder(store, config.quant);
  ModelWeights weights;
  weights.each(config, binder);
  binder.finish(pool, {ReadMode::on_demand, false});
  prepare(*ops, config, weights);

  CalibratingOps op(*ops, plan, writer, options, pool);
  weights.each(config, LinearNames{op.names});
  std::vector<Sequence> sequences;
  int64_t pages = 0;
  for (Prompt& p : prompts) {
    if (int64_t(p.ids.size()) > config.text.context_limit())
      fail_usage("a calibration prompt has {} tokens, the model's context {}", p.ids.size(), config.text.context_limit());
    pages += int64_t(p.ids.size()) / options.page_tokens + 1;
    sequences.emplace_back(std::move(p));
  }
  Runner runner(op, config, weights, pages, options.page_tokens);
  encode_visuals(runner, sequences);
  std::vector<Runner::Work> work;
  for (Sequence& s : sequences) work.push_back({&s, s.pending()});
  runner.step(work);
  return op.amax;
}

}  // namespace vl8
