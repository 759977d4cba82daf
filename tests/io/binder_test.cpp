#include "io/weight_binder.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tiny_model.h"

namespace vl8 {
namespace {
using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const char* kBlocks =
    R"({"quant_method": "fp8", "weight_block_size": [16, 32], "ignored_layers": ["lm_head", "visual", "mlp.gate"]})";
const std::string kQ = "model.language_model.layers.1.self_attn.q_proj";

ModelConfig parsed(const std::string& json) {
  return parse_model_config(json, "config.json");
}
std::vector<float> floats(const Tensor& t) {
  return {t.f32(), t.f32() + t.shape.elements()};
}

// The rows of several stored matrices, one after another.
std::vector<float> joined(const Tensors& t, std::initializer_list<std::string> names) {
  std::vector<float> out;
  for (const std::string& n : names)
    for (float v : loaded(t.at(n))) out.push_back(v);
  return out;
}

// Every weight of a dense model against the stored values.
void expect_dense(const Bound& b, const Tensors& t) {
  const ModelWeights& w = b.weights;
  for (size_t i = 0; i < w.layers.size(); ++i) {
    std::string p = "model.language_model.layers." + std::to_string(i) + ".";
    EXPECT_EQ(all_rows(w.layers[i].qkv.weight),
              joined(t, {p + "self_attn.q_proj.weight", p + "self_attn.k_proj.weight",
                         p + "self_attn.v_proj.weight"}));
    EXPECT_EQ(all_rows(w.layers[i].gate_up.weight),
              joined(t, {p + "mlp.gate_proj.weight", p + "mlp.up_proj.weight"}));
    EXPECT_EQ(all_rows(w.layers[i].down.weight), joined(t, {p + "mlp.down_proj.weight"}));
    EXPECT_EQ(floats(w.layers[i].q_norm), joined(t, {p + "self_attn.q_norm.weight"}));
  }
  EXPECT_EQ(all_rows(w.embed), joined(t, {"model.language_model.embed_tokens.weight"}));
  EXPECT_EQ(all_rows(w.head.weight), joined(t, {"lm_head.weight"}));
  EXPECT_EQ(all_rows(w.vision.patch_embed.weight), joined(t, {"model.visual.patch_embed.proj.weight"}));
  EXPECT_EQ(w.vision.patch_embed.weight.k, 1536);
  EXPECT_EQ(floats(w.vision.patch_embed.bias), joined(t, {"model.visual.patch_embed.proj.bias"}));
  EXPECT_EQ(floats(w.vision.position_table), joined(t, {"model.visual.pos_embed.weight"}));
  EXPECT_EQ(floats(w.vision.blocks[1].fc2.bias), joined(t, {"model.visual.blocks.1.mlp.linear_fc2.bias"}));
}

TEST(Binder, EveryFloatTypeAndReadMode) {
  for (DType dtype : {DType::bf16, DType::f16, DType::f32})
    for (ReadMode mode : {ReadMode::on_demand, ReadMode::background, ReadMode::wait}) {
      TempFolder dir;
      ModelConfig config = parsed(tiny_config());
      Tensors t = tiny_tensors(config, dtype, 7);
      write_model(dir.path(), tiny_config(), t);
      auto b = bind(dir.path(), mode);
      expect_dense(*b, t);
      EXPECT_EQ(size_t(b->report.tensors), t.size());
      EXPECT_TRUE(b->report.warnings.empty());
      EXPECT_EQ(b->weights.layers[0].qkv.weight.parts[0].dtype, dtype);
    }
}

TEST(Binder, NamesWithoutTheModelPrefix) {
  TempFolder dir;
  Tensors t = tiny_tensors(parsed(tiny_config()), DType::bf16, 8), plain;
  for (const auto& [name, s] : t) plain[canonical_name(name)] = s;
  write_model(dir.path(), tiny_config(), plain);
  expect_dense(*bind(dir.path()), t);
}

TEST(Binder, MappedWeightsAreNotCopied) {
  TempFolder dir;
  write_model(dir.path(), tiny_config(), tiny_tensors(parsed(tiny_config()), DType::bf16, 9));
  auto b = bind(dir.path());
  std::span<const std::byte> file = b->store->checkpoint().files()[0].file().bytes();
  auto inside = [&](const void* p) { return p >= file.data() && p < file.data() + file.size(); };
  EXPECT_TRUE(inside(b->weights.layers[0].qkv.weight.parts[1].data));
  EXPECT_TRUE(inside(b->weights.embed.parts[0].data));
  EXPECT_FALSE(inside(b->weights.norm.data));
}

TEST(Binder, TiedHeads) {
  ModelConfig config = parsed(tiny_config(false, true));
  Tensors t = tiny_tensors(config, DType::bf16, 10);
  ASSERT_FALSE(t.contains("lm_head.weight"));
  TempFolder a, b;
  write_model(a.path(), tiny_config(false, true), t);
  auto tied = bind(a.path());
  EXPECT_EQ(tied->weights.head.weight.parts[0].data, tied->weights.embed.parts[0].data);
  // A stored head beside a tie flag is accepted and ignored (spec 12), whatever it holds.
  t["lm_head.weight"] = stored(DType::f32, {1}, {5});
  write_model(b.path(), tiny_config(false, true), t);
  auto ignored = bind(b.path());
  EXPECT_EQ(ignored->report.ignored_bytes, 4u);
  EXPECT_EQ(ignored->weights.head.weight.parts[0].data, ignored->weights.embed.parts[0].data);
}

// w[r][c] = q[r][c] * scale of its block, with a deliberately odd block size so that edge blocks matter.
std::vector<float> dequantised(const Stored& q, const Stored& s, int64_t br, int64_t bc) {
  std::vector<float> w = loaded(q), scale = loaded(s);
  const int64_t k = q.shape[1], columns = (k + bc - 1) / bc;
  for (int64_t i = 0; i < int64_t(w.size()); ++i)
    w[size_t(i)] *= scale[size_t(i / k / br * columns + i % k / bc)];
  return w;
}

// Replaces a module's weight by FP8 codes and a companion.
void quantise(Tensors& t, const std::string& module, DType code, const char* suffix, DType scale_type,
              Shape scale_shape, uint64_t seed) {
  std::mt19937_64 rng(seed);
  Stored& w = t.at(module + ".weight");
  w = stored(code, w.shape, random_floats(size_t(w.shape.elements()), rng, 50));
  std::vector<float> scale = random_floats(size_t(scale_shape.elements()), rng, 0.01f);
  for (float& s : scale)
    s = scale_type == DType::e8m0 ? std::exp2(float(int(rng() % 8)) - 10) : std::abs(s) + 0.001f;
  t[module + suffix] = stored(scale_type, scale_shape, scale);
}

TEST(Binder, BlockScalesOfEveryType) {
  for (DType code : {DType::e4m3, DType::e5m2})
    for (DType type : {DType::f32, DType::bf16, DType::f16, DType::e8m0})
      for (const char* suffix : {".weight_scale_inv", ".weight_scale"}) {
        TempFolder dir;
        std::string config = tiny_config(false, false, kBlocks);
        Tensors t = tiny_tensors(parsed(config), DType::bf16, 11);
        const std::string down = "model.language_model.layers.0.mlp.down_proj";  // [48, 72]
        quantise(t, down, code, suffix, type, {3, 3}, 12);
        quantise(t, kQ, code, suffix, type, {4, 2}, 13);  // [64, 48]
        write_model(dir.path(), config, t);
        auto b = bind(dir.path());
        EXPECT_EQ(b->report.quantised_modules, 2);
        EXPECT_EQ(all_rows(b->weights.layers[0].down.weight),
                  dequantised(t[down + ".weight"], t[down + suffix], 16, 32));
        const Weight& qkv = b->weights.layers[1].qkv.weight;
        EXPECT_EQ(qkv.parts[0].dtype, code);
        EXPECT_EQ(qkv.parts[1].dtype, DType::bf16) << "each part keeps its own type";
        std::vector<float> rows = all_rows(qkv),
                           expected = dequantised(t[kQ + ".weight"], t[kQ + suffix], 16, 32);
        rows.resize(expected.size());
        EXPECT_EQ(rows, expected);
        ASSERT_EQ(b->report.warnings.size(), 1u)
            << "the other twelve language linears are not quantised though the config says so";
        EXPECT_THAT(b->report.warnings[0], HasSubstr("and 11 more are not quantised though config.json says so"));
      }
}

TEST(Binder, TensorAndChannelScales) {
  struct Case {
    Shape shape;
    int64_t block_rows;  // of the scale as applied; 64: per tensor
  };
  for (const Case& c : {Case{{}, 64}, Case{{1}, 64}, Case{{1, 1}, 64}, Case{{64}, 1}, Case{{64, 1}, 1}})
    for (
        const char* method :
        {R"({"quant_method": "fp8", "activation_scheme": "static"})",
         R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"g": {"weights":
                                  {"num_bits": 8, "type": "float", "strategy": "channel"}, "input_activations": {"dynamic": false}}}})"}) {
      TempFolder dir;
      std::string config = tiny_config(false, false, method);
      Tensors t = tiny_tensors(parsed(config), DType::bf16, 14);
      quantise(t, kQ, DType::e4m3, ".weight_scale", DType::bf16, c.shape, 15);
      t[kQ + ".input_scale"] = stored(DType::f32, {1}, {0.5f});
      write_model(dir.path(), config, t);
      auto b = bind(dir.path());
      std::vector<float> rows = all_rows(b->weights.layers[1].qkv.weight);
      std::vector<float> expected = dequantised(t[kQ + ".weight"], t[kQ + ".weight_scale"], c.block_rows, 48);
      rows.resize(expected.size());
      EXPECT_EQ(rows, expected) << c.shape.str();
      EXPECT_EQ(b->weights.layers[1].qkv.weight.input_scale, 0.5f);
      EXPECT_EQ(b->weights.layers[1].qkv.weight.parts[0].scale_kind,
                c.block_rows == 1 ? ScaleKind::channel : ScaleKind::tensor);
    }
}

TEST(Binder, StaticActivationScales) {
  const char* fp8 =
      R"({"quant_method": "fp8", "activation_scheme": "static", "ignored_layers": ["lm_head"]})";
  TempFolder dir, other;
  std::string config = tiny_config(false, false, fp8);
  Tensors t = tiny_tensors(parsed(config), DType::bf16, 16);
  const std::string base = "model.language_model.layers.0.self_attn.";
  for (const char* m : {"q_proj", "k_proj", "v_proj"})
    quantise(t, base + m, DType::e4m3, ".weight_scale_inv", DType::f32, {}, 17);
  t[base + "q_proj.activation_scale"] = stored(DType::f32, {}, {0.25f});
  t[base + "k_proj.input_scale"] = stored(DType::f32, {1}, {0.75f});
  write_model(dir.path(), config, t);
  auto b = bind(dir.path());
  EXPECT_EQ(b->weights.layers[0].qkv.weight.input_scale, 0.75f) << "the largest of the parts";
  EXPECT_THAT(b->report.warnings, ::testing::Contains(HasSubstr("no input_scale")));
  write_model(other.path(), tiny_config(false, false, R"({"quant_method": "fp8"})"), t);
  auto dynamic = bind(other.path());
  EXPECT_EQ(dynamic->weights.layers[0].qkv.weight.input_scale, 0.0f);
  EXPECT_THAT(dynamic->report.warnings,
              ::testing::Contains(HasSubstr("dynamic activations; it is not used")));
}

TEST(Binder, ContradictionsAreWarnings) {
  TempFolder a, b;
  Tensors t = tiny_tensors(parsed(tiny_config()), DType::bf16, 18);
  quantise(t, kQ, DType::e4m3, ".weight_scale_inv", DType::f32, {1}, 19);
  write_model(a.path(), tiny_config(), t);
  EXPECT_THAT(bind(a.path())->report.warnings, ::testing::ElementsAre(HasSubstr("no quantization_config")));
  write_model(
      b.path(),
      tiny_config(
          false, false,
          R"({"quant_method": "fp8", "ignored_layers": ["q_proj", "re:.*(k|v|o|gate|up|down)_proj", "lm_head"]})"),
      t);
  EXPECT_THAT(
      bind(b.path())->report.warnings,
      ::testing::ElementsAre(AllOf(HasSubstr("layers.1.self_attn.q_proj"), HasSubstr("not quantised"))));
  for (const char* pattern : {"re:(", "re:(a+)+$"}) {
    TempFolder c;
    write_model(
        c.path(),
        tiny_config(false, false,
                    R"({"quant_method": "fp8", "ignored_layers": [")" + std::string(pattern) + "\"]}"),
        t);
    if (std::string(pattern) == "re:(")
      EXPECT_THAT(error_of([&] { bind(c.path()); }), HasSubstr("not a regular expression"));
    else
      EXPECT_NO_THROW(bind(c.path()));
  }
}

TEST(Binder, FaultsComeInOneError) {
  TempFolder dir;
  std::string config = tiny_config(false, false, kBlocks);
  Tensors t = tiny_tensors(parsed(config), DType::bf16, 20);
  t.erase("model.visual.blocks.0.norm1.bias");
  t.erase(kQ + ".weight");
  t["model.language_model.norm.weight"] = stored(DType::bf16, {47}, std::vector<float>(47));
  t["model.language_model.layers.0.mlp.up_proj.weight"] =
      stored(DType::bf16, {48, 72}, std::vector<float>(48 * 72));
  t["lm_head.weight"] = stored(DType::e4m3, {40, 48}, std::vector<float>(40 * 48));
  t["surplus"] = stored(DType::f32, {2, 2}, std::vector<float>(4));
  const std::string v = "model.language_model.layers.1.self_attn.v_proj";
  quantise(t, v, DType::e4m3, ".weight_scale_inv", DType::f32, {5, 2}, 21);
  write_model(dir.path(), config, t);
  std::string error = error_of([&] { bind(dir.path()); });
  EXPECT_THAT(
      error,
      AllOf(HasSubstr(dir.path().string()),
            HasSubstr("visual.blocks.0.norm1.bias is missing (expected [16])"),
            HasSubstr("language_model.layers.1.self_attn.q_proj.weight is missing (expected [64, 48])"),
            HasSubstr("language_model.norm.weight is BF16 [47] (expected [48]"),
            HasSubstr("layers.0.mlp.up_proj.weight is [48, 72] (expected [72, 48])")));
  EXPECT_THAT(
      error,
      AllOf(
          HasSubstr("lm_head.weight_scale_inv (or .weight_scale) is missing: lm_head.weight is F8_E4M3"),
          HasSubstr("surplus F32 [2, 2] has no place in this model"),
          HasSubstr(
              "v_proj.weight_scale_inv is F32 [5, 2] (expected a float type, and [2, 2] for 16x32 blocks")));
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 7);

  TempFolder empty;
  write_model(empty.path(), config, {{"a", stored(DType::f32, {1}, {1})}});
  error = error_of([&] { bind(empty.path()); });
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 11) << error;
  EXPECT_THAT(error, HasSubstr("more"));
}

TEST(Binder, ScalesAndNormsThatAreNotFinite) {
  std::string config = tiny_config(false, false, kBlocks);
  for (const char* name : {"model.language_model.norm.weight",
                           "model.language_model.layers.1.self_attn.q_proj.weight_scale_inv"}) {
    TempFolder dir;
    Tensors t = tiny_tensors(parsed(config), DType::bf16, 22);
    quantise(t, kQ, DType::e4m3, ".weight_scale_inv", DType::f32, {4, 2}, 23);
    std::vector<float> v = loaded(t[name]);
    v[3] = std::numeric_limits<float>::quiet_NaN();
    t[name] = stored(t[name].dtype, t[name].shape, v);
    write_model(dir.path(), config, t);
    EXPECT_THAT(error_of([&] { bind(dir.path()); }), AllOf(HasSubstr(name), HasSubstr("element 3"))) << name;
  }
}

TEST(Binder, KnownLeftOversAreIgnored) {
  TempFolder dir;
  Tensors t = tiny_tensors(parsed(tiny_config()), DType::bf16, 24);
  t["model.language_model.layers.0.self_attn.k_scale"] = stored(DType::f32, {}, {1});
  t["model.language_model.rotary_emb.inv_freq"] = stored(DType::f32, {2}, {1, 1});
  write_model(dir.path(), tiny_config(), t);
  auto b = bind(dir.path());
  EXPECT_EQ(b->report.warnings.size(), 1u);
  EXPECT_EQ(b->report.ignored_bytes, 12u);
}

TEST(Binder, ScaleWithoutFp8WeightHasNoPlace) {
  TempFolder dir;
  Tensors t = tiny_tensors(parsed(tiny_config()), DType::bf16, 25);
  t[kQ + ".weight_scale_inv"] = stored(DType::f32, {1}, {1});
  write_model(dir.path(), tiny_config(), t);
  EXPECT_THAT(error_of([&] { bind(dir.path()); }), HasSubstr("q_proj.weight_scale_inv F32 [1] has no place"));
}

// --- experts: E = 3, H = 48, M = 36
struct ExpertLayout {
  const char* what;
  DType dtype;
  bool published;  // [E, in, out]; else rows
  Shape gate_up_scale, down_scale;
};

std::vector<float> swapped(const std::vector<float>& in, int64_t matrices, int64_t rows, int64_t cols) {
  std::vector<float> out(in.size());
  for (int64_t m = 0; m < matrices; ++m)
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c)
        out[size_t((m * cols + c) * rows + r)] = in[size_t((m * rows + r) * cols + c)];
  return out;
}

TEST(Binder, FusedExpertsInBothOrientations) {
  const std::string base = "model.language_model.layers.1.mlp.experts.";
  const ExpertLayout layouts[] = {
      {"bf16 published", DType::bf16, true, {}, {}},
      {"bf16 rows", DType::bf16, false, {}, {}},
      {"f32 published", DType::f32, true, {}, {}},
      {"fp8 blocks published", DType::e4m3, true, {3, 2, 3}, {3, 2, 2}},  // stored blocks of 32 x 32
      {"fp8 blocks rows", DType::e4m3, false, {3, 3, 2}, {3, 2, 2}},
      {"fp8 per expert", DType::e4m3, true, {3}, {3, 1, 1}},
      {"fp8 channels published", DType::e4m3, true, {3, 1, 72}, {3, 1, 48}},
      {"fp8 channels rows", DType::e4m3, false, {3, 72, 1}, {3, 48}},
  };
  for (const ExpertLayout& l : layouts) {
    SCOPED_TRACE(l.what);
    const bool fp8 = l.dtype == DType::e4m3,
               blocks = fp8 && std::string(l.what).find("blocks") != std::string::npos;
    std::string config = tiny_config(true, false,
                                     !fp8     ? ""
                                     : blocks ? R"({"quant_method": "fp8", "weight_block_size": [32, 32]})"
                                              : R"({"quant_method": "fp8"})");
    ModelConfig c = parsed(config);
    Tensors t = tiny_tensors(c, DType::bf16, 30);
    std::mt19937_64 rng(31);
    std::map<std::string, std::vector<float>> expected;
    for (auto [name, rows, k, scale_shape] :
         {std::tuple{"gate_up_proj", 72, 48, l.gate_up_scale}, {"down_proj", 48, 36, l.down_scale}}) {
      std::vector<float> by_rows = random_floats(size_t(3 * rows * k), rng, fp8 ? 40 : 0.05f);
      Stored as_rows = stored(l.dtype, {3, rows, k}, by_rows);
      by_rows = loaded(as_rows);
      t[base + name] = l.published ? stored(l.dtype, {3, k, rows}, swapped(by_rows, 3, rows, k)) : as_rows;
      if (fp8) {
        std::vector<float> scale = random_floats(size_t(scale_shape.elements()), rng, 0.01f);
        t[base + name + "_scale_inv"] = stored(DType::f32, scale_shape, scale);
        // The meaning of each stored shape, element by element.
        for (int64_t e = 0; e < 3; ++e)
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t i = 0; i < k; ++i) {
              int64_t per = scale_shape.elements() / 3, at = 0;
              if (blocks && l.published)
                at = i / 32 * scale_shape[2] + r / 32;
              else if (blocks)
                at = r / 32 * scale_shape[2] + i / 32;
              else if (per > 1)
                at = r;
              by_rows[size_t((e * rows + r) * k + i)] *= scale[size_t(e * per + at)];
            }
      }
      expected[name] = by_rows;
    }
    for (int threads : {1, 3}) {
      TempFolder dir;
      write_model(dir.path(), config, t);
      auto b = bind(dir.path(), ReadMode::wait, threads);
      const Moe& moe = b->weights.layers[1].moe;
      ASSERT_EQ(moe.gate_up.size(), 3u);
      std::vector<float> gate_up, down;
      for (size_t e = 0; e < 3; ++e) {
        for (float v : all_rows(moe.gate_up[e].weight)) gate_up.push_back(v);
        for (float v : all_rows(moe.down[e].weight)) down.push_back(v);
      }
      EXPECT_EQ(gate_up, expected["gate_up_proj"]);
      EXPECT_EQ(down, expected["down_proj"]);
      EXPECT_EQ(all_rows(moe.router.weight), joined(t, {"model.language_model.layers.1.mlp.gate.weight"}));
      EXPECT_EQ(b->report.quantised_modules, fp8 ? 6 : 0);
    }
  }
}

TEST(Binder, ExpertsOneTensorEach) {
  std::string config = tiny_config(true);
  Tensors t = tiny_tensors(parsed(config), DType::bf16, 40);
  std::mt19937_64 rng(41);
  for (int layer = 0; layer < 2; ++layer) {
    std::string base = "model.language_model.layers." + std::to_string(layer) + ".mlp.experts.";
    t.erase(base + "gate_up_proj"), t.erase(base + "down_proj");
    for (int e = 0; e < 3; ++e) {
      std::string p = base + std::to_string(e) + ".";
      t[p + "gate_proj.weight"] = stored(DType::bf16, {36, 48}, random_floats(36 * 48, rng));
      t[p + "up_proj.weight"] = stored(DType::bf16, {36, 48}, random_floats(36 * 48, rng));
      t[p + "down_proj.weight"] = stored(DType::bf16, {48, 36}, random_floats(36 * 48, rng));
      quantise(t, p + "up_proj", DType::e4m3, ".weight_scale_inv", DType::bf16, {1, 1}, rng());
    }
  }
  TempFolder dir;
  write_model(dir.path(), config, t);
  auto b = bind(dir.path());
  std::string p = "model.language_model.layers.1.mlp.experts.2.";
  std::vector<float> expected = loaded(t[p + "gate_proj.weight"]);
  for (float v : dequantised(t[p + "up_proj.weight"], t[p + "up_proj.weight_scale_inv"], 128, 128))
    expected.push_back(v);
  EXPECT_EQ(all_rows(b->weights.layers[1].moe.gate_up[2].weight), expected);
  EXPECT_EQ(all_rows(b->weights.layers[1].moe.down[2].weight), loaded(t[p + "down_proj.weight"]));
}

// H = M leaves the down projection open: it lies like its partner.
TEST(Binder, SquareExpertsFollowTheirPartner) {
  std::string config = tiny_config(true);
  size_t at = config.find("\"moe_intermediate_size\": 36");
  config.replace(at, 27, "\"moe_intermediate_size\": 48");
  ModelConfig c = parsed(config);
  ASSERT_EQ(c.text.expert_intermediate, c.text.hidden_size);
  for (bool published : {true, false}) {
    Tensors t = tiny_tensors(c, DType::bf16, 50);
    const std::string base = "model.language_model.layers.0.mlp.experts.";
    if (!published)
      for (int layer = 0; layer < 2; ++layer)
        t["model.language_model.layers." + std::to_string(layer) + ".mlp.experts.gate_up_proj"].shape = {
            3, 96, 48};
    TempFolder dir;
    write_model(dir.path(), config, t);
    auto b = bind(dir.path());
    std::vector<float> file = loaded(t[base + "down_proj"]), down;
    for (size_t e = 0; e < 3; ++e)
      for (float v : all_rows(b->weights.layers[0].moe.down[e].weight)) down.push_back(v);
    EXPECT_EQ(down, published ? swapped(file, 3, 48, 48) : file);
  }
}

TEST(Binder, MisshapenExperts) {
  std::string config = tiny_config(true);
  Tensors t = tiny_tensors(parsed(config), DType::bf16, 60);
  const std::string base = "model.language_model.layers.0.mlp.experts.";
  t[base + "gate_up_proj"].shape = {3, 36, 96};
  t.erase(base + "down_proj");
  TempFolder dir;
  write_model(dir.path(), config, t);
  std::string error = error_of([&] { bind(dir.path()); });
  EXPECT_THAT(error, AllOf(HasSubstr("gate_up_proj is [3, 36, 96] (expected [3, 48, 72] or [3, 72, 48])"),
                           HasSubstr("down_proj is missing (expected [3, 36, 48])")));
}

// A file may put a tensor at any byte; views of the model are aligned all the same.
TEST(Binder, UnalignedFiles) {
  Tensors t = tiny_tensors(parsed(tiny_config()), DType::bf16, 70);
  TempFolder dir;
  write_model(dir.path(), tiny_config(), t);
  std::string header =
      R"({"model.language_model.rotary_emb.inv_freq":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  std::string data(1, 'x');
  for (const auto& [name, s] : t) {
    size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(s.bytes.data()), s.bytes.size());
    std::string shape = s.shape.str();
    header += ",\"" + name + "\":{\"dtype\":\"BF16\",\"shape\":" + shape + ",\"data_offsets\":[" +
              std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
  }
  header += "}";
  uint64_t length = header.size();
  write_text(dir / "model.safetensors",
             std::string(reinterpret_cast<const char*>(&length), 8) + header + data);
  auto b = bind(dir.path());
  expect_dense(*b, t);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b->weights.layers[0].qkv.weight.parts[0].data) % 2, 0u);
}

TEST(ScaleLayout, Rules) {
  EXPECT_EQ(scale_layout({3, 2}, 320, 192, 128, 128)->kind, ScaleKind::block);
  EXPECT_EQ(scale_layout({3, 2}, 320, 192, 0, 0)->kind, ScaleKind::block)
      << "128 x 128 is understood without a config";
  EXPECT_FALSE(scale_layout({2, 3}, 320, 192, 128, 128));
  EXPECT_FALSE(scale_layout({3, 3}, 320, 192, 128, 128));
  EXPECT_EQ(scale_layout({320, 1}, 320, 192, 0, 0)->kind, ScaleKind::channel);
  EXPECT_EQ(scale_layout({320}, 320, 192, 128, 128)->kind, ScaleKind::channel);
  EXPECT_EQ(scale_layout({}, 320, 192, 0, 0)->kind, ScaleKind::tensor);
  EXPECT_FALSE(scale_layout({0}, 320, 192, 0, 0));
  EXPECT_FALSE(scale_layout({1, 320}, 320, 192, 0, 0));
}

}  // namespace
}  // namespace vl8
