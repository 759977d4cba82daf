// Every recipe on small models of both kinds: what is written equals plain loops over the source, loads without a warning
// and runs on every backend.
#include <gmock/gmock.h>

#include <set>

#include "core/file.h"
#include "engine/loaded_model.h"
#include "engine/runner.h"
#include "quant/diff.h"
#include "quant/quantizer.h"
#include "tiny_model.h"

namespace vl8 {
namespace {
using namespace testing;
using ::testing::HasSubstr;

// The tiny model with widths that groups of 32 divide.
std::string wide_config(bool moe, bool tied = false) {
  std::string s = tiny_config(moe, tied);
  auto replace = [&](const std::string& from, const std::string& to) {
    for (size_t at = 0; (at = s.find(from, at)) != std::string::npos; at += to.size()) s.replace(at, from.size(), to);
  };
  replace("\"hidden_size\": 48", "\"hidden_size\": 64");
  replace("\"out_hidden_size\": 48", "\"out_hidden_size\": 64");
  replace("\"intermediate_size\": 72", "\"intermediate_size\": 160");
  replace("\"moe_intermediate_size\": 36", "\"moe_intermediate_size\": 32");
  return s;
}

struct Folder {
  TempFolder dir;
  ThreadPool pool{2};
  QuantizeOptions options;
  explicit Folder(bool moe = false, DType dtype = DType::bf16, uint64_t seed = 3) {
    options.show_progress = false;
    options.plan.group = 32;
    fs::create_directory(dir / "src");
    write_model(dir / "src", wide_config(moe), tiny_tensors(parse_model_config(wide_config(moe), "c"), dtype, seed));
  }
  // Recipes that need calibration get random token ids.
  QuantizeReport run(const std::string& recipe, const char* to, bool calibrated) {
    options.recipe = recipe;
    options.calibration.clear();
    const ModelConfig config = load_model_config(dir / "src");
    for (int i = 0; calibrated && i < 3; ++i) {
      std::vector<int32_t> ids;
      for (int t = 0; t < 40; ++t) ids.push_back(int32_t((t * 7 + i * 11) % 29));
      options.calibration.push_back(prompt_from_ids(ids, {}, {}, config));
    }
    return quantize(dir / "src", dir / to, options, pool);
  }
};

// The weights of a module of the loaded result, and of the source under the same name.
struct Flat {
  std::map<std::string, Weight> weights;
  void vector(Tensor&, const std::string&, int64_t) {}
  void table_f32(Tensor&, const std::string&, int64_t, int64_t) {}
  void table(Weight& w, const std::string& name, int64_t, int64_t) { weights[name.substr(0, name.size() - 7)] = w; }
  void linear(Linear& l, std::initializer_list<LinearPart> parts, int64_t, bool) {
    size_t i = 0;
    for (const LinearPart& p : parts) {
      const WeightPart& part = l.weight.parts[i++];
      weights[p.name] = {.name = p.name, .n = part.rows, .k = l.weight.k, .parts = {part}};
    }
  }
  void experts(Moe& m, const std::string& prefix, int64_t experts, int64_t, int64_t) {
    for (int64_t e = 0; e < experts; ++e) {
      weights[fmt::format("{}.{}.gate_up", prefix, e)] = m.gate_up[size_t(e)].weight;
      weights[fmt::format("{}.{}.down", prefix, e)] = m.down[size_t(e)].weight;
    }
  }
  void head(Linear& l, const std::string& name, const Weight&, int64_t, int64_t, bool) { weights[name] = l.weight; }
};
std::map<std::string, Weight> flat(Bound& b) {
  Flat f;
  b.weights.each(b.config, f);
  return f.weights;
}

// One value through a format under one scale, written here once more and apart from src/quant.
float plain_code(DType type, float w, float s) {
  const float y = w / s;
  switch (type) {
    case DType::e4m3: return e4m3_to_f32(f32_to_e4m3(y)) * s;
    case DType::e5m2: return e5m2_to_f32(f32_to_e5m2(y)) * s;
    case DType::i8: return std::min(127.0f, std::max(-127.0f, std::nearbyint(y))) * s;
    case DType::i4: return std::min(7.0f, std::max(-8.0f, std::nearbyint(y))) * s;
    default: break;
  }
  float best = 0;
  uint8_t best_code = 0;
  for (int c = 0; c < 8; ++c) {  // E2M1: the nearest of all codes, of two alike the even one
    const float v = e2m1_to_f32(uint8_t(c)), d = std::fabs(std::fabs(y) - v), e = std::fabs(std::fabs(y) - best);
    if (c == 0 || d < e || (d == e && best_code % 2 == 1)) best = v, best_code = uint8_t(c);
  }
  return std::copysign(best, y) * s;
}

// Rows row0.. of a matrix, which are one part of what was made, as the format with the rule `max` must hold them.
void expect_plain_part(const std::string& name, const WeightPart& p, int64_t row0, int64_t k, const std::vector<float>& w, const std::vector<float>& q) {
  auto largest = [&](int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
    float most = 0;
    for (int64_t r = r0; r < r1; ++r)
      for (int64_t c = c0; c < c1; ++c) most = std::max(most, std::fabs(w[size_t(r * k + c)]));
    return most;
  };
  const float top = p.dtype == DType::e4m3 ? 448.0f : p.dtype == DType::e5m2 ? 57344.0f : p.dtype == DType::i8 ? 127.0f : p.dtype == DType::i4 ? 7.5f : 6.0f;
  const int64_t height = p.scale_kind == ScaleKind::block ? 128 : p.scale_kind == ScaleKind::tensor ? p.rows : 1;
  const int64_t width = p.scale_kind == ScaleKind::block ? 128 : p.scale_kind == ScaleKind::group ? p.block_cols : k;
  for (int64_t r0 = row0; r0 < row0 + p.rows; r0 += height)
    for (int64_t c0 = 0; c0 < k; c0 += width) {
      const int64_t r1 = std::min(r0 + height, row0 + p.rows), c1 = std::min(c0 + width, k);
      float s = largest(r0, r1, c0, c1) / top;
      if (p.scale_kind == ScaleKind::tensor) {
        EXPECT_GE(p.scale[0], s) << name << ": nothing is clamped";
        EXPECT_LE(p.scale[0], s * 1.02f) << name;
        s = p.scale[0];
      }
      if (p.scale_kind == ScaleKind::group) s = bf16_to_f32(f32_to_bf16(s));
      if (s == 0) s = 1;
      for (int64_t r = r0; r < r1; ++r)
        for (int64_t c = c0; c < c1; ++c) {
          const float want = plain_code(p.dtype, w[size_t(r * k + c)], s);
          ASSERT_EQ(q[size_t(r * k + c)], want) << name << " [" << r << ", " << c << "] of " << w[size_t(r * k + c)] << " under " << s;
        }
    }
}

void expect_plain(const std::string& name, const Weight& made, const Weight& source) {
  const std::vector<float> w = all_rows(source), q = all_rows(made);
  if (made.parts[0].scale_kind == ScaleKind::none) {
    EXPECT_EQ(w, q) << name;
    return;
  }
  int64_t row = 0;
  for (const WeightPart& p : made.parts) {
    expect_plain_part(name, p, row, made.k, w, q);
    row += p.rows;
  }
  EXPECT_EQ(row, made.n);
}

std::vector<float> logits_of(const fs::path& folder, const std::string& backend, Precision precision) {
  LoadedModel m = load_model(folder, {.precision = precision, .backend = backend, .threads = 2});
  std::vector<int32_t> ids;
  for (int t = 0; t < 21; ++t) ids.push_back(int32_t(t * 5 % 29));
  Sequence s(prompt_from_ids(ids, {}, {}, m.config));
  Runner runner(*m.ops, m.config, m.weights, 4, 16);
  std::vector<float> all;
  for (int64_t tokens : {20, 1}) {  // a matrix product, then a single token
    Runner::Work work{&s, tokens, true};
    const Runner::Logits l = runner.step(std::span(&work, 1));
    all.insert(all.end(), l.values.begin(), l.values.end());
  }
  return all;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, square = 0;
  for (size_t i = 0; i < a.size(); ++i) error += std::pow(double(a[i]) - b[i], 2), square += double(a[i]) * a[i];
  return std::sqrt(error / square);
}

bool needs_calibration(const std::string& recipe) { return find_recipe(recipe).static_inputs; }

class RecipeTest : public ::testing::TestWithParam<const char*> {};

TEST_P(RecipeTest, IsItsPlainReferenceAndRuns) {
  for (bool moe : {false, true})
    for (DType dtype : {DType::bf16, DType::f32}) {
      Folder f(moe, dtype);
      f.options.rule = ScaleRule::max;
      f.options.gptq = false;
      QuantizeReport r = f.run(GetParam(), "dst", needs_calibration(GetParam()));
      auto made = bind(f.dir / "dst"), source = bind(f.dir / "src");
      EXPECT_TRUE(made->report.warnings.empty()) << made->report.warnings[0];
      auto want = flat(*source);
      std::set<std::string> formats;
      for (auto& [name, weight] : flat(*made)) expect_plain(name, weight, want.at(name));
      for (const ModuleReport& m : r.modules) formats.insert(m.format);
      EXPECT_FALSE(formats.empty());
      for (Precision p : {Precision::f32, Precision::w8a8}) {
        const std::vector<float> cpu = logits_of(f.dir / "dst", "cpu", p), reference = logits_of(f.dir / "dst", "reference", p);
        EXPECT_LT(distance(reference, cpu), p == Precision::f32 ? 1e-5 : 2e-2);
      }
      EXPECT_LT(distance(logits_of(f.dir / "dst", "reference", Precision::f32), logits_of(f.dir / "dst", "cpu", Precision::bf16)), 2e-2);
      EXPECT_LT(distance(logits_of(f.dir / "src", "cpu", Precision::f32), logits_of(f.dir / "dst", "cpu", Precision::f32)),
                formats.contains("INT4 group 32") || formats.contains("E2M1 group 32") ? 0.35 : 0.15);
      EXPECT_FALSE(fs::exists(f.dir / "dst.partial"));
    }
}

TEST_P(RecipeTest, CalibratesThroughTheEngine) {
  for (bool moe : {false, true}) {
    Folder f(moe);
    QuantizeReport r = f.run(GetParam(), "dst", true);
    int64_t measured = 0, language = 0;
    for (const ModuleReport& m : r.modules)
      if (m.layer >= 0 && m.kind != "vision") ++language, measured += m.output_sqnr_db > 0;
    if (!find_recipe(GetParam()).official || !moe) {
      EXPECT_GE(measured, moe ? language / 2 : language) << "of " << language;
    }
    auto made = bind(f.dir / "dst");
    EXPECT_TRUE(made->report.warnings.empty()) << made->report.warnings[0];
    for (float l : logits_of(f.dir / "dst", "cpu", Precision::bf16)) ASSERT_TRUE(std::isfinite(l));
    if (find_recipe(GetParam()).static_inputs) {
      for (const TextLayer& l : made->weights.layers) EXPECT_GT(l.qkv.weight.input_scale, 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RecipeTest, ::testing::Values("fp8-block128", "fp8-rowwise", "fp8-layered", "fp8-mixed", "int8", "int4-fp8", "fp4-fp8"),
                         [](const auto& info) {
                           std::string s = info.param;
                           std::replace(s.begin(), s.end(), '-', '_');
                           return s;
                         });

TEST(Recipes, HeadAndTableInEightBits) {
  Folder f;
  f.options.plan.head_bits = 8;
  f.run("fp8-rowwise", "dst", false);
  auto made = bind(f.dir / "dst");
  EXPECT_EQ(made->weights.embed.parts[0].dtype, DType::e4m3);
  EXPECT_EQ(made->weights.head.weight.parts[0].dtype, DType::e4m3);
  f.options.plan.head_bits = 16;
  f.run("int4-fp8", "dst16", false);
  EXPECT_EQ(bind(f.dir / "dst16")->weights.embed.parts[0].dtype, DType::bf16);
}

TEST(Recipes, GroupsThatDoNotFitAreNoted) {
  Folder f;
  f.options.plan.group = 128;  // the widths are 64 and 160
  QuantizeReport r = f.run("int4-fp8", "dst", false);
  ASSERT_FALSE(r.notes.empty());
  EXPECT_THAT(r.notes[0], HasSubstr("do not divide into groups of 128"));
}

// Blocks of zeros stay zeros, the smallest and the largest BF16 numbers stay finite and of their sign.
TEST(Recipes, ZerosSubnormalsAndExtremes) {
  for (const Recipe& recipe : recipes()) {
    if (std::string_view(recipe.name) == "auto") continue;  // its formats come from the search
    Folder f;
    const std::string name = "model.language_model.layers.0.mlp.up_proj.weight";
    Tensors t = tiny_tensors(parse_model_config(wide_config(false), "c"), DType::bf16, 5);
    std::vector<float> v = loaded(t[name]);
    std::fill_n(v.begin(), 64 * 3, 0.0f);
    for (int i = 64 * 3; i < 64 * 6; ++i) v[size_t(i)] = std::ldexp(float(i % 5 - 2), -130);
    v[64 * 7] = 3.0e38f, v[64 * 7 + 1] = -1e30f;
    t[name] = stored(DType::bf16, t[name].shape, v);
    write_model(f.dir / "src", wide_config(false), t);
    f.run(recipe.name, "dst", recipe.static_inputs);
    auto made = bind(f.dir / "dst");
    const Weight up = flat(*made).at("language_model.layers.0.mlp.up_proj");
    const std::vector<float> q = all_rows(up);
    for (size_t i = 0; i < q.size(); ++i) {
      ASSERT_TRUE(std::isfinite(q[i])) << recipe.name << " " << i;
      if (i < 64 * 3) {
        ASSERT_EQ(q[i], 0) << recipe.name;
      }
      ASSERT_FALSE(v[i] > 0 && q[i] < 0) << recipe.name;
    }
    EXPECT_GT(q[64 * 7], 2.5e38f) << recipe.name;
  }
}

TEST(Recipes, DiffSaysWhatTheReportSays) {
  Folder f;
  QuantizeReport r = f.run("fp8-rowwise", "dst", false);
  CheckpointDiff d = diff_checkpoints(f.dir / "src", f.dir / "dst", f.pool);
  std::map<std::string, const ModuleDiff*> by_name;
  for (const ModuleDiff& m : d.modules) by_name[m.module] = &m;
  for (const ModuleReport& m : r.modules) {
    const ModuleDiff& diff = *by_name.at(m.module);
    EXPECT_NEAR(diff.error.relative(), m.relative_error, 1e-4 * m.relative_error) << m.module;
    EXPECT_EQ(diff.format_b, "F8_E4M3 channel");
    EXPECT_FALSE(diff.equal);
  }
  EXPECT_TRUE(by_name.at("language_model.norm.weight")->equal);
  EXPECT_THAT(d.config[0], HasSubstr("quantization_config"));
  EXPECT_TRUE(diff_checkpoints(f.dir / "dst", f.dir / "dst", f.pool).config.empty());
}

}  // namespace
}  // namespace vl8
