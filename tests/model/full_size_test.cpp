// The CUDA backend against the CPU backend on layers of the published sizes with random weights: what tiny checkpoints do not
// reach (tiles that fill, 128-wide heads, real vision heads). Needs a GPU and the published configurations.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "core/file.h"
#include "cuda/cuda_ops.h"
#include "engine/loaded_model.h"
#include "io/random_checkpoint.h"
#include "support/paths.h"

namespace vl8 {
namespace {

struct Built {
  std::unique_ptr<Ops> ops;
  std::shared_ptr<WeightStore> store = std::make_shared<WeightStore>();
  ModelWeights weights;
  Built(const std::string& backend, Precision precision, const ModelConfig& config) {
    EngineOptions o;
    o.backend = backend, o.precision = precision;
    ops = make_ops(o);
    ThreadPool pool(0);
    RandomBinder binder(store, pool, {.format = RandomFormat::fp8, .show_progress = false});
    weights.each(config, binder);
    prepare(*ops, config, weights);
  }
};

struct Result {
  std::vector<float> logits, features, decoded;
};

Result run(Built& m, const ModelConfig& config, const std::vector<float>& patches, const Grid& grid, int64_t tokens) {
  Result r;
  const int64_t columns = config.vision.patch_features();
  std::vector<float> copy = patches;
  VisionFeatures f = vision_forward(*m.ops, config.vision, m.weights.vision, {copy.data(), DType::f32, {grid.patches(), columns}}, std::span(&grid, 1));
  r.features = m.ops->download(f.main.tensor);
  KvCache kv = m.ops->make_kv_cache(config.text.layers, config.text.kv_heads, config.text.head_dim, 64, 16);
  std::vector<int32_t> pages(16);
  std::iota(pages.begin(), pages.end(), 0);
  auto step = [&](int64_t begin, int64_t n, std::span<const VisualSpan> visual) {
    std::vector<int32_t> ids, positions, rows;
    for (int64_t i = 0; i < n; ++i) ids.push_back(int32_t((begin + i) * 7919 % 100000)), rows.push_back(int32_t(i));
    for (int axis = 0; axis < 3; ++axis)
      for (int64_t i = 0; i < n; ++i) positions.push_back(int32_t(begin + i));
    const SequenceView view{0, int32_t(n), int32_t(begin + n), pages.data()};
    return m.ops->download(text_forward(*m.ops, config.text, m.weights, {ids, positions.data(), std::span(&view, 1), visual, rows}, kv));
  };
  VisualSpan span{10, f.main.tensor, {}};
  for (const Kept& d : f.deepstack) span.deepstack.push_back(d.tensor);
  r.logits = step(0, tokens, std::span(&span, 1));
  for (int64_t i = 0; i < 4; ++i) {  // eager, then recorded and replayed
    std::vector<float> one = step(tokens + i, 1, {});
    r.decoded.insert(r.decoded.end(), one.begin(), one.end());
  }
  m.ops->free_kv_cache(kv);
  return r;
}

double least_cosine(const std::vector<float>& a, const std::vector<float>& b, size_t width) {
  EXPECT_EQ(a.size(), b.size());
  double least = 1;
  for (size_t at = 0; at + width <= std::min(a.size(), b.size()); at += width) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = at; i < at + width; ++i) ab += double(a[i]) * double(b[i]), aa += double(a[i]) * double(a[i]), bb += double(b[i]) * double(b[i]);
    least = std::min(least, ab / std::sqrt(aa * bb));
    if (!std::isfinite(ab) || !std::isfinite(aa)) return -2;
  }
  return least;
}

class FullSize : public ::testing::TestWithParam<std::tuple<const char*, Precision>> {};

TEST_P(FullSize, CudaIsTheCpu) {
  if (!cuda_usable()) GTEST_SKIP() << "no GPU";
  auto [name, precision] = GetParam();
  const auto file = testing::shared_dir().value_or("../shared") / "qwen3-vl" / "configs" / name;
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is not here";
  ModelConfig config = parse_model_config(read_file(file, 1 << 20), file.string());
  config.text.layers = 2, config.vision.depth = 2, config.vision.deepstack = {0, 1};
  const Grid grid{1, 16, 24};
  std::mt19937 rng(std::random_device{}());
  std::vector<float> patches(size_t(grid.patches() * config.vision.patch_features()));
  for (float& p : patches) p = std::uniform_real_distribution<float>(-1, 1)(rng);
  Built cpu("cpu", Precision::bf16, config), cuda("cuda", precision, config);
  const Result want = run(cpu, config, patches, grid, 261), got = run(cuda, config, patches, grid, 261);
  const size_t v = size_t(config.text.vocab_size);
  const double features = least_cosine(got.features, want.features, size_t(config.text.hidden_size));
  const double prompt = least_cosine(got.logits, want.logits, v), decoded = least_cosine(got.decoded, want.decoded, v);
  std::printf("%s: least cosine of picture features %.6f, prompt logits %.6f, decoded logits %.6f\n", name, features, prompt, decoded);
  const double limit = precision == Precision::w8a8 ? 0.99 : 0.999;
  EXPECT_GE(features, 0.999);
  EXPECT_GE(prompt, limit);
  EXPECT_GE(decoded, limit);
}

INSTANTIATE_TEST_SUITE_P(Shapes, FullSize,
                         ::testing::Combine(::testing::Values("8b-fp8.derived.json", "30b-a3b-fp8.derived.json"),
                                            ::testing::Values(Precision::bf16, Precision::w8a8)),
                         [](const auto& info) {
                           std::string name(std::get<0>(info.param));
                           std::replace_if(name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
                           return name + (std::get<1>(info.param) == Precision::bf16 ? "_bf16" : "_w8a8");
                         });

}  // namespace
}  // namespace vl8
