// Attention of both towers and the element-wise verbs against the reference loops.
#include <numeric>

#include "support.h"

namespace vl8 {
namespace {
using testing::Random;
using testing::view;

// Outputs are averages of values of size 1; bf16 rounds probabilities to 2^-9 of themselves.
double tolerance(Precision p) {
  return p == Precision::bf16 ? 6e-3 : 2e-5;
}

void expect_close(const std::vector<float>& got, const Tensor& want, double tol) {
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want.f32()[i], tol) << "element " << i;
}

struct Pages {
  std::vector<std::vector<int32_t>> lists;
  int64_t used = 0;
  const int32_t* take(Random& random, int64_t kv_len, int64_t page_tokens, int64_t total) {
    std::vector<int32_t>& v = lists.emplace_back();
    for (int64_t i = 0; i * page_tokens < kv_len; ++i) v.push_back(int32_t((used++ * 7 + 3) % total));
    (void)random;
    return v.data();
  }
};

class AttentionTest : public testing::IsaTest {
 protected:
  // Several sequences at once, each with `old` keys already written by earlier steps of random length.
  void text(Precision p, int64_t hq, int64_t hkv, int64_t d, int64_t page,
            const std::vector<std::pair<int, int>>& old_and_new) {
    SCOPED_TRACE(fmt::format("seed {} precision {} heads {}/{} of {} page {}", random.seed(), int(p), hq, hkv,
                             d, page));
    const int64_t pages = 211;
    auto op = ops(p);
    RefOps ref(p);
    KvCache a = op->make_kv_cache(2, hkv, d, page, pages), b = ref.make_kv_cache(2, hkv, d, page, pages);
    Pages lists;
    std::vector<const int32_t*> table;
    for (auto [o, n] : old_and_new) table.push_back(lists.take(random, o + n, page, pages));
    for (int step = 0; step < 2; ++step) {
      std::vector<SequenceView> seqs;
      int32_t rows = 0;
      for (size_t i = 0; i < old_and_new.size(); ++i) {
        auto [o, n] = old_and_new[i];
        int q = step ? n : o;
        if (q) seqs.push_back({rows, q, step ? o + n : o, table[i]}), rows += q;
      }
      if (!rows) continue;
      std::vector<float> q = random.normals(rows * hq * d, 1.5f), k = random.normals(rows * hkv * d),
                         v = random.normals(rows * hkv * d);
      QkvHeads x{view(q, {rows, hq, d}), view(k, {rows, hkv, d}), view(v, {rows, hkv, d})};
      std::vector<int32_t> ids(static_cast<size_t>(rows));
      BatchView batch;
      batch.token_ids = ids;
      batch.sequences = seqs;
      op->begin_step(), ref.begin_step();
      Tensor got = op->attention(x, a, 1, batch), want = ref.attention(x, b, 1, batch);
      expect_close(op->download(got), want, tolerance(p));
    }
    op->free_kv_cache(a), ref.free_kv_cache(b);
  }

  void vision(Precision p, int64_t heads, int64_t d, std::vector<int32_t> segments) {
    SCOPED_TRACE(fmt::format("seed {} precision {} heads {} of {}", random.seed(), int(p), heads, d));
    const int64_t n = segments.back();
    std::vector<float> qkv = random.normals(n * 3 * heads * d), cos, sin;
    for (float a : random.normals(n * d / 2, 3)) cos.push_back(std::cos(a)), sin.push_back(std::sin(a));
    Rope rope{view(cos, {n, d / 2}), view(sin, {n, d / 2})};
    auto op = ops(p);
    RefOps ref(p);
    op->begin_step(), ref.begin_step();
    Tensor x = view(qkv, {n, 3 * heads * d});
    Tensor got = op->vision_attention(x, heads, rope, segments),
           want = ref.vision_attention(x, heads, rope, segments);
    expect_close(op->download(got), want, tolerance(p));
  }
  Random random;
};

TEST_P(AttentionTest, HeadSizesAndGroups) {
  for (Precision p : {Precision::f32, Precision::bf16})
    for (int64_t d : {8, 32, 64, 72, 128, 256})
      for (auto [hq, hkv] : {std::pair{1, 1}, {4, 2}, {8, 1}, {6, 2}})
        text(p, hq, hkv, d, 16, {{0, 37}, {20, 1}, {5, 30}});
}
TEST_P(AttentionTest, PageSizes) {
  for (int64_t page : {1, 3, 16, 32, 64, 200})
    for (Precision p : {Precision::f32, Precision::bf16})
      text(p, 4, 2, 64, page, {{33, 1}, {64, 65}, {0, 1}, {17, 17}});
}
TEST_P(AttentionTest, LongContextAndManyRows) {
  if (slow()) GTEST_SKIP() << "too slow in software";
  for (Precision p : {Precision::f32, Precision::bf16}) {
    text(p, 4, 1, 64, 16, {{1500, 1}, {300, 3}});
    text(p, 4, 2, 128, 16, {{0, 400}, {200, 130}});
  }
}
TEST_P(AttentionTest, Vision) {
  for (Precision p : {Precision::f32, Precision::bf16})
    for (int64_t d : {8, 16, 32, 40, 64, 72, 80, 128}) vision(p, 2, d, {0, 5, 64, 65, 210});
  if (!slow()) vision(Precision::bf16, 3, 72, {0, 600});
}

// Chunks of a prompt, and company in the batch, must not change a token's result: single tokens included where the
// backend says so.
TEST_P(AttentionTest, ChunksAndBatchesAgreeBitForBit) {
  const int64_t d = 64, n = 150, hq = 4, hkv = 2;
  for (auto [p, invariant] : {std::pair{Precision::f32, false}, {Precision::bf16, false}, {Precision::bf16, true}}) {
    auto op = cpu::make_ops(p, 2, GetParam(), invariant);
    KvCache cache = op->make_kv_cache(1, hkv, d, 16, 64);
    std::vector<float> q = random.normals(n * hq * d), k = random.normals(n * hkv * d),
                       v = random.normals(n * hkv * d);
    std::vector<int32_t> ids(n), pages(40);
    std::iota(pages.begin(), pages.end(), 0);
    auto run = [&](int64_t begin, int64_t len) {
      QkvHeads x{view(q, {n, hq, d}).slice_rows(begin, begin + len),
                 view(k, {n, hkv, d}).slice_rows(begin, begin + len),
                 view(v, {n, hkv, d}).slice_rows(begin, begin + len)};
      SequenceView s{0, int32_t(len), int32_t(begin + len), pages.data()};
      BatchView batch;
      batch.token_ids = std::span(ids).first(size_t(len));
      batch.sequences = {&s, 1};
      op->begin_step();
      return op->download(op->attention(x, cache, 0, batch));
    };
    const std::vector<float> whole = run(0, n);
    int64_t at = 0;
    std::vector<int64_t> lengths{37, 2, 64, 47};
    if (op->batch_invariant()) lengths = {1, 1, 35, 1, 65, 1, 46};
    for (int64_t len : lengths) {
      std::vector<float> part = run(at, len);
      for (size_t i = 0; i < part.size(); ++i)
        ASSERT_EQ(part[i], whole[size_t(at * hq * d) + i]) << "chunk at " << at;
      at += len;
    }
    ASSERT_EQ(at, n);
    op->free_kv_cache(cache);
  }
}

// The exact softmax and sums are in a stated order: equal bits with AVX2 and every set above it.
TEST_P(AttentionTest, ExactBitsOnEverySet) {
  if (GetParam().name == "scalar") GTEST_SKIP() << "has no fused multiply-add";
  const int64_t d = 40, n = 200, heads = 3;
  std::vector<float> qkv = Random(7).normals(n * 3 * heads * d), cos(size_t(n * d / 2), 0.6f), sin(size_t(n * d / 2), 0.8f);
  const std::vector<int32_t> segments{0, 131, 200};
  auto run = [&](Ops& op) {
    op.begin_step();
    return op.download(op.vision_attention(view(qkv, {n, 3 * heads * d}), heads, {view(cos, {n, d / 2}), view(sin, {n, d / 2})}, segments));
  };
  auto op = ops(Precision::f32), avx2 = make_cpu_ops(Precision::f32, 1, "avx2");
  EXPECT_EQ(run(*op), run(*avx2));
}

class ElementTest : public testing::IsaTest {
 protected:
  Random random;
  void SetUp() override { RecordProperty("seed", std::to_string(random.seed())); }
};

TEST_P(ElementTest, NormsAndActivations) {
  auto op = ops(Precision::f32);
  RefOps ref(Precision::f32);
  for (int64_t n : {1, 7, 16, 33, 128, 1000})
    for (int64_t t : {1, 5, 70}) {
      SCOPED_TRACE(fmt::format("seed {} t {} n {}", random.seed(), t, n));
      op->begin_step(), ref.begin_step();
      std::vector<float> x = random.normals(t * n), y = random.normals(t * n), w = random.normals(n),
                         b = random.normals(n), g = random.normals(t * 2 * n, 4);
      Tensor xt = view(x, {t, n}), yt = view(y, {t, n}), wt = view(w, {n}), bt = view(b, {n}),
             gt = view(g, {t, 2 * n});
      expect_close(op->download(op->rms_norm(xt, wt, 1e-6f)), ref.rms_norm(xt, wt, 1e-6f), 1e-4);
      Normed a = op->add_rms_norm(xt, yt, wt, 1e-6f), e = ref.add_rms_norm(xt, yt, wt, 1e-6f);
      expect_close(op->download(a.normed), e.normed, 1e-4);
      expect_close(op->download(a.sum), e.sum, 0);
      if (n > 1)
        expect_close(op->download(op->layer_norm(xt, wt, bt, 1e-6f)), ref.layer_norm(xt, wt, bt, 1e-6f),
                     1e-4);
      expect_close(op->download(op->silu_mul(gt)), ref.silu_mul(gt), 1e-4);
      expect_close(op->download(op->add(xt, yt)), ref.add(xt, yt), 0);
    }
}

TEST_P(ElementTest, SiluAtExtremes) {
  auto op = ops(Precision::f32);
  op->begin_step();
  std::vector<float> g = {-1e30f, -200, -88, -20,   0,
                          20,     88,   200, 1e30f, std::numeric_limits<float>::quiet_NaN()};
  const int64_t n = int64_t(g.size());
  for (int64_t i = 0; i < n; ++i) g.push_back(1);
  std::vector<float> y = op->download(op->silu_mul(view(g, {1, 2 * n})));
  for (int64_t i = 0; i + 1 < n; ++i) {
    double x = g[size_t(i)], want = x / (1 + std::exp(-x));
    EXPECT_NEAR(y[size_t(i)], want, 1e-6 * std::fabs(want) + 1e-6) << x;
  }
  EXPECT_TRUE(std::isnan(y[size_t(n - 1)]));
}

TEST_P(ElementTest, HeadsRopeAndRows) {
  auto op = ops(Precision::f32);
  RefOps ref(Precision::f32);
  for (int64_t d : {8, 64, 72, 128}) {
    SCOPED_TRACE(fmt::format("seed {} d {}", random.seed(), d));
    op->begin_step(), ref.begin_step();
    const int64_t t = 23;
    Heads h{6, 2, d};
    RopeConfig config{.head_dim = d, .theta = 5e6, .section = {d / 2 - 2 * (d / 8), d / 8, d / 8}};
    std::vector<int32_t> pos;
    for (int64_t i = 0; i < 3 * t; ++i) pos.push_back(int32_t(random.below(200000)));
    Rope a = op->mrope(pos.data(), t, config), e = ref.mrope(pos.data(), t, config);
    expect_close(op->download(a.cos), e.cos, 1e-6);
    expect_close(op->download(a.sin), e.sin, 1e-6);
    std::vector<float> qkv = random.normals(t * 10 * d), qn = random.normals(d), kn = random.normals(d);
    Tensor x = view(qkv, {t, 10 * d});
    QkvHeads ga = op->qk_norm_rope(x, h, view(qn, {d}), view(kn, {d}), 1e-6f, e);
    QkvHeads ge = ref.qk_norm_rope(x, h, view(qn, {d}), view(kn, {d}), 1e-6f, e);
    expect_close(op->download(ga.q), ge.q, 2e-5);
    expect_close(op->download(ga.k), ge.k, 2e-5);
    expect_close(op->download(ga.v), ge.v, 0);
    std::vector<int32_t> rows = {3, 3, 0, 22};
    expect_close(op->download(op->gather_rows(x, rows)), ref.gather_rows(x, rows), 0);
    std::vector<float> src = random.normals(2 * 10 * d), copy = qkv;
    Tensor y = view(copy, {t, 10 * d}), z = view(qkv, {t, 10 * d}), s = view(src, {2, 10 * d});
    op->put_rows(y, 5, s), ref.put_rows(z, 5, s);
    op->add_rows(y, 20, s), ref.add_rows(z, 20, s);
    expect_close(copy, z, 0);
  }
}

TEST_P(ElementTest, PatchPositions) {
  auto op = ops(Precision::f32);
  RefOps ref(Precision::f32);
  const std::vector<Grid> grids = {{1, 4, 6}, {3, 2, 2}, {1, 40, 22}};
  int64_t n = 0;
  for (const Grid& g : grids) n += g.patches();
  for (int64_t d : {8, 64, 72}) {
    op->begin_step(), ref.begin_step();
    Rope a = op->vision_rope(grids, d, 2), e = ref.vision_rope(grids, d, 2);
    expect_close(op->download(a.cos), e.cos, 0);
    expect_close(op->download(a.sin), e.sin, 0);
    std::vector<float> x = random.normals(n * d), table = random.normals(100 * d);
    expect_close(op->download(op->add_position_embedding(view(x, {n, d}), view(table, {100, d}), grids, 2)),
                 ref.add_position_embedding(view(x, {n, d}), view(table, {100, d}), grids, 2), 1e-6);
  }
}

TEST_P(ElementTest, EmbedEveryFormat) {
  auto op = ops(Precision::bf16);
  RefOps ref(Precision::bf16);
  std::vector<int32_t> ids = {0, 49, 7, 7, 20};
  for (DType type : {DType::f32, DType::f16, DType::bf16, DType::e4m3, DType::e5m2})
    for (ScaleKind kind : {ScaleKind::none, ScaleKind::block}) {
      testing::OwnedLinear w;
      w.add_part(random, type, 50, 77, kind, 32, 32);
      op->begin_step(), ref.begin_step();
      expect_close(op->download(op->embed(w.linear.weight, ids)), ref.embed(w.linear.weight, ids), 0);
    }
}

TEST_P(ElementTest, Experts) {
  for (Precision p : {Precision::f32, Precision::bf16, Precision::w8a8})
    for (int64_t t : {1, 6, 50}) {
      SCOPED_TRACE(fmt::format("seed {} t {} precision {}", random.seed(), t, int(p)));
      const int64_t experts = 12, hidden = 160, inner = 96;
      testing::OwnedLinear router;
      router.add_part(random, DType::bf16, experts, hidden, ScaleKind::none);
      std::vector<testing::OwnedLinear> up(size_t(experts), testing::OwnedLinear{}),
          down(size_t(experts), testing::OwnedLinear{});
      Moe moe{router.linear, {}, {}, 3};
      for (size_t e = 0; e < size_t(experts); ++e) {
        up[e].add_part(random, DType::e4m3, inner, hidden, ScaleKind::block);
        up[e].add_part(random, DType::e4m3, inner, hidden, ScaleKind::block);
        down[e].add_part(random, DType::e4m3, hidden, inner, ScaleKind::block);
        moe.gate_up.push_back(up[e].linear), moe.down.push_back(down[e].linear);
      }
      std::vector<float> x = random.normals(t * hidden, 0.3f);
      for (float& v : x)
        v = bf16_to_f32(f32_to_bf16(v));  // exact in bf16, so that no rounding changes the choice of experts
      auto op = ops(p);
      RefOps ref(p);
      op->begin_step(), ref.begin_step();
      Tensor want = ref.moe(view(x, {t, hidden}), moe);
      double size = 0;
      for (int64_t i = 0; i < t * hidden; ++i) size = std::max(size, std::fabs(double(want.f32()[i])));
      // bf16 and w8a8 round the inner activations, where a last-bit difference may become one rounding step.
      expect_close(op->download(op->moe(view(x, {t, hidden}), moe)), want,
                   (p == Precision::f32 ? 1e-5 : 1e-2) * size);
    }
}

VL8_EACH_ISA(AttentionTest);
VL8_EACH_ISA(ElementTest);

}  // namespace
}  // namespace vl8
