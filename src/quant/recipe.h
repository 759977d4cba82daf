// Recipes as data: which kind of module is written in which format. A module's kind comes from its name alone.
#pragma once
#include <array>
#include <span>
#include <string_view>

#include "quant/format.h"

namespace vl8 {

enum class ModuleKind : uint8_t {
  vision,   // attention and feed-forward of the vision blocks
  merger,   // the mergers after the vision tower: where pictures enter the language tower
  attn_in,  // q, k, v
  attn_out,
  mlp_in,   // gate, up; of experts too
  mlp_out,  // down
  embed,    // the token table; a tied head with it
  head,
  other,    // never quantised: norms, biases, routers, patch and position embeddings
  count
};
constexpr size_t kModuleKinds = size_t(ModuleKind::count);
std::string_view module_kind_name(ModuleKind kind);

struct ModuleName {
  ModuleKind kind = ModuleKind::other;
  int64_t layer = -1;  // of its tower; -1 outside blocks
};
// `module`: canonical name without `.weight`; fused experts by `....mlp.experts.gate_up_proj`.
ModuleName module_name(std::string_view module);

struct Recipe {
  const char* name;
  const char* help;
  std::array<Format, kModuleKinds> formats;  // by ModuleKind
  ScaleRule rule = ScaleRule::max;
  bool official = false;        // names and config of the published FP8 checkpoints, else compressed-tensors
  bool static_inputs = false;   // E4M3 per tensor gets an input_scale; needs calibration
  bool choose_fp8 = false;      // attn_in, mlp_in and mlp_out after the first layers: E4M3 or E5M2, by measured error
  bool calibrated = false;      // four-bit weights are chosen against the calibration set (GPTQ) unless told otherwise
};
std::span<const Recipe> recipes();
const Recipe& find_recipe(std::string_view name);  // Error(usage) that lists the names

}  // namespace vl8
