// What will be written: a list of jobs, one for each matrix that is encoded and each tensor that is copied, the tensors
// of the result in order, and its config.json. Made from headers alone, before anything is written.
#pragma once
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "model/config.h"
#include "quant/recipe.h"

namespace vl8 {

struct PlanOptions {
  ScaleRule rule = ScaleRule::max;
  int64_t group = 0;                // of four-bit formats; 0: the recipe's
  int64_t head_bits = 0;            // 8: token table and head in E4M3 (INT8 for recipe int8); 16: kept; 0: the recipe's
  // Formats by module (canonical name), before the recipe's: `auto` and tests.
  std::unordered_map<std::string, Format> overrides;
};

constexpr size_t kNoTensor = size_t(-1);

// One matrix [rows, k] of the result.
struct MatrixJob {
  const StoredTensor* source = nullptr;
  int64_t first = 0;         // element of the source where it begins
  int64_t row_step = 0, column_step = 1;  // elements between rows and columns: experts may lie turned
  int64_t rows = 0, k = 0;
  std::string module;        // canonical, "language_model.layers.3.mlp.experts.7.up_proj"
  ModuleName name;
  Format format;
  size_t weight = kNoTensor, scale = kNoTensor, input_scale = kNoTensor, shape = kNoTensor;  // of the result
  uint64_t weight_at = 0, scale_at = 0;  // byte offsets inside them (fused experts share a tensor)
  bool contiguous() const { return column_step == 1 && row_step == k; }
};

struct CopyJob {
  const StoredTensor* source = nullptr;
  size_t tensor = 0;
};

struct QuantPlan {
  std::vector<MatrixJob> matrices;  // in the order of the source's bytes
  std::vector<CopyJob> copies;
  std::vector<TensorSpec> specs;
  uint64_t source_bytes = 0;
  std::string config_json;
  std::vector<std::string> notes;   // what a format could not be used for, and what was taken instead
};

// `choose` is asked where the recipe leaves E4M3 or E5M2 to measurement. Throws Error(input) where the checkpoint holds
// a type that cannot be quantised, or nothing to quantise.
QuantPlan make_plan(const ModelConfig& config, const Checkpoint& checkpoint, const Recipe& recipe,
                    const PlanOptions& options, std::string_view config_text,
                    const std::function<Coding(const MatrixJob&)>& choose);

// config.json with a compressed-tensors quantization_config that describes the formats of the plan's matrices.
std::string with_compressed_tensors_config(std::string_view json, const QuantPlan& plan, const Recipe& recipe);

}  // namespace vl8
