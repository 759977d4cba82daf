// A model small enough to write by hand: its config, its tensors as float32, and a writer that stores any of
// them in any format and layout. Tests bind the result and compare with the float32 values.
#pragma once
#include <functional>
#include <map>
#include <random>

#include "files.h"
#include "io/model_layout.h"
#include "io/safetensors.h"
#include "io/weight_binder.h"
#include "model/weights.h"
#include "ops/weight_row.h"

namespace vl8::testing {

inline constexpr const char* kTinyText = R"("vocab_size": 40, "hidden_size": 48, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 72,
  "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 5000000,
  "rope_scaling": {"mrope_interleaved": true, "mrope_section": [4, 2, 2], "rope_type": "default"})";
inline constexpr const char* kTinyVision =
    R"("depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2,
  "out_hidden_size": 48, "in_channels": 3, "patch_size": 16, "temporal_patch_size": 2, "spatial_merge_size": 2,
  "num_position_embeddings": 16, "deepstack_visual_indexes": [0], "hidden_act": "gelu_pytorch_tanh")";

inline std::string tiny_config(bool moe = false, bool tied = false, const std::string& quantisation = "") {
  std::string text = kTinyText;
  if (moe) text += R"(, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 36)";
  return std::string(R"({"model_type": ")") + (moe ? "qwen3_vl_moe" : "qwen3_vl") +
         R"(", "tie_word_embeddings": )" + (tied ? "true" : "false") +
         R"(, "image_token_id": 30, "video_token_id": 31, "vision_start_token_id": 32,
         "vision_end_token_id": 33, "text_config": {)" +
         text + R"(}, "vision_config": {)" + kTinyVision + "}" +
         (quantisation.empty() ? "" : ", \"quantization_config\": " + quantisation) + "}";
}

// One stored tensor with its bytes.
struct Stored {
  DType dtype;
  Shape shape;
  std::vector<std::byte> bytes;
};
using Tensors = std::map<std::string, Stored>;  // by stored name

inline Stored stored(DType dtype, Shape shape, const std::vector<float>& values) {
  Stored s{dtype, shape, std::vector<std::byte>(values.size() * dtype_bytes(dtype))};
  for (size_t i = 0; i < values.size(); ++i) {
    std::byte* p = s.bytes.data() + i * dtype_bytes(dtype);
    uint16_t half;
    switch (dtype) {
      case DType::f32:
        std::memcpy(p, &values[i], 4);
        break;
      case DType::f16:
        half = f32_to_f16(values[i]), std::memcpy(p, &half, 2);
        break;
      case DType::bf16:
        half = f32_to_bf16(values[i]), std::memcpy(p, &half, 2);
        break;
      case DType::e4m3:
        *p = std::byte(f32_to_e4m3(values[i]));
        break;
      case DType::e5m2:
        *p = std::byte(f32_to_e5m2(values[i]));
        break;
      case DType::e8m0:
        *p = std::byte(127 + std::ilogb(values[i]));
        break;
      default:
        throw std::logic_error("stored");
    }
  }
  return s;
}

inline std::vector<float> loaded(const Stored& s) {
  std::vector<float> v(size_t(s.shape.elements()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = load_f32(s.bytes.data(), s.dtype, i);
  return v;
}

inline std::vector<float> random_floats(size_t n, std::mt19937_64& rng, float scale = 0.05f) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> v(n);
  for (float& x : v) x = normal(rng);
  return v;
}

// Every tensor of the config under its published name, in one type.
inline Tensors tiny_tensors(const ModelConfig& config, DType dtype, uint64_t seed) {
  std::mt19937_64 rng(seed);
  Tensors out;
  for (const LayoutTensor& t : model_layout(config)) {
    std::string name = t.name.starts_with("lm_head") ? t.name : "model." + t.name;
    out[name] = stored(dtype, t.shape, random_floats(size_t(t.shape.elements()), rng));
  }
  return out;
}

inline void write_tensors(const fs::path& file, const Tensors& tensors) {
  std::vector<std::pair<std::string, Tensor>> list;
  for (const auto& [name, s] : tensors)
    list.push_back({name, {const_cast<std::byte*>(s.bytes.data()), s.dtype, s.shape}});
  write_safetensors(file, list);
}

inline void write_model(const fs::path& folder, const std::string& config, const Tensors& tensors) {
  write_text(folder / "config.json", config);
  write_tensors(folder / "model.safetensors", tensors);
}

// A loaded model and what it needs to stay alive.
struct Bound {
  ModelConfig config;
  std::shared_ptr<WeightStore> store;
  ModelWeights weights;
  LoadReport report;
};

inline std::unique_ptr<Bound> bind(const fs::path& folder, ReadMode mode = ReadMode::wait, int threads = 2) {
  auto b = std::make_unique<Bound>();
  b->config = load_model_config(folder);
  b->store = std::make_shared<WeightStore>(Checkpoint(folder));
  WeightBinder binder(b->store, b->config.quant);
  b->weights.each(b->config, binder);
  ThreadPool pool(threads);
  b->report = binder.finish(pool, {mode, false});
  return b;
}

inline std::vector<float> all_rows(const Weight& w) {
  std::vector<float> v(size_t(w.n * w.k));
  for (int64_t r = 0; r < w.n; ++r) weight_row_f32(w, r, v.data() + r * w.k);
  return v;
}

}  // namespace vl8::testing
