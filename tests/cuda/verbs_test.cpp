// Every verb but attention, ragged sizes, fresh numbers.
#include "cuda/support.h"

namespace vl8::testing {
namespace {

class CudaVerbs : public CudaTest {};

struct PartSpec {
  DType type;
  int64_t rows;
  ScaleKind scale;
};

TEST_P(CudaVerbs, Linear) {
  const std::vector<std::vector<PartSpec>> weights = {
      {{DType::bf16, 100, ScaleKind::none}},
      {{DType::f32, 65, ScaleKind::none}},
      {{DType::f16, 48, ScaleKind::none}},
      {{DType::e4m3, 200, ScaleKind::block}},
      {{DType::e4m3, 128, ScaleKind::block}, {DType::e4m3, 96, ScaleKind::block}},
      {{DType::e4m3, 72, ScaleKind::block}, {DType::e4m3, 40, ScaleKind::block}},  // rows that are not whole blocks
      {{DType::e4m3, 130, ScaleKind::tensor}},
      {{DType::e4m3, 66, ScaleKind::channel}, {DType::e4m3, 66, ScaleKind::tensor}},
      {{DType::e5m2, 40, ScaleKind::channel}},
  };
  int64_t at = 0;
  for (const auto& parts : weights)
    for (int64_t k : {48, 272}) {
      OwnedLinear owned;
      for (const PartSpec& p : parts) owned.add_part(random_, p.type, p.rows, k, p.scale);
      if (at++ % 2) owned.add_bias(random_);
      op_->prepare(owned.linear.weight);
      const int64_t n = owned.linear.weight.n;
      for (int64_t m : {1, 3, 35}) {
        SCOPED_TRACE(fmt::format("{} {} rows {}, k {}, m {}", dtype_name(parts[0].type), parts.size(), n, k, m));
        const Both x = both(random_.normals(m * k), {m, k}), r = both(random_.normals(m * n), {m, n});
        // w8a8: the reference quantises any number of rows, the device only where that pays
        const double limit = GetParam() == Precision::w8a8 ? 6e-2 : tolerance();
        for (Activation a : {Activation::none, Activation::gelu_tanh, Activation::gelu_erf})
          expect_close(op_->linear(x.device, owned.linear, a), reference_->linear(x.host, owned.linear, a), limit);
        expect_close(op_->linear_residual(r.device, x.device, owned.linear), reference_->linear_residual(r.host, x.host, owned.linear), limit);
        if (n % 2 == 0 && owned.linear.bias.empty())
          expect_close(op_->gated_linear(x.device, owned.linear), reference_->gated_linear(x.host, owned.linear), 2 * limit);
      }
    }
}

TEST_P(CudaVerbs, Norms) {
  for (int64_t c : {64, 72, 100, 160, 1152, 2560, 9000})
    for (int64_t t : {1, 2, 37}) {
      SCOPED_TRACE(fmt::format("t {} c {}", t, c));
      const Both x = both(random_.normals(t * c, 3), {t, c}), d = both(random_.normals(t * c), {t, c});
      const Tensor w = parameter(random_.normals(c)), b = parameter(random_.normals(c));
      expect_close(op_->rms_norm(x.device, w, 1e-6f), reference_->rms_norm(x.host, w, 1e-6f));
      const Normed got = op_->add_rms_norm(x.device, d.device, w, 1e-6f), want = reference_->add_rms_norm(x.host, d.host, w, 1e-6f);
      expect_close(got.normed, want.normed), expect_close(got.sum, want.sum);
      expect_close(op_->layer_norm(x.device, w, b, 1e-6f), reference_->layer_norm(x.host, w, b, 1e-6f));
    }
}

// The E4M3 copy that a norm makes beside its result gives the same product as one made from the result.
TEST_P(CudaVerbs, NormThenLinear) {
  const int64_t k = 384, t = 70;
  OwnedLinear owned;
  owned.add_part(random_, DType::e4m3, 256, k, ScaleKind::block);
  op_->prepare(owned.linear.weight);
  const Both x = both(random_.normals(t * k), {t, k});
  const Tensor w = parameter(random_.normals(k));
  Tensor got = op_->linear(op_->rms_norm(x.device, w, 1e-6f), owned.linear);
  expect_close(got, reference_->linear(reference_->rms_norm(x.host, w, 1e-6f), owned.linear), GetParam() == Precision::w8a8 ? 2e-2 : tolerance());
}

TEST_P(CudaVerbs, Rows) {
  const int64_t t = 19, c = 88;
  const Both x = both(random_.normals(t * c), {t, c}), y = both(random_.normals(t * c), {t, c}), few = both(random_.normals(3 * c), {3, c});
  expect_close(op_->add(x.device, y.device), reference_->add(x.host, y.host));
  const std::vector<int32_t> rows{18, 0, 7, 7};
  expect_close(op_->gather_rows(x.device, rows), reference_->gather_rows(x.host, rows));
  expect_close(op_->silu_mul(x.device), reference_->silu_mul(x.host));
  Tensor dx = op_->add(x.device, y.device), hx = reference_->add(x.host, y.host);
  op_->put_rows(dx, 4, few.device), reference_->put_rows(hx, 4, few.host);
  op_->add_rows(dx, 6, few.device), reference_->add_rows(hx, 6, few.host);
  expect_close(dx, hx);
  EXPECT_EQ(op_->download(op_->keep(dx).tensor), op_->download(dx));
}

TEST_P(CudaVerbs, Embed) {
  for (DType type : {DType::bf16, DType::f32, DType::e4m3}) {
    OwnedLinear table;
    table.add_part(random_, type, 50, 136, type == DType::e4m3 ? ScaleKind::block : ScaleKind::none);
    op_->prepare(table.linear.weight);
    const std::vector<int32_t> ids{49, 0, 3, 3, 20};
    expect_close(op_->embed(table.linear.weight, ids), reference_->embed(table.linear.weight, ids));
  }
}

TEST_P(CudaVerbs, Argmax) {
  const int64_t n = 3000;
  std::vector<float> v = random_.normals(3 * n);
  v[5] = v[2999] = 50, v[size_t(n)] = 60, v[size_t(3 * n - 1)] = 70;
  kept_.push_back(v);
  OwnedLinear head;  // logits are float32 in every precision: made by a head of the identity would be slow, so by upload
  Tensor logits = op_->upload({kept_.back().data(), DType::f32, {3, n}});
  EXPECT_EQ(op_->argmax(logits), (std::vector<int32_t>{5, 0, int32_t(n - 1)}));
}

TEST_P(CudaVerbs, Positions) {
  RopeConfig config{.head_dim = 128, .theta = 5e6, .section = {24, 20, 20}};
  const int64_t t = 21;
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < 3 * t; ++i) positions.push_back(int32_t(random_.below(200000)));
  const Rope got = op_->mrope(positions.data(), t, config), want = reference_->mrope(positions.data(), t, config);
  expect_close(got.cos, want.cos, 1e-5), expect_close(got.sin, want.sin, 1e-5);

  const std::vector<Grid> grids{{1, 4, 6}, {2, 2, 8}, {1, 10, 4}};
  int64_t n = 0;
  for (const Grid& g : grids) n += g.patches();
  const Rope vg = op_->vision_rope(grids, 72, 2), vw = reference_->vision_rope(grids, 72, 2);
  expect_close(vg.cos, vw.cos, 1e-5), expect_close(vg.sin, vw.sin, 1e-5);

  const int64_t c = 48;
  kept_.push_back(random_.normals(36 * c));
  const Tensor table{kept_.back().data(), DType::f32, {36, c}};
  const Both x = both(random_.normals(n * c), {n, c});
  expect_close(op_->add_position_embedding(x.device, table, grids, 2), reference_->add_position_embedding(x.host, table, grids, 2));
}

TEST_P(CudaVerbs, Experts) {
  const int64_t c = 128, inner = 128, experts = 9, k = 3;
  for (DType type : {DType::bf16, DType::e4m3}) {
    std::vector<OwnedLinear> up(static_cast<size_t>(experts)), down(static_cast<size_t>(experts));
    OwnedLinear router;
    router.add_part(random_, DType::bf16, experts, c, ScaleKind::none);
    Moe moe;
    moe.router = router.linear, moe.top_k = k;
    const ScaleKind scale = type == DType::e4m3 ? ScaleKind::block : ScaleKind::none;
    for (int64_t e = 0; e < experts; ++e) {
      up[size_t(e)].add_part(random_, type, 2 * inner, c, scale), down[size_t(e)].add_part(random_, type, c, inner, scale);
      moe.gate_up.push_back(up[size_t(e)].linear), moe.down.push_back(down[size_t(e)].linear);
    }
    op_->prepare(moe.router.weight), op_->prepare_experts(moe);
    for (int64_t t : {1, 5, 41}) {
      SCOPED_TRACE(fmt::format("{} t {}", dtype_name(type), t));
      const Both x = both(random_.normals(t * c), {t, c});
      expect_close(op_->moe(x.device, moe), reference_->moe(x.host, moe), GetParam() == Precision::w8a8 ? 0.12 : rounds() ? 2e-2 : 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precision, CudaVerbs, ::testing::Values(Precision::f32, Precision::bf16, Precision::w8a8), precision_name);

}  // namespace
}  // namespace vl8::testing
