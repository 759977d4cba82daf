// Paged attention over several steps of ragged sequences, alone and inside a step (where keys go straight to their pages
// and decode steps are recorded), and the attention of the vision tower.
#include "cuda/support.h"

namespace vl8::testing {
namespace {

class CudaAttention : public CudaTest {};

struct Shapes {
  Heads heads;
  int64_t page_tokens;
};

// Sequences that grow by `lengths[step][sequence]` rows (0: not in the step); pages are dealt out in a scattered order.
class Growing {
 public:
  Growing(int64_t sequences, int64_t page_tokens) : page_tokens_(page_tokens), cached_(size_t(sequences)), pages_(size_t(sequences)) {}
  void step(const std::vector<int64_t>& lengths) {
    views_.clear(), tokens_ = 0;
    for (size_t s = 0; s < lengths.size(); ++s) {
      if (lengths[s] == 0) continue;
      cached_[s] += lengths[s];
      while (int64_t(pages_[s].size()) * page_tokens_ < cached_[s]) pages_[s].push_back(int32_t(next_ = (next_ + 7) % kPages));
      views_.push_back({int32_t(tokens_), int32_t(lengths[s]), int32_t(cached_[s]), nullptr});
      owner_.resize(views_.size()), owner_[views_.size() - 1] = s;
      tokens_ += lengths[s];
    }
    for (size_t i = 0; i < views_.size(); ++i) views_[i].pages = pages_[owner_[i]].data();
    ids_.assign(size_t(tokens_), 1), positions_.resize(size_t(3 * tokens_)), rows_.resize(size_t(tokens_));
    for (int64_t i = 0; i < tokens_; ++i) rows_[size_t(i)] = int32_t(i);
    for (size_t i = 0; i < positions_.size(); ++i) positions_[i] = int32_t(i % 97);
    batch_ = {ids_, positions_.data(), views_, {}, rows_};
  }
  const BatchView& batch() const { return batch_; }
  static constexpr int64_t kPages = 211;

 private:
  int64_t page_tokens_, tokens_ = 0, next_ = 0;
  std::vector<int64_t> cached_;
  std::vector<std::vector<int32_t>> pages_;
  std::vector<size_t> owner_;
  std::vector<SequenceView> views_;
  std::vector<int32_t> ids_, positions_, rows_;
  BatchView batch_;
};

const std::vector<std::vector<int64_t>> kSteps = {{130, 1, 0, 5}, {3, 200, 64, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}, {2, 0, 1, 129}, {1, 1, 1, 1}};

TEST_P(CudaAttention, Paged) {
  for (const Shapes& shape : {Shapes{{8, 2, 128}, 16}, Shapes{{4, 4, 64}, 64}, Shapes{{6, 2, 64}, 5}, Shapes{{3, 1, 40}, 16}}) {
    SCOPED_TRACE(fmt::format("{} / {} heads of {}, pages of {}", shape.heads.q, shape.heads.kv, shape.heads.dim, shape.page_tokens));
    const Heads h = shape.heads;
    KvCache device = op_->make_kv_cache(2, h.kv, h.dim, shape.page_tokens, Growing::kPages);
    KvCache host = reference_->make_kv_cache(2, h.kv, h.dim, shape.page_tokens, Growing::kPages);
    Growing growing(4, shape.page_tokens);
    for (size_t s = 0; s < kSteps.size(); ++s) {
      SCOPED_TRACE(fmt::format("step {}", s));
      growing.step(kSteps[s]);
      const BatchView& b = growing.batch();
      const int64_t t = b.tokens();
      op_->begin_step(), reference_->begin_step();
      auto heads = [&](int64_t n) { return both(random_.normals(t * n * h.dim), {t, n, h.dim}); };
      const Both q = heads(h.q), k = heads(h.kv), v = heads(h.kv);
      expect_close(op_->attention({q.device, k.device, v.device}, device, 1, b), reference_->attention({q.host, k.host, v.host}, host, 1, b));
    }
    op_->free_kv_cache(device), reference_->free_kv_cache(host);
  }
}

TEST_P(CudaAttention, InsideAStep) {
  const Heads h{8, 2, 128};
  const int64_t width = (h.q + 2 * h.kv) * h.dim;
  const RopeConfig rope{.head_dim = 128, .theta = 5e6, .section = {24, 20, 20}};
  const Tensor qn = parameter(random_.normals(h.dim)), kn = parameter(random_.normals(h.dim));
  Tensor dqn = qn, dkn = kn;
  op_->prepare_vector(dqn), op_->prepare_vector(dkn);
  OwnedLinear table;
  table.add_part(random_, DType::bf16, 40, width, ScaleKind::none);
  op_->prepare(table.linear.weight);
  KvCache device = op_->make_kv_cache(2, h.kv, h.dim, 16, Growing::kPages), host = reference_->make_kv_cache(2, h.kv, h.dim, 16, Growing::kPages);
  auto forward = [&](Ops& op, const BatchView& b, KvCache& kv, const Tensor& q_norm, const Tensor& k_norm) {
    op.begin_step();
    Tensor x = op.embed(table.linear.weight, b.token_ids), sum;
    const Rope r = op.mrope(b.positions, b.tokens(), rope);
    for (int64_t layer = 0; layer < 2; ++layer) {
      op.next_layer();
      Tensor y = op.attention(op.qk_norm_rope(x, h, q_norm, k_norm, 1e-6f, r), kv, layer, b);
      sum = layer == 0 ? y : op.add(sum, y);
    }
    return op.gather_rows(sum, b.logit_rows);
  };
  Growing growing(4, 16);
  for (size_t s = 0; s < kSteps.size(); ++s) {
    SCOPED_TRACE(fmt::format("step {}", s));
    growing.step(kSteps[s]);
    const BatchView& b = growing.batch();
    for (size_t i = 0; i < b.token_ids.size(); ++i) const_cast<int32_t&>(b.token_ids[i]) = int32_t(random_.below(40));
    Tensor got = op_->step(b, device, [&] { return forward(*op_, b, device, dqn, dkn); });
    expect_close(got, forward(*reference_, b, host, qn, kn), rounds() ? 1.5e-2 : 1e-5);
  }
  op_->free_kv_cache(device), reference_->free_kv_cache(host);
}

TEST_P(CudaAttention, Vision) {
  for (auto [heads, d] : {std::pair<int64_t, int64_t>{2, 72}, {3, 64}, {2, 24}}) {
    const std::vector<int32_t> segments{0, 4, 133, 134, 390};
    const int64_t n = segments.back();
    SCOPED_TRACE(fmt::format("{} heads of {}", heads, d));
    const Both qkv = both(random_.normals(n * 3 * heads * d), {n, 3 * heads * d});
    const std::vector<Grid> grids{{1, 2, 2}, {1, 2, 64}, {1, 2, 2}, {1, 2, 128}};  // any angles do
    std::vector<float> cos(size_t(n * d / 2)), sin(size_t(n * d / 2));
    for (size_t i = 0; i < cos.size(); ++i) cos[i] = std::cos(float(i % 91)), sin[i] = std::sin(float(i % 91));
    kept_.push_back(cos), kept_.push_back(sin);
    const Rope host{{std::prev(kept_.end(), 2)->data(), DType::f32, {n, d / 2}}, {kept_.back().data(), DType::f32, {n, d / 2}}};
    Rope device = host;
    op_->prepare_vector(device.cos), op_->prepare_vector(device.sin);
    expect_close(op_->vision_attention(qkv.device, heads, device, segments), reference_->vision_attention(qkv.host, heads, host, segments),
                 rounds() ? 1.2e-2 : tolerance());
  }
}

INSTANTIATE_TEST_SUITE_P(Precision, CudaAttention, ::testing::Values(Precision::f32, Precision::bf16), precision_name);

}  // namespace
}  // namespace vl8::testing
