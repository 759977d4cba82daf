#include "io/random_checkpoint.h"

#include <gmock/gmock.h>

#include <cmath>

#include "core/file.h"
#include "io/random_values.h"
#include "tiny_model.h"

namespace vl8 {
namespace {
using namespace testing;
using ::testing::HasSubstr;

struct Moments {
  double mean, deviation, largest;
};
Moments moments(const std::vector<float>& v) {
  double sum = 0, square = 0, largest = 0;
  for (float x : v) sum += x, square += double(x) * x, largest = std::max(largest, std::abs(double(x)));
  double mean = sum / double(v.size());
  return {mean, std::sqrt(square / double(v.size()) - mean * mean), largest};
}

TEST(RandomValues, AreNormalAndDependOnPositionOnly) {
  RandomValues a(1, "a"), b(1, "b"), c(2, "a");
  constexpr int64_t n = 100000;
  std::vector<uint8_t> codes(n), parts(n), other(n);
  a.e4m3(codes.data(), 0, n);
  for (int64_t at = 0; at < n; at += 1000) a.e4m3(parts.data() + at, at, 1000);
  EXPECT_EQ(codes, parts);
  b.e4m3(other.data(), 0, n);
  EXPECT_NE(codes, other);
  c.e4m3(other.data(), 0, n);
  EXPECT_NE(codes, other);
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) values[size_t(i)] = e4m3_to_f32(codes[size_t(i)]);
  EXPECT_NEAR(moments(values).mean, 0, 2);
  EXPECT_NEAR(moments(values).deviation, RandomValues::kE4m3Deviation, 3);
  std::vector<uint16_t> half(n);
  a.bf16(half.data(), 0, n, 1, 0.1f);
  for (int64_t i = 0; i < n; ++i) values[size_t(i)] = bf16_to_f32(half[size_t(i)]);
  EXPECT_NEAR(moments(values).mean, 1, 0.003);
  EXPECT_NEAR(moments(values).deviation, 0.1, 0.003);
}

void expect_normal_size(const ModelWeights& w) {
  for (const TextLayer& l : w.layers) {
    Moments m = moments(all_rows(l.qkv.weight));
    EXPECT_NEAR(m.deviation, 0.02, 0.002);
    EXPECT_NEAR(m.mean, 0, 0.002);
    EXPECT_NEAR(moments({l.post_norm.f32(), l.post_norm.f32() + l.post_norm.shape[0]}).mean, 1, 0.1);
    for (const Linear& e : l.moe.down) EXPECT_NEAR(moments(all_rows(e.weight)).deviation, 0.02, 0.003);
  }
}

TEST(RandomCheckpoint, FilesBindWithoutWarnings) {
  ThreadPool pool(2);
  for (bool moe : {false, true})
    for (RandomFormat format : {RandomFormat::bf16, RandomFormat::fp8})
      for (uint64_t shard : {uint64_t(1) << 40, uint64_t(100'000)}) {
        TempFolder dir;
        write_random_checkpoint(dir / "m", tiny_config(moe), {format, 5, shard, false}, pool);
        auto b = bind(dir / "m");
        EXPECT_TRUE(b->report.warnings.empty());
        EXPECT_EQ(b->store->checkpoint().files().size() > 1, shard < 1'000'000);
        EXPECT_EQ(b->report.quantised_modules > 0, format == RandomFormat::fp8);
        expect_normal_size(b->weights);
        EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), {}), 1)
            << "something was left beside the folder";
        EXPECT_THAT(error_of([&] { write_random_checkpoint(dir / "m", tiny_config(moe), {}, pool); }),
                    HasSubstr("exists already"));
      }
}

TEST(RandomCheckpoint, InMemoryIsTheSameForAnyNumberOfThreads) {
  ModelConfig config = parse_model_config(tiny_config(true), "c");
  for (RandomFormat format : {RandomFormat::bf16, RandomFormat::fp8}) {
    std::vector<std::vector<float>> rows;
    for (int threads : {1, 3}) {
      ThreadPool pool(threads);
      auto store = std::make_shared<WeightStore>();
      ModelWeights w;
      RandomBinder binder(store, pool, {.format = format});
      w.each(config, binder);
      expect_normal_size(w);
      EXPECT_EQ(w.layers[0].qkv.weight.is_fp8(), format == RandomFormat::fp8);
      EXPECT_FALSE(w.layers[0].moe.router.weight.is_fp8());
      EXPECT_EQ(w.layers[0].moe.gate_up.size(), 3u);
      EXPECT_FALSE(w.vision.blocks[0].qkv.weight.is_fp8());
      rows.push_back(all_rows(w.layers[1].moe.gate_up[2].weight));
    }
    EXPECT_EQ(rows[0], rows[1]);
  }
}

// The dense model in memory is the one that would be written.
TEST(RandomCheckpoint, MemoryEqualsFile) {
  ThreadPool pool(2);
  TempFolder dir;
  RandomOptions options{.format = RandomFormat::fp8, .seed = 3, .show_progress = false};
  write_random_checkpoint(dir / "m", tiny_config(), options, pool);
  auto file = bind(dir / "m");
  auto store = std::make_shared<WeightStore>();
  ModelWeights w;
  RandomBinder binder(store, pool, options);
  w.each(file->config, binder);
  EXPECT_EQ(all_rows(w.layers[1].down.weight), all_rows(file->weights.layers[1].down.weight));
  EXPECT_EQ(all_rows(w.layers[0].qkv.weight), all_rows(file->weights.layers[0].qkv.weight));
  EXPECT_EQ(all_rows(w.head.weight), all_rows(file->weights.head.weight));
  EXPECT_EQ(all_rows(w.vision.blocks[1].fc1.weight), all_rows(file->weights.vision.blocks[1].fc1.weight));
  EXPECT_EQ(w.layers[0].q_norm.f32()[3], file->weights.layers[0].q_norm.f32()[3]);
  EXPECT_EQ(w.vision.position_table.f32()[17], file->weights.vision.position_table.f32()[17]);
}

}  // namespace
}  // namespace vl8
