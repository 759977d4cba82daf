// Attention of a part of a frame against remembered keys and values: with all rows it is plain attention, with some it is the
// reference loop, and what it remembers is right for the next call.
#include "support.h"

namespace vl8 {
namespace {
using testing::Random;
using testing::view;

class VisionMemoryTest : public testing::IsaTest {
 protected:
  Random random;

  struct Input {
    std::vector<float> qkv, cos, sin;
    Tensor x;
    Rope rope;
    Input(Random& r, int64_t n, int64_t heads, int64_t d) : qkv(r.normals(n * 3 * heads * d)) {
      for (float a : r.normals(n * d / 2, 3)) cos.push_back(std::cos(a)), sin.push_back(std::sin(a));
      x = view(qkv, {n, 3 * heads * d});
      rope = {view(cos, {n, d / 2}), view(sin, {n, d / 2})};
    }
  };
  std::vector<int32_t> some_rows(int64_t n) {
    std::vector<int32_t> rows;
    for (int64_t i = 0; i < n; ++i)
      if (random.below(3) == 0 || (i + 1 == n && rows.empty())) rows.push_back(int32_t(i));
    return rows;
  }
};

TEST_P(VisionMemoryTest, EqualsTheReferenceOverManyLooks) {
  for (Precision p : {Precision::f32, Precision::bf16})
    for (auto [heads, d, n] : {std::tuple<int64_t, int64_t, int64_t>{2, 64, 52}, {3, 72, 100}, {1, 16, 4}}) {
      if (slow() && n > 60) continue;
      SCOPED_TRACE(fmt::format("seed {} precision {} heads {} of {} rows {}", random.seed(), int(p), heads, d, n));
      auto op = ops(p);
      RefOps ref(p);
      KvCache a = op->make_kv_cache(2, heads, d, n, 1), b = ref.make_kv_cache(2, heads, d, n, 1);
      std::vector<int32_t> all(size_t(n), 0);
      for (int64_t i = 0; i < n; ++i) all[size_t(i)] = int32_t(i);
      for (int look = 0; look < 4; ++look) {
        const std::vector<int32_t> rows = look == 0 ? all : some_rows(n);
        Input in(random, int64_t(rows.size()), heads, d);
        op->begin_step(), ref.begin_step();
        std::vector<float> got = op->download(op->vision_attention_memory(in.x, heads, in.rope, a, 1, rows));
        std::vector<float> want = ref.download(ref.vision_attention_memory(in.x, heads, in.rope, b, 1, rows));
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], p == Precision::bf16 ? 6e-3 : 2e-5) << "look " << look << " element " << i;
        if (look > 0) continue;
        const std::vector<int32_t> segments{0, int32_t(n)};
        std::vector<float> plain = op->download(op->vision_attention(in.x, heads, in.rope, segments));
        EXPECT_EQ(got, plain);  // bit for bit
      }
      op->free_kv_cache(a), ref.free_kv_cache(b);
    }
}

TEST_P(VisionMemoryTest, RowsOutsideTheMemoryAreOurBug) {
  auto op = ops(Precision::f32);
  KvCache a = op->make_kv_cache(1, 1, 16, 8, 1);
  Input in(random, 2, 1, 16);
  for (std::vector<int32_t> rows : {std::vector<int32_t>{0, 8}, {3, 3}, {-1, 2}, {1}})
    EXPECT_THROW(op->vision_attention_memory(in.x, 1, in.rope, a, 0, rows), Error);
  EXPECT_THROW(op->vision_attention_memory(in.x, 1, in.rope, a, 1, std::vector<int32_t>{0, 1}), Error);
  op->free_kv_cache(a);
}

VL8_EACH_ISA(VisionMemoryTest);

}  // namespace
}  // namespace vl8
