#include "model/config.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "files.h"
#include "io/checkpoint_writer.h"
#include "io/model_layout.h"
#include "support/paths.h"

namespace vl8 {
namespace {
using nlohmann::json;
using testing::error_of;
using ::testing::HasSubstr;

// A complete small config of our own; tests break it one field at a time.
json sound() {
  return json::parse(R"({
    "model_type": "qwen3_vl", "tie_word_embeddings": false,
    "image_token_id": 90, "video_token_id": 91, "vision_start_token_id": 92, "vision_end_token_id": 93,
    "text_config": {"vocab_size": 100, "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
      "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 64, "max_position_embeddings": 512,
      "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 5000000, "bos_token_id": 1, "eos_token_id": 2,
      "rope_scaling": {"mrope_interleaved": true, "mrope_section": [4, 2, 2], "rope_type": "default"}},
    "vision_config": {"depth": 3, "hidden_size": 32, "intermediate_size": 40, "num_heads": 4, "out_hidden_size": 48,
      "in_channels": 3, "patch_size": 16, "temporal_patch_size": 2, "spatial_merge_size": 2,
      "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 2], "hidden_act": "gelu_pytorch_tanh"}})");
}
ModelConfig parse(const json& j) {
  return parse_model_config(j.dump(), "config.json");
}
std::string parse_error(const json& j) {
  return error_of([&] { parse(j); });
}

json moe() {
  json j = sound();
  j["model_type"] = "qwen3_vl_moe";
  j["text_config"].update({{"num_experts", 8}, {"num_experts_per_tok", 2}, {"moe_intermediate_size", 24}});
  return j;
}

TEST(Config, ReadsBothSpellings) {
  json j = sound();
  ModelConfig a = parse(j);
  EXPECT_EQ(a.text.rope.theta, 5e6);
  EXPECT_EQ(a.text.rope.section[0], 4);
  EXPECT_EQ(a.text.q_width(), 64);
  EXPECT_EQ(a.tokens.eos, std::vector<int64_t>{2});
  EXPECT_TRUE(a.warnings.empty());
  json& t = j["text_config"];
  t["rope_parameters"] = t["rope_scaling"];
  t["rope_parameters"]["rope_theta"] = 1000.5;
  t.erase("rope_scaling"), t.erase("rope_theta");
  EXPECT_EQ(parse(j).text.rope.theta, 1000.5);
  t["rope_parameters"].erase("rope_theta");
  EXPECT_THAT(parse_error(j), HasSubstr("text_config.rope_theta is missing"));
  j["eos_token_id"] = {2, 3};
  t["rope_theta"] = 5000000.0;
  EXPECT_EQ(parse(j).tokens.eos, (std::vector<int64_t>{2, 3}));
}

TEST(Config, Yarn) {
  json j = sound();
  EXPECT_EQ(parse(j).text.context_limit(), 512);
  j["text_config"]["rope_scaling"].update(
      {{"rope_type", "yarn"}, {"factor", 3.0}, {"original_max_position_embeddings", 512}});
  ModelConfig c = parse(j);
  EXPECT_EQ(c.text.rope.yarn_factor, 3.0);
  EXPECT_EQ(c.text.rope.yarn_original_positions, 512);
  EXPECT_EQ(c.text.rope.yarn_beta_fast, 32);
  EXPECT_EQ(c.text.rope.yarn_attention_factor, 0);
  EXPECT_EQ(c.text.context_limit(), 1536);
  j["text_config"]["rope_scaling"]["rope_type"] = "longrope";
  EXPECT_THAT(parse_error(j), HasSubstr("yarn"));
  j["text_config"]["rope_scaling"].update({{"rope_type", "yarn"}, {"mscale", 2}});
  EXPECT_THAT(parse_error(j), HasSubstr("mscale"));
}

TEST(Config, Experts) {
  json j = moe();
  j["text_config"].update({{"decoder_sparse_step", 2}, {"mlp_only_layers", {3}}});
  ModelConfig c = parse(j);
  EXPECT_EQ(c.text.experts, 8);
  EXPECT_FALSE(c.text.is_moe_layer(0));
  EXPECT_TRUE(c.text.is_moe_layer(1));
  EXPECT_FALSE(c.text.is_moe_layer(3)) << "listed in mlp_only_layers";
  j["text_config"]["num_experts_per_tok"] = 9;
  EXPECT_THAT(parse_error(j), HasSubstr("num_experts_per_tok is 9, expected an integer in 1..8"));
  j = moe();
  j["text_config"].erase("num_experts");
  EXPECT_THAT(parse_error(j), HasSubstr("text_config.num_experts is missing"));
  j = moe();
  j["text_config"]["norm_topk_prob"] = false;
  EXPECT_EQ(parse(j).warnings.size(), 1u);
}

TEST(Config, EveryMissingFieldIsNamed) {
  for (const char* key : {"model_type", "text_config", "vision_config", "image_token_id", "video_token_id",
                          "vision_start_token_id", "vision_end_token_id"}) {
    json j = sound();
    j.erase(key);
    EXPECT_THAT(parse_error(j), HasSubstr(std::string(key) + " is missing")) << key;
  }
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "head_dim", "intermediate_size", "max_position_embeddings",
                          "rms_norm_eps", "rope_theta", "rope_scaling"}) {
    json j = sound();
    j["text_config"].erase(key);
    EXPECT_THAT(parse_error(j), HasSubstr("text_config." + std::string(key) + " is missing")) << key;
  }
  for (const char* key :
       {"depth", "hidden_size", "intermediate_size", "num_heads", "out_hidden_size", "patch_size",
        "temporal_patch_size", "spatial_merge_size", "num_position_embeddings", "deepstack_visual_indexes"}) {
    json j = sound();
    j["vision_config"].erase(key);
    EXPECT_THAT(parse_error(j), HasSubstr("vision_config." + std::string(key) + " is missing")) << key;
  }
}

struct Wrong {
  const char* pointer;
  json value;
  const char* says;
};

TEST(Config, WrongValuesAreNamed) {
  const Wrong cases[] = {
      {"/text_config/hidden_size", 0, "text_config.hidden_size is 0"},
      {"/text_config/hidden_size", -3, "text_config.hidden_size is -3"},
      {"/text_config/hidden_size", 4.5, "text_config.hidden_size is 4.5"},
      {"/text_config/hidden_size", "48", "text_config.hidden_size is \"48\""},
      {"/text_config/hidden_size", uint64_t(1) << 63, "expected an integer"},
      {"/text_config/hidden_size", 1e300, "expected an integer"},
      {"/text_config/num_hidden_layers", 1 << 30, "num_hidden_layers"},
      {"/text_config/num_key_value_heads", 3, "not a multiple"},
      {"/text_config/head_dim", 15, "odd"},
      {"/text_config/rms_norm_eps", 0, "rms_norm_eps"},
      {"/text_config/rms_norm_eps", "x", "rms_norm_eps"},
      {"/text_config/rope_theta", -1, "rope_theta"},
      {"/text_config/hidden_act", "gelu", "vl8 supports \"silu\""},
      {"/text_config/attention_bias", true, "attention_bias"},
      {"/text_config/rope_scaling/mrope_section", json::array({4, 4}), "half of head_dim, 8"},
      {"/text_config/rope_scaling/mrope_section", json::array({4, 4, 4}), "half of head_dim, 8"},
      {"/text_config/rope_scaling/mrope_interleaved", false, "mrope_interleaved"},
      {"/text_config/rope_scaling", 5, "text_config.rope_scaling is not an object"},
      {"/vision_config/num_heads", 5, "does not divide"},
      {"/vision_config/num_heads", 32, "multiple of 4"},
      {"/vision_config/out_hidden_size", 32, "differs from text_config.hidden_size"},
      {"/vision_config/num_position_embeddings", 15, "not a square"},
      {"/vision_config/deepstack_visual_indexes", json::array({2, 0}), "not ascending"},
      {"/vision_config/deepstack_visual_indexes", json::array({0, 3}), "deepstack_visual_indexes"},
      {"/vision_config/deepstack_visual_indexes", "x", "deepstack_visual_indexes"},
      {"/vision_config/hidden_act", "silu", "gelu_pytorch_tanh"},
      {"/vision_config/in_channels", 4, "in_channels"},
      {"/image_token_id", 100, "image_token_id is 100"},
      {"/tie_word_embeddings", "yes", "tie_word_embeddings"},
      {"/model_type", "qwen2_vl", "vl8 runs \"qwen3_vl\" and \"qwen3_vl_moe\""},
  };
  for (const Wrong& w : cases) {
    json j = sound();
    j[json::json_pointer(w.pointer)] = w.value;
    EXPECT_THAT(parse_error(j), HasSubstr(w.says)) << w.pointer << " = " << w.value;
  }
  EXPECT_THAT(error_of([] { parse_model_config("{", "c.json"); }), HasSubstr("c.json is not valid JSON"));
  EXPECT_THAT(error_of([] { parse_model_config("[]", "c.json"); }), HasSubstr("not an object"));
  EXPECT_THAT(error_of([] { parse_model_config(std::string(100000, '['), "c.json"); }),
              HasSubstr("nested too deeply"));
}

TEST(Config, Quantisation) {
  json j = sound();
  EXPECT_EQ(parse(j).quant.method, QuantMethod::none);
  j["quantization_config"] = {{"quant_method", "fp8"},
                              {"fmt", "e4m3"},
                              {"activation_scheme", "dynamic"},
                              {"weight_block_size", {128, 64}},
                              {"modules_to_not_convert", {"lm_head"}}};
  ModelConfig c = parse(j);
  EXPECT_EQ(c.quant.method, QuantMethod::fp8);
  EXPECT_EQ(c.quant.block_rows, 128);
  EXPECT_EQ(c.quant.block_cols, 64);
  EXPECT_EQ(c.quant.skipped, std::vector<std::string>{"lm_head"});
  j["quantization_config"]["ignored_layers"] = {"lm_head", "visual"};
  c = parse(j);
  EXPECT_EQ(c.quant.skipped.size(), 2u);
  EXPECT_EQ(c.warnings.size(), 1u);
  j["quantization_config"]["activation_scheme"] = "static";
  EXPECT_THAT(parse_error(j), HasSubstr("static activations with block weights"));
  j["quantization_config"]["weight_block_size"] = nullptr;
  EXPECT_TRUE(parse(j).quant.static_activations);
  j["quantization_config"]["fmt"] = "int8";
  EXPECT_THAT(parse_error(j), HasSubstr("e4m3 and e5m2"));
  j["quantization_config"] = {{"quant_method", "awq"}};
  EXPECT_THAT(parse_error(j), HasSubstr("quantization_config.quant_method is \"awq\""));
}

TEST(Config, CompressedTensors) {
  json j = sound();
  json weights = {
      {"num_bits", 8}, {"type", "float"}, {"symmetric", true}, {"dynamic", false}, {"strategy", "channel"}};
  j["quantization_config"] = {
      {"quant_method", "compressed-tensors"},
      {"format", "float-quantized"},
      {"config_groups",
       {{"group_0",
         {{"targets", {"Linear"}},
          {"weights", weights},
          {"input_activations",
           {{"num_bits", 8}, {"type", "float"}, {"dynamic", true}, {"strategy", "token"}}}}}}},
      {"ignore", {"lm_head", "re:.*visual.*"}}};
  ModelConfig c = parse(j);
  EXPECT_EQ(c.quant.method, QuantMethod::compressed_tensors);
  EXPECT_EQ(c.quant.block_rows, 0);
  EXPECT_FALSE(c.quant.static_activations);
  json& w = j["quantization_config"]["config_groups"]["group_0"]["weights"];
  w["strategy"] = "block", w["block_structure"] = {128, 128};
  EXPECT_EQ(parse(j).quant.block_cols, 128);
  w["num_bits"] = 3;
  EXPECT_THAT(parse_error(j), HasSubstr("supports float and int of 8 and 4 bits"));
  w["num_bits"] = 4, w["type"] = "int", w["strategy"] = "group";
  j["quantization_config"]["format"] = "pack-quantized";
  EXPECT_EQ(parse(j).quant.method, QuantMethod::compressed_tensors);
  j["quantization_config"]["format"] = "marlin-24";
  EXPECT_THAT(parse_error(j), HasSubstr("marlin-24"));
}

struct Count {
  const char* file;
  int64_t text, vision;
};

// Spec 1.5; the 8B total is confirmed by a public log.
TEST(Config, PublishedSizesHaveTheirParameterCounts) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "the shared folder is not there (VL8_SHARED)";
  const Count counts[] = {{"2b", 1'720'574'976, 406'957'056},
                          {"4b", 4'022'468'096, 415'347'712},
                          {"8b", 8'190'735'360, 576'388'336},
                          {"30b-a3b.derived", 30'532'122'624, 538'631'408},
                          {"235b-a22b.derived", 235'093'634'560, 576'388'336}};
  for (const Count& n : counts) {
    auto file = *shared / "qwen3-vl" / "configs" / (std::string(n.file) + ".json");
    ModelConfig c = parse_model_config(read_file(file), file.string());
    EXPECT_EQ(c.parameters().text(), n.text) << n.file;
    EXPECT_EQ(c.parameters().vision(), n.vision) << n.file;
    EXPECT_TRUE(c.warnings.empty()) << n.file;
    int64_t sum = 0;
    for (const LayoutTensor& t : model_layout(c)) sum += t.shape.elements();
    EXPECT_EQ(sum, n.text + n.vision) << n.file << ": the list of tensors and the formula differ";
  }
  ModelConfig moe = load_model_config(*shared / "qwen3-vl" / "instruct");
  EXPECT_EQ(moe.kv_bytes_per_token(), 2 * 36 * 8 * 128 * 2);
}

// 32B is published re-saved by transformers 5 (spec 1.2).
TEST(Config, ThirtyTwoBillion) {
  json j = sound();
  j["text_config"].update({{"vocab_size", 151936},
                           {"hidden_size", 5120},
                           {"num_hidden_layers", 64},
                           {"num_attention_heads", 64},
                           {"num_key_value_heads", 8},
                           {"head_dim", 128},
                           {"intermediate_size", 25600}});
  j["text_config"]["rope_scaling"]["mrope_section"] = {24, 20, 20};
  j["vision_config"].update({{"depth", 27},
                             {"hidden_size", 1152},
                             {"intermediate_size", 4304},
                             {"num_heads", 16},
                             {"out_hidden_size", 5120},
                             {"num_position_embeddings", 2304},
                             {"deepstack_visual_indexes", {8, 16, 24}}});
  EXPECT_EQ(parse(j).parameters().text(), 32'762'123'264);
  EXPECT_EQ(parse(j).parameters().vision(), 595'266'800);
}

TEST(Config, Fp8ConfigIsTheOfficialOne) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "the shared folder is not there (VL8_SHARED)";
  auto configs = *shared / "qwen3-vl" / "configs";
  for (const char* size : {"8b", "30b-a3b"}) {
    bool is_moe = std::string(size) != "8b";
    std::string plain = read_file(configs / (std::string(size) + (is_moe ? ".derived.json" : ".json")));
    json expected = json::parse(read_file(configs / (std::string(size) + "-fp8.derived.json")));
    json made = json::parse(with_fp8_config(plain, parse_model_config(plain, size)));
    EXPECT_EQ(made["quantization_config"], expected["quantization_config"]) << size;
  }
  // The file of the 2B model lists 27 blocks though it has 24.
  std::string plain = read_file(configs / "2b.json");
  json official = json::parse(read_file(configs / "2b-fp8.json"))["quantization_config"];
  json made = json::parse(with_fp8_config(plain, parse_model_config(plain, "2b")))["quantization_config"];
  std::set<std::string> names = official["ignored_layers"];
  for (const std::string name : made["ignored_layers"]) EXPECT_TRUE(names.contains(name)) << name;
  EXPECT_EQ(made["ignored_layers"].size(), names.size() - 3 * 8);
  official.erase("ignored_layers"), made.erase("ignored_layers");
  EXPECT_EQ(made, official);
}

}  // namespace
}  // namespace vl8
