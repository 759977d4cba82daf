#include "cuda/cuda_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "core/env.h"
#include "core/log.h"
#include "cuda/gemm_tune.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/sm90/attention/flash.h"
#include "cuda/step_inputs.h"
#include "cuda/weights.h"
#include "ops/ref_ops.h"

namespace vl8 {
namespace {

using namespace cuda;

constexpr size_t kActivationBlock = size_t(32) << 20;
constexpr int64_t kQuantRows = 32;  // w8a8: fewer rows are bound by the weights' bytes, their inputs stay BF16 (more exact)
constexpr int64_t kMaxRecordedTokens = 512;
constexpr int kSeenBeforeRecording = 1;
constexpr int64_t kTunedTokens = 4096;

struct StreamOwner {
  cudaStream_t stream = nullptr;
  StreamOwner() { check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream"); }
  ~StreamOwner() { cudaStreamDestroy(stream); }
};

Format format_of(const Tensor& t) {
  check(t.dtype == DType::f32 || t.dtype == DType::bf16, "activation of {}", dtype_name(t.dtype));
  return t.dtype == DType::f32 ? Format::f32 : Format::bf16;
}
Format kv_format(DType t) { return t == DType::f32 ? Format::f32 : t == DType::bf16 ? Format::bf16 : Format::e4m3; }

// A decode step that was recorded.
struct Recording {
  int seen = 0;
  cudaGraphExec_t exec = nullptr;
  Tensor result;
};

class CudaOps final : public Ops {
 public:
  explicit CudaOps(const CudaOptions& o)
      : options_(o), device_(open_device(o.device)), heap_(memory_limit(o, device_)), stream_(std::make_shared<StreamOwner>()),
        uploader_(heap_, stream_->stream, o.precision), inputs_(heap_, stream_->stream), step_(heap_, kActivationBlock, "activations"),
        layer_{DeviceArena(heap_, kActivationBlock, "activations"), DeviceArena(heap_, kActivationBlock, "activations")},
        act_(o.precision == Precision::f32 || o.precision == Precision::w8a16 ? DType::f32 : DType::bf16),
        name_(fmt::format("cuda sm_{} {}", device_.sm, device_.name)) {
    ctx_.stream = stream_->stream;
    ctx_.sm = device_.sm, ctx_.sm_count = device_.sm_count, ctx_.pdl = o.early_launch;
    ctx_.workspace = heap_.allocate(kGemmWorkspaceBytes, "workspace"), ctx_.workspace_bytes = kGemmWorkspaceBytes;
    arrived_ = static_cast<int32_t*>(heap_.allocate(kArrivedBytes, "workspace"));
    check_cuda(cudaMemsetAsync(ctx_.workspace, 0, kGemmWorkspaceBytes, ctx_.stream), "workspace");
    check_cuda(cudaMemsetAsync(arrived_, 0, kArrivedBytes, ctx_.stream), "workspace");
  }
  ~CudaOps() override {
    drop_recordings();
    cudaStreamSynchronize(ctx_.stream);
  }

  Arena& arena() override { return host_arena_; }
  Precision precision() const override { return options_.precision; }
  std::string_view name() const override { return name_; }

  void begin_step() override {
    step_.reset(), layer_[0].reset(), layer_[1].reset();
    at_ = layer_index_ = -1;
    twin_ = {}, stored_q_ = nullptr;
    ints_.clear();
  }
  void next_layer() override {
    at_ = at_ == 0 ? 1 : 0;
    layer_[at_].reset();
    ++layer_index_;
  }

  Kept keep(const Tensor& x) override {
    void* p = nullptr;
    check_cuda(cudaMallocAsync(&p, std::max<size_t>(x.bytes(), 1), ctx_.stream), "memory for picture features");
    check_cuda(cudaMemcpyAsync(p, x.data, x.bytes(), cudaMemcpyDeviceToDevice, ctx_.stream), "copy of picture features");
    std::shared_ptr<void> owner(p, [stream = stream_](void* q) { cudaFreeAsync(q, stream->stream); });
    return {{p, x.dtype, x.shape}, owner};
  }

  void prepare(Weight& w) override {
    auto d = uploader_.weight(w);
    w.prepared = d;
    // Fused gate and up are known by name here; how a weight is used is not (ops.h).
    add_product({d->gemm, 1, 1, Format::bf16, d->is_head ? Format::f32 : Format::bf16, w.name.ends_with("mlp.gate_proj")});
  }
  void prepare_vector(Tensor& t) override { t.data = uploader_.floats(t.f32(), t.shape.elements()); }
  void prepare_experts(Moe& moe) override {
    auto d = uploader_.experts(moe);
    moe.gate_up[0].weight.prepared = d;
    const int64_t experts = int64_t(moe.gate_up.size());
    add_product({d->gate_up, experts, moe.top_k, Format::bf16, Format::bf16, true});
    add_product({d->down, experts, moe.top_k, Format::bf16, Format::bf16, false});
  }

  KvCache make_kv_cache(int64_t layers, int64_t kv_heads, int64_t head_dim, int64_t page_tokens, int64_t pages) override {
    uploader_.finish();
    tune();
    check(pages * page_tokens < INT32_MAX, "{} pages of {} tokens", pages, page_tokens);
    KvCache c{layers, kv_heads, head_dim, page_tokens, pages, act_, {}, {}};
    const size_t half = (c.page_bytes() * size_t(pages) + 255) / 256 * 256;
    try {
      for (int64_t i = 0; i < layers; ++i) {
        char* p = static_cast<char*>(heap_.allocate(2 * half, "key/value cache"));
        // Tiles reach over the end of what is written, and 0 * NaN is NaN.
        check_cuda(cudaMemsetAsync(p, 0, 2 * half, ctx_.stream), "key/value cache");
        c.k.push_back(p), c.v.push_back(p + half);
      }
    } catch (...) {
      free_kv_cache(c);
      throw;
    }
    return c;
  }
  void free_kv_cache(KvCache& c) override {
    drop_recordings();
    cudaStreamSynchronize(ctx_.stream);
    for (void* p : c.k) heap_.release(p);
    c.k.clear(), c.v.clear();
  }

  Tensor upload(const Tensor& host) override {
    check(!recording_, "upload while a step is recorded");
    const int64_t n = host.shape.elements();
    float* raw = static_cast<float*>(take(size_t(n) * 4));
    check_cuda(cudaMemcpyAsync(raw, host.f32(), size_t(n) * 4, cudaMemcpyHostToDevice, ctx_.stream), "upload");
    if (act_ == DType::f32) return {raw, DType::f32, host.shape};
    Tensor y = activation(host.shape);
    cast_rows(raw, Format::f32, y.data, Format::bf16, n, ctx_);
    return y;
  }

  std::vector<float> download(const Tensor& x) override {
    const int64_t n = x.shape.elements();
    const void* from = x.data;
    if (x.dtype != DType::f32) {
      void* wide = take(size_t(n) * 4);
      cast_rows(x.data, format_of(x), wide, Format::f32, n, ctx_);
      from = wide;
    }
    if (bounce_.bytes() < size_t(n) * 4) bounce_ = PinnedBuffer(size_t(n) * 4);
    check_cuda(cudaMemcpyAsync(bounce_.data(), from, size_t(n) * 4, cudaMemcpyDeviceToHost, ctx_.stream), "download");
    check_cuda(cudaStreamSynchronize(ctx_.stream), "the step");
    const float* p = reinterpret_cast<const float*>(bounce_.data());
    return {p, p + n};
  }

  std::vector<int32_t> argmax(const Tensor& logits) override {
    const int64_t rows = logits.rows();
    if (logits.dtype != DType::f32) return Ops::argmax(logits);
    if (size_t(rows) > tokens_capacity_) {  // not of an arena: a replayed step gives none of it back
      if (tokens_) heap_.release(tokens_);
      tokens_capacity_ = std::max<size_t>(size_t(rows), 64);
      tokens_ = static_cast<int32_t*>(heap_.allocate(tokens_capacity_ * 4, "step"));
    }
    int32_t* out = tokens_;
    argmax_rows(logits.f32(), int32_t(rows), logits.cols(), out, ctx_);
    if (bounce_.bytes() < size_t(rows) * 4) bounce_ = PinnedBuffer(size_t(rows) * 4);
    check_cuda(cudaMemcpyAsync(bounce_.data(), out, size_t(rows) * 4, cudaMemcpyDeviceToHost, ctx_.stream), "download");
    check_cuda(cudaStreamSynchronize(ctx_.stream), "the step");
    const int32_t* p = reinterpret_cast<const int32_t*>(bounce_.data());
    return {p, p + rows};
  }

  void synchronize() override { check_cuda(cudaStreamSynchronize(ctx_.stream), "the step"); }
  size_t device_bytes() const override { return heap_.used_bytes(); }

  Tensor step(const BatchView& batch, KvCache& kv, const std::function<Tensor()>& forward) override {
    if (inputs_.upload(batch, kv.page_tokens)) drop_recordings();
    struct Scope {
      CudaOps& o;
      ~Scope() { o.batch_ = nullptr, o.kv_ = nullptr; }
    } scope{*this};
    batch_ = &batch, kv_ = &kv;
    if (!recordable(batch)) return forward();
    Recording& r = recordings_[{batch.tokens(), kv.k[0]}];
    if (!r.exec && r.seen++ < kSeenBeforeRecording) return forward();
    if (!r.exec) record(r, forward);
    check_cuda(cudaGraphLaunch(r.exec, ctx_.stream), "launch of a recorded step");
    return r.result;
  }

 private:
  // --- autotuning
  void add_product(const TunedProduct& p) {
    auto same = [&](const TunedProduct& o) {
      return o.w.n == p.w.n && o.w.k == p.w.k && o.w.format == p.w.format && o.w.scales == p.w.scales && o.experts == p.experts && o.fused == p.fused;
    };
    if (std::none_of(products_.begin(), products_.end(), same)) products_.push_back(p);
  }
  // Once, before the key/value cache takes the memory that is left.
  void tune() {
    if (!options_.tune || products_.empty() || act_ != DType::bf16) return;
    std::vector<TunedProduct> all = products_;
    for (const TunedProduct& p : products_)
      if (options_.precision == Precision::w8a8 && p.w.format == Format::e4m3 && p.experts == 1) all.push_back(p), all.back().x = Format::e4m3;
    const std::string file = gemm_table_file(device_.name);
    table_ = load_gemm_table(file, device_.name, ctx_);
    if (tune_gemms(all, kTunedTokens, ctx_, table_) > 0) save_gemm_table(table_, file, device_.name);
    ctx_.table = &table_;
    products_.clear();
  }

  // --- memory of results
  static size_t memory_limit(const CudaOptions& o, const Device& d) {
    const size_t others = d.total_bytes - d.free_bytes, mine = size_t(double(d.total_bytes) * o.memory_utilization);
    return mine > others ? mine - others : 0;
  }
  void* take(size_t bytes) { return (at_ < 0 ? step_ : layer_[at_]).take(bytes); }
  Tensor tensor(DType type, Shape shape) { return {take(size_t(shape.elements()) * dtype_bytes(type)), type, shape}; }
  Tensor activation(Shape shape) { return tensor(act_, shape); }
  Format act() const { return act_ == DType::f32 ? Format::f32 : Format::bf16; }

  // --- small arrays from the host
  // Kept for good: recorded steps read them.
  const float* constant_floats(const std::vector<float>& v) {
    for (auto& [host, device] : constants_)
      if (host == v) return device;
    check(!recording_, "a constant that was not seen before a step was recorded");
    constants_.emplace_back(v, uploader_.floats(v.data(), int64_t(v.size())));
    check_cuda(cudaStreamSynchronize(ctx_.stream), "upload");
    return constants_.back().second;
  }
  // For the step; equal arrays go once.
  const int32_t* step_ints(const std::vector<int32_t>& v) {
    for (auto& [host, device] : ints_)
      if (host == v) return device;
    check(!recording_, "an upload while a step is recorded");
    void* p = step_.take(v.size() * 4);
    check_cuda(cudaMemcpyAsync(p, v.data(), v.size() * 4, cudaMemcpyHostToDevice, ctx_.stream), "upload");
    ints_.emplace_back(v, static_cast<int32_t*>(p));
    return ints_.back().second;
  }
  // A parameter vector: uploaded by prepare_vector, or (in tests) still on the host.
  const float* parameters(const Tensor& t) {
    if (t.empty()) return nullptr;
    if (heap_.owns(t.data)) return t.f32();
    check(!recording_, "a parameter on the host while a step is recorded");
    void* p = step_.take(t.bytes());
    check_cuda(cudaMemcpyAsync(p, t.f32(), t.bytes(), cudaMemcpyHostToDevice, ctx_.stream), "upload");
    return static_cast<const float*>(p);
  }
  const int32_t* ints(std::span<const int32_t> host, std::span<const int32_t> of_batch, const int32_t* of_device) {
    if (batch_ && host.data() == of_batch.data() && host.size() == of_batch.size()) return of_device;
    return step_ints({host.begin(), host.end()});
  }
  std::span<const int32_t> batch_ids() const { return batch_ ? batch_->token_ids : std::span<const int32_t>(); }
  std::span<const int32_t> batch_logit_rows() const { return batch_ ? batch_->logit_rows : std::span<const int32_t>(); }

  // --- recorded steps
  bool recordable(const BatchView& b) const {
    if (!options_.graphs || b.tokens() > kMaxRecordedTokens || !b.visual.empty() || int64_t(b.logit_rows.size()) != b.tokens()) return false;
    return std::all_of(b.sequences.begin(), b.sequences.end(), [](const SequenceView& s) { return s.q_len == 1; });
  }
  void record(Recording& r, const std::function<Tensor()>& forward) {
    struct Flag {
      bool& on;
      explicit Flag(bool& f) : on(f) { on = true; }
      ~Flag() { on = false; }
    } flag(recording_);
    cudaGraph_t graph = nullptr;
    check_cuda(cudaStreamBeginCapture(ctx_.stream, cudaStreamCaptureModeRelaxed), "recording a step");
    try {
      r.result = forward();
    } catch (...) {
      cudaStreamEndCapture(ctx_.stream, &graph);
      if (graph) cudaGraphDestroy(graph);
      throw;
    }
    check_cuda(cudaStreamEndCapture(ctx_.stream, &graph), "recording a step");
    const cudaError_t status = cudaGraphInstantiate(&r.exec, graph, 0);
    cudaGraphDestroy(graph);
    check_cuda(status, "recording a step");
  }
  void drop_recordings() {
    if (recordings_.empty()) return;
    cudaStreamSynchronize(ctx_.stream);
    for (auto& [key, r] : recordings_)
      if (r.exec) cudaGraphExecDestroy(r.exec);
    recordings_.clear();
  }

  // --- products
  static const DeviceWeight& device(const Weight& w) {
    auto* d = dynamic_cast<const DeviceWeight*>(w.prepared.get());
    check(d != nullptr, "{} was not prepared for CUDA", w.name);
    return *d;
  }
  // Before compute capability 8.9 there are no FP8 units that E4M3 inputs would be for.
  bool quantises(int64_t rows) const { return options_.precision == Precision::w8a8 && ctx_.sm >= 89 && rows >= kQuantRows; }
  // The input of a product: as it is, or in E4M3 groups (made by the norm in front, or here).
  GemmInput input(const Tensor& x, const GemmWeight& w, int64_t rows) {
    GemmInput in{x.data, format_of(x), nullptr, rows, 0};
    if (!quantises(rows) || w.format != Format::e4m3) return in;
    if (twin_.of != x.data || twin_.rows != rows) twin_ = quantise(in, w.k);
    return {twin_.q, Format::e4m3, twin_.scale, rows, 0};
  }
  struct Twin {
    const void* of = nullptr;
    uint8_t* q = nullptr;
    float* scale = nullptr;
    int64_t rows = 0;
  };
  Twin make_twin(const void* of, int64_t rows, int64_t k) {
    return {of, static_cast<uint8_t*>(take(size_t(rows * k))), static_cast<float*>(take(size_t(scale_groups(k) * scale_stride(rows)) * 4)), rows};
  }
  Twin quantise(const GemmInput& x, int64_t k) {
    Twin t = make_twin(x.data, x.m, k);
    quantize_rows(x, k, t.q, t.scale, ctx_);
    return t;
  }
  Tensor product(const Tensor& x, const Linear& l, Epilogue epilogue, const Tensor* residual) {
    const DeviceWeight& d = device(l.weight);
    const int64_t n = epilogue == Epilogue::silu_mul ? l.weight.n / 2 : l.weight.n;
    Tensor y = tensor(d.is_head ? DType::f32 : act_, {x.rows(), n});
    if (x.rows() == 0) return y;
    GemmParams p;
    p.x = input(x, d.gemm, x.rows());
    p.w = d.gemm;
    p.y = {y.data, format_of(y), 0};
    p.bias = parameters(l.bias);
    if (residual) p.residual = residual->data, p.residual_format = format_of(*residual);
    p.epilogue = epilogue;
    gemm(p, ctx_);
    return y;
  }

  Tensor do_linear(const Tensor& x, const Linear& w, Activation a, const Tensor* residual) override {
    return product(x, w, a == Activation::gelu_tanh ? Epilogue::gelu_tanh : a == Activation::gelu_erf ? Epilogue::gelu_erf : Epilogue::none,
                   residual);
  }
  Tensor do_gated_linear(const Tensor& x, const Linear& w) override { return product(x, w, Epilogue::silu_mul, nullptr); }

  // --- rows
  Tensor do_gather_rows(const Tensor& x, std::span<const int32_t> rows) override {
    Tensor y = tensor(x.dtype, {int64_t(rows.size()), x.cols()});
    cuda::gather_rows(x.data, format_of(x), ints(rows, batch_logit_rows(), inputs_.device().logit_rows), y.rows(), y.cols(), y.data, ctx_);
    return y;
  }
  Tensor do_embed(const Weight& table, std::span<const int32_t> ids) override {
    Tensor y = activation({int64_t(ids.size()), table.k});
    embed_rows(device(table).gemm, ints(ids, batch_ids(), inputs_.device().ids), y.rows(), y.data, act(), ctx_);
    return y;
  }
  void do_put_rows(Tensor& x, int64_t row, const Tensor& src, bool accumulate) override {
    check(x.dtype == src.dtype, "put_rows: {} into {}", dtype_name(src.dtype), dtype_name(x.dtype));
    cuda::put_rows(static_cast<char*>(x.data) + size_t(row * x.cols()) * dtype_bytes(x.dtype), src.data, format_of(x), src.shape.elements(),
                   accumulate, ctx_);
  }
  Tensor do_add(const Tensor& x, const Tensor& y) override {
    Tensor z = tensor(x.dtype, x.shape);
    cuda::add_rows(x.data, y.data, z.data, format_of(x), x.shape.elements(), ctx_);
    return z;
  }
  Tensor do_silu_mul(const Tensor& gate_up) override {
    Tensor y = tensor(gate_up.dtype, {gate_up.rows(), gate_up.shape[1] / 2});
    silu_mul_rows(gate_up.data, y.data, format_of(gate_up), y.rows(), y.cols(), ctx_);
    return y;
  }

  // --- norms
  Normed do_rms_norm(const Tensor& x, const Tensor* delta, const Tensor& weight, float eps) override {
    const int64_t t = x.rows(), c = x.cols();
    Tensor y = tensor(x.dtype, x.shape), sum = delta ? tensor(x.dtype, x.shape) : x;
    NormArgs a{x.data, delta ? delta->data : nullptr, sum.data, parameters(weight), nullptr, y.data, nullptr, nullptr, format_of(x), t, c, eps};
    twin_ = {};
    if (quantises(t) && uploader_.has_fp8() && c % kScaleGroup == 0 && c <= kMaxNormColumns) {
      twin_ = make_twin(y.data, t, c);
      a.q = twin_.q, a.scale = twin_.scale;
    }
    cuda::rms_norm(a, ctx_);
    return {y, sum};
  }
  Tensor do_layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) override {
    Tensor y = tensor(x.dtype, x.shape);
    twin_ = {};
    cuda::layer_norm({x.data, nullptr, nullptr, parameters(weight), parameters(bias), y.data, nullptr, nullptr, format_of(x), x.rows(), x.cols(), eps},
                     ctx_);
    return y;
  }

  // --- positions and heads
  Rope do_mrope(const int32_t* positions, int64_t tokens, const RopeConfig& config) override {
    float factor;
    const float* frequencies = constant_floats(mrope_inverse_frequencies(config, &factor));
    const int64_t half = config.head_dim / 2;
    Rope r{tensor(DType::f32, {tokens, half}), tensor(DType::f32, {tokens, half})};
    const bool of_batch = batch_ && positions == batch_->positions;
    const int32_t* p = of_batch ? inputs_.device().positions : step_ints({positions, positions + 3 * tokens});
    mrope_table(p, frequencies, factor, {int32_t(config.section[1]), int32_t(config.section[2])}, tokens, half, r.cos.f32(), r.sin.f32(), ctx_);
    return r;
  }

  KvPlace place(const KvCache& c, int64_t layer, const DeviceStep& s) const {
    return {c.k[size_t(layer)], c.v[size_t(layer)], kv_format(c.dtype), s.kv_slot, int32_t(c.page_tokens)};
  }
  // Inside a step, keys and values go straight to their pages: the layer is the one that next_layer counts.
  QkvHeads do_qk_norm_rope(const Tensor& qkv, Heads h, const Tensor& q_norm, const Tensor& k_norm, float eps, const Rope& rope) override {
    const int64_t t = qkv.rows();
    const bool paged = kv_ && batch_ && batch_->tokens() == t && layer_index_ >= 0 && layer_index_ < kv_->layers;
    QkvHeads out{tensor(qkv.dtype, {t, h.q, h.dim}), {nullptr, qkv.dtype, {t, h.kv, h.dim}}, {nullptr, qkv.dtype, {t, h.kv, h.dim}}};
    if (!paged) out.k.data = take(out.k.bytes()), out.v.data = take(out.v.bytes());
    QkNormRopeArgs a{qkv.data, parameters(q_norm), parameters(k_norm), rope.cos.f32(), rope.sin.f32(), out.q.data, out.k.data, out.v.data, {},
                     format_of(qkv), int32_t(t), int32_t(h.q), int32_t(h.kv), int32_t(h.dim), eps};
    if (paged) a.place = place(*kv_, layer_index_, inputs_.device());
    cuda::qk_norm_rope(a, ctx_);
    stored_q_ = paged ? out.q.data : nullptr;
    return out;
  }

  // --- attention
  Tensor do_attention(const QkvHeads& x, KvCache& c, int64_t layer, const BatchView& batch) override {
    const int64_t t = x.q.rows(), hq = x.q.shape[1], d = c.head_dim;
    if (batch_ != &batch) inputs_.upload(batch, c.page_tokens);
    const DeviceStep& s = inputs_.device();
    if (stored_q_ != x.q.data || stored_q_ == nullptr) {
      check(x.k.data && x.v.data, "attention: keys and values of another step");
      store_kv(x.k.data, x.v.data, format_of(x.k), place(c, layer, s), int32_t(t), int32_t(c.kv_heads), int32_t(d), ctx_);
    } else {
      check(layer == layer_index_, "attention: layer {} after the keys of layer {}", layer, layer_index_);
    }
    Tensor y = tensor(x.q.dtype, {t, hq * d});
    PagedAttention a{x.q.data, y.data, format_of(x.q), c.k[size_t(layer)], c.v[size_t(layer)], kv_format(c.dtype), s.seqs, s.pages, s.row_seq,
                     s.decode_rows, s.tiles, int32_t(t), s.layout.tile_count, s.layout.decode_count, int32_t(hq), int32_t(c.kv_heads), int32_t(d),
                     int32_t(c.page_tokens), nullptr, arrived_};
    if (!decode_supported(a) || (a.tile_count > 0 && !prefill_supported(a))) {
      attention_plain(a, ctx_);
      return y;
    }
    if (a.decode_count > 0) {
      a.partial = static_cast<float*>(take(decode_workspace_bytes(a.decode_count, a.hq, a.d, decode_splits(a.decode_count, a.hkv, ctx_.sm_count))));
      attention_decode(a, ctx_);
    }
    if (a.tile_count > 0) prompt_attention(a, c.pages);
    return y;
  }
  bool hopper() const { return options_.hopper_attention && ctx_.sm == 90; }
  void prompt_attention(const PagedAttention& a, int64_t pages) {
    if (!hopper() || !sm90::flash_paged_fits(a.d, a.page_tokens)) return attention_prefill(a, ctx_);
    static_assert(sizeof(sm90::FlashPaged::Sequence) == sizeof(SeqMeta) && sizeof(sm90::FlashTile) == sizeof(QueryTile) &&
                  sm90::kFlashRows == kQueryTile);
    sm90::FlashPaged f{};
    f.q = a.q, f.k = a.k, f.v = a.v, f.out = a.out;
    f.sequences = reinterpret_cast<const sm90::FlashPaged::Sequence*>(a.seqs), f.pages = a.pages;
    f.tiles = reinterpret_cast<const sm90::FlashTile*>(a.tiles);
    f.tokens = a.t, f.q_heads = a.hq, f.kv_heads = a.hkv, f.page_count = int32_t(pages), f.page_tokens = a.page_tokens, f.tile_count = a.tile_count;
    sm90::launch_flash_paged(f, ctx_);
  }

  // --- experts
  Tensor do_moe(const Tensor& x, const Moe& moe) override {
    auto* d = dynamic_cast<const DeviceExperts*>(moe.gate_up[0].weight.prepared.get());
    check(d != nullptr, "{}: the experts were not prepared for CUDA", moe.gate_up[0].weight.name);
    const int64_t t = x.rows(), e = moe.router.weight.n, rows = t * moe.top_k, c = x.cols();
    Tensor y = tensor(x.dtype, x.shape);
    if (t == 0) return y;
    Tensor logits = tensor(DType::f32, {t, e});
    gemm({{x.data, format_of(x), nullptr, t, 0}, device(moe.router.weight).gemm, {logits.data, Format::f32, 0}}, ctx_);
    auto int_array = [&](int64_t n) { return static_cast<int32_t*>(take(size_t(n) * 4)); };
    int32_t *expert = int_array(rows), *offsets = int_array(e + 1), *token = int_array(rows), *row_of = int_array(rows);
    float* weight = static_cast<float*>(take(size_t(rows) * 4));
    route_top_k(logits.f32(), int32_t(t), int32_t(e), int32_t(moe.top_k), expert, weight, ctx_);
    group_by_expert(expert, int32_t(t), int32_t(moe.top_k), int32_t(e), offsets, token, row_of, ctx_);
    Tensor sorted = tensor(x.dtype, {rows, c});
    cuda::gather_rows(x.data, format_of(x), token, rows, c, sorted.data, ctx_);
    Tensor inner = tensor(x.dtype, {rows, d->down.k}), out = tensor(x.dtype, {rows, c});
    auto grouped = [&](const Tensor& in, const GemmWeight& w, Tensor& to, Epilogue epilogue) {
      GroupedGemmParams p;
      // NOTE: inputs stay BF16 in w8a8 too: the grouped product of E4M3 by E4M3 stopped on an H200 (docs/notes/cuda.md).
      p.gemm.x = {in.data, format_of(in), nullptr, rows, 0}, p.gemm.w = w, p.gemm.y = {to.data, format_of(to), 0}, p.gemm.epilogue = epilogue;
      p.experts = e, p.offsets = offsets;
      grouped_gemm(p, ctx_);
    };
    grouped(sorted, d->gate_up, inner, Epilogue::silu_mul);
    grouped(inner, d->down, out, Epilogue::none);
    combine_experts(out.data, format_of(x), row_of, weight, int32_t(t), int32_t(moe.top_k), c, y.data, ctx_);
    return y;
  }

  // --- vision
  const PatchGrid* device_grids(std::span<const Grid> grids) {
    std::vector<int32_t> flat;
    int32_t row = 0;
    for (const Grid& g : grids) {
      flat.insert(flat.end(), {int32_t(g.t), int32_t(g.h), int32_t(g.w), row});
      row += int32_t(g.patches());
    }
    static_assert(sizeof(PatchGrid) == 4 * sizeof(int32_t));
    return reinterpret_cast<const PatchGrid*>(step_ints(flat));
  }
  Tensor do_add_position_embedding(const Tensor& x, const Tensor& table, std::span<const Grid> grids, int64_t merge) override {
    const int64_t side = int64_t(std::lround(std::sqrt(double(table.rows()))));
    check(side * side == table.rows(), "position table has {} rows, not a square", table.rows());
    Tensor y = tensor(x.dtype, x.shape);
    add_position_table(x.data, parameters(table), int32_t(side), device_grids(grids), int32_t(grids.size()), int32_t(merge), x.rows(), x.cols(),
                       y.data, format_of(x), ctx_);
    return y;
  }
  Rope do_vision_rope(std::span<const Grid> grids, int64_t head_dim, int64_t merge) override {
    int64_t n = 0;
    for (const Grid& g : grids) n += g.patches();
    Rope r{tensor(DType::f32, {n, head_dim / 2}), tensor(DType::f32, {n, head_dim / 2})};
    vision_rope_table(device_grids(grids), int32_t(grids.size()), int32_t(merge), n, head_dim / 2, r.cos.f32(), r.sin.f32(), ctx_);
    return r;
  }
  Tensor do_vision_attention(const Tensor& qkv, int64_t heads, const Rope& rope, std::span<const int32_t> segments) override {
    const int64_t n = qkv.rows(), c = qkv.cols() / 3, d = c / heads;
    Tensor rotated = tensor(qkv.dtype, qkv.shape), y = tensor(qkv.dtype, {n, c});
    vision_rotate(qkv.data, rope.cos.f32(), rope.sin.f32(), rotated.data, format_of(qkv), n, int32_t(heads), int32_t(d), ctx_);
    std::vector<int32_t> lists(segments.begin(), segments.end());
    if (lists.size() % 2) lists.push_back(0);  // tiles are pairs of ints
    const size_t tiles_at = lists.size();
    for (size_t s = 1; s < segments.size(); ++s)
      for (int32_t r = 0; r < segments[s] - segments[s - 1]; r += kQueryTile) lists.insert(lists.end(), {int32_t(s - 1), r});
    const int32_t* device_lists = step_ints(lists);
    VisionAttention a{rotated.data, y.data, format_of(qkv), device_lists, reinterpret_cast<const QueryTile*>(device_lists + tiles_at), int32_t(n),
                      int32_t(segments.size() - 1), int32_t((lists.size() - tiles_at) / 2), int32_t(heads), int32_t(d)};
    if (a.act == Format::bf16 && hopper() && sm90::flash_vision_fits(a.d)) {
      sm90::FlashVision f{};
      f.qkv = a.qkv, f.out = a.out, f.segments = a.segments, f.tiles = reinterpret_cast<const sm90::FlashTile*>(a.tiles);
      f.patches = a.n, f.heads = a.heads, f.dim = a.d, f.tile_count = a.tile_count;
      sm90::launch_flash_vision(f, ctx_);
      return y;
    }
    vision_supported(a) ? cuda::vision_attention(a, ctx_) : vision_attention_plain(a, ctx_);
    return y;
  }

  static constexpr size_t kArrivedBytes = size_t(kMaxDecodeRows) * 32 * 4;
  static constexpr int64_t kMaxNormColumns = 8192;

  CudaOptions options_;
  Device device_;
  DeviceHeap heap_;
  std::shared_ptr<StreamOwner> stream_;
  WeightUploader uploader_;
  StepInputs inputs_;
  DeviceArena step_, layer_[2];
  Arena host_arena_;
  GemmContext ctx_;
  std::vector<TunedProduct> products_;  // one of each kind, until they are tuned
  GemmTable table_;
  DType act_;
  std::string name_;
  PinnedBuffer bounce_;
  int32_t *arrived_ = nullptr, *tokens_ = nullptr;
  size_t tokens_capacity_ = 0;

  int at_ = -1;
  int64_t layer_index_ = -1;
  const BatchView* batch_ = nullptr;  // of the step in progress
  KvCache* kv_ = nullptr;
  const void* stored_q_ = nullptr;  // queries whose keys and values are in their pages
  Twin twin_;                       // E4M3 copy of the last norm's (or product's) input
  std::vector<std::pair<std::vector<float>, const float*>> constants_;
  std::vector<std::pair<std::vector<int32_t>, const int32_t*>> ints_;
  bool recording_ = false;
  std::map<std::pair<int64_t, const void*>, Recording> recordings_;  // by tokens of the step and cache
};

}  // namespace

bool cuda_built() { return true; }

CudaDeviceInfo cuda_device(int ordinal) {
  Device d = open_device(ordinal);
  return {d.ordinal, d.sm, d.sm_count, d.name, d.total_bytes, d.free_bytes};
}

bool cuda_usable() {
  try {
    open_device(0);
    return true;
  } catch (const Error&) {
    return false;
  }
}

namespace {
void apply_environment(CudaOptions& o) {
  const std::pair<std::string_view, bool*> switches[] = {
      {"graphs", &o.graphs}, {"early", &o.early_launch}, {"hopper", &o.hopper_attention}, {"tune", &o.tune}};
  const std::string list = env("VL8_CUDA").value_or("");
  for (size_t at = 0; at < list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    std::string_view word = std::string_view(list).substr(at, end - at);
    const bool on = !word.starts_with("no");
    if (!on) word.remove_prefix(2);
    auto row = std::find_if(std::begin(switches), std::end(switches), [&](const auto& s) { return s.first == word; });
    if (row == std::end(switches)) fail_usage("VL8_CUDA has '{}'; there are graphs, early, hopper and tune, each also with 'no' in front", word);
    *row->second = on;
    at = end + 1;
  }
}
}  // namespace

std::unique_ptr<Ops> make_cuda_ops(const CudaOptions& options) {
  CudaOptions o = options;
  apply_environment(o);
  return std::make_unique<CudaOps>(o);
}

}  // namespace vl8
