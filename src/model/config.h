// config.json of the family as plain numbers, every one range-checked. Both spellings are read:
// transformers 4.57
// (`rope_scaling` + `rope_theta`) and 5 (`rope_parameters`). Source: spec section 1, 2.4 to 2.6, 12.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/ops.h"

namespace vl8 {

struct TextConfig {
  int64_t vocab_size = 0, hidden_size = 0, layers = 0;
  int64_t q_heads = 0, kv_heads = 0, head_dim = 0;
  int64_t intermediate_size = 0;  // of dense layers
  int64_t max_positions = 0;      // without YaRN; the limit in use is context_limit()
  float rms_norm_eps = 0;
  RopeConfig rope;

  int64_t experts = 0;  // 0: every layer is dense
  int64_t experts_per_token = 0, expert_intermediate = 0;
  int64_t sparse_step = 1;               // layer i is sparse when (i + 1) % sparse_step == 0 ...
  std::vector<int64_t> mlp_only_layers;  // ... and it is not listed here

  bool is_moe_layer(int64_t layer) const;
  int64_t q_width() const { return q_heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
  int64_t context_limit() const;  // max_positions, or YaRN's factor x original positions when that is more
};

struct VisionConfig {
  int64_t depth = 0, hidden_size = 0, intermediate_size = 0, heads = 0, out_hidden_size = 0;
  int64_t channels = 3, patch_size = 16, temporal_patch_size = 2, merge_size = 2;
  int64_t positions = 0;           // rows of the position table, a square
  std::vector<int64_t> deepstack;  // block indexes whose output is tapped, ascending

  int64_t head_dim() const { return hidden_size / heads; }
  int64_t patch_features() const { return channels * temporal_patch_size * patch_size * patch_size; }  // 1536
  int64_t merged_size() const { return hidden_size * merge_size * merge_size; }                        // 4D
};

enum class QuantMethod : uint8_t { none, fp8, compressed_tensors };

// What config.json claims about quantisation. The loader believes the tensors (spec 8.7) and uses this for
// block sizes and to warn of contradictions.
struct QuantConfig {
  QuantMethod method = QuantMethod::none;
  DType format = DType::e4m3;              // e4m3 or e5m2
  int64_t block_rows = 0, block_cols = 0;  // 0: scales per tensor or per channel
  bool static_activations = false;   // of some group of modules ...
  bool dynamic_activations = false;  // ... and of another (compressed-tensors)
  std::vector<std::string> skipped;  // module names, or `re:` patterns (compressed-tensors)
};

struct TokenIds {
  int64_t image = 0, video = 0, vision_start = 0, vision_end = 0;
  std::optional<int64_t> bos;
  std::vector<int64_t> eos;  // of config.json; generation_config.json says more
};

// Elements by part (spec 1.5). `total` counts tied embeddings once.
struct ParameterCounts {
  int64_t embeddings = 0, head = 0, attention = 0, mlp = 0, experts = 0, router = 0, text_norms = 0;
  int64_t vision_blocks = 0, vision_embeddings = 0, mergers = 0;
  int64_t text() const { return embeddings + head + attention + mlp + experts + router + text_norms; }
  int64_t vision() const { return vision_blocks + vision_embeddings + mergers; }
  int64_t total() const { return text() + vision(); }
  int64_t active_text = 0;  // of text(): used for one token (not the experts left out; of the table one row)
};

struct ModelConfig {
  std::string model_type;    // "qwen3_vl" or "qwen3_vl_moe"
  std::string architecture;  // "Qwen3VLForConditionalGeneration", ... or empty
  TextConfig text;
  VisionConfig vision;
  QuantConfig quant;
  TokenIds tokens;
  bool tied = false;                  // the head is the embedding table
  std::vector<std::string> warnings;  // readable but odd; to be shown once

  ParameterCounts parameters() const;
  int64_t kv_bytes_per_token(DType dtype = DType::bf16) const;
};

// Throws Error(input) naming the file and the field (`text_config.hidden_size`), or Error(unsupported) saying
// what is.
ModelConfig parse_model_config(std::string_view json, const std::string& origin);
ModelConfig load_model_config(const std::filesystem::path& folder);  // FOLDER/config.json

// One stored module of a fused projection, for the visitors of the list of weights: q_proj, k_proj, v_proj
// are three parts of one Linear.
struct LinearPart {
  std::string name;  // canonical module name, without `.weight`
  int64_t rows = 0;
};

}  // namespace vl8
