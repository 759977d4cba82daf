#include "quant/recipe.h"

#include <charconv>

#include "core/error.h"

namespace vl8 {
namespace {

constexpr Format kKeep{}, kBlock{Coding::e4m3_block}, kChannel{Coding::e4m3_channel}, kTensor{Coding::e4m3_tensor},
    kInt8{Coding::i8_channel}, kInt4{Coding::i4_group, 128}, kFp4{Coding::fp4_group, 64};

// vision, merger, attn_in, attn_out, mlp_in, mlp_out, embed, head, other
constexpr Recipe kRecipes[] = {
    {"fp8-block128", "E4M3 in 128x128 blocks with F32 scales: the language linears and experts, like the published FP8 models",
     {kKeep, kKeep, kBlock, kBlock, kBlock, kBlock, kKeep, kKeep, kKeep}, ScaleRule::max, true},
    {"fp8-rowwise", "E4M3 with a scale for each row: the language linears; compressed-tensors names, as other servers load them",
     {kKeep, kKeep, kChannel, kChannel, kChannel, kChannel, kKeep, kKeep, kKeep}},
    {"fp8-layered", "vision E4M3 by row with dynamic inputs; language E4M3 with one scale a matrix and static input scales (calibrated)",
     {kChannel, kChannel, kTensor, kTensor, kTensor, kTensor, kKeep, kKeep, kKeep}, ScaleRule::max, false, true},
    {"fp8-mixed", "E4M3 by row for vision, attention outputs and the layers that pictures enter; elsewhere E4M3 or E5M2, whichever errs less",
     {kChannel, kChannel, kChannel, kChannel, kChannel, kChannel, kKeep, kKeep, kKeep}, ScaleRule::max, false, false, true},
    {"int8", "INT8 with a scale for each row, vision too: for chips without FP8",
     {kInt8, kInt8, kInt8, kInt8, kInt8, kInt8, kKeep, kKeep, kKeep}},
    {"int4-fp8", "INT4 in groups for the feed-forward (calibrated), E4M3 by row elsewhere, token table and head included",
     {kChannel, kChannel, kChannel, kChannel, kInt4, kInt4, kChannel, kChannel, kKeep}, ScaleRule::mse, false, false, false, true},
    {"fp4-fp8", "E2M1 in groups for the feed-forward (calibrated), E4M3 by row elsewhere, token table and head included",
     {kChannel, kChannel, kChannel, kChannel, kFp4, kFp4, kChannel, kChannel, kKeep}, ScaleRule::mse, false, false, false, true},
    {"auto", "16, 8 or 4 bits for each module by what quantising it does to the answers: give --size or --loss",
     {}, ScaleRule::mse, false, false, false, true},
};

int64_t layer_after(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return -1;
  name.remove_prefix(prefix.size());
  int64_t layer = -1;
  auto [end, ec] = std::from_chars(name.data(), name.data() + name.size(), layer);
  return ec == std::errc() && end != name.data() + name.size() && *end == '.' ? layer : -1;
}

}  // namespace

std::string_view module_kind_name(ModuleKind kind) {
  constexpr std::string_view kNames[] = {"vision", "merger", "attn_in", "attn_out", "mlp_in", "mlp_out", "embed", "head", "other"};
  return kNames[size_t(kind)];
}

ModuleName module_name(std::string_view m) {
  const bool linear = m.ends_with(".linear_fc1") || m.ends_with(".linear_fc2");
  if (int64_t block = layer_after(m, "visual.blocks."); block >= 0)
    return {linear || m.ends_with(".attn.qkv") || m.ends_with(".attn.proj") ? ModuleKind::vision : ModuleKind::other, block};
  if (m.starts_with("visual.merger.") || m.starts_with("visual.deepstack_merger_list."))
    return {linear ? ModuleKind::merger : ModuleKind::other};
  if (m == "language_model.embed_tokens") return {ModuleKind::embed};
  if (m == "lm_head") return {ModuleKind::head};
  const int64_t layer = layer_after(m, "language_model.layers.");
  if (layer < 0) return {};
  for (const char* end : {".q_proj", ".k_proj", ".v_proj"})
    if (m.ends_with(end)) return {ModuleKind::attn_in, layer};
  if (m.ends_with(".o_proj")) return {ModuleKind::attn_out, layer};
  for (const char* end : {".gate_proj", ".up_proj", ".gate_up_proj"})
    if (m.ends_with(end)) return {ModuleKind::mlp_in, layer};
  if (m.ends_with(".down_proj")) return {ModuleKind::mlp_out, layer};
  return {ModuleKind::other, layer};
}

std::span<const Recipe> recipes() { return kRecipes; }

const Recipe& find_recipe(std::string_view name) {
  std::string known;
  for (const Recipe& r : kRecipes) {
    if (name == r.name) return r;
    known += fmt::format("\n  {}: {}", r.name, r.help);
  }
  fail_usage("unknown recipe '{}'; there are{}", name, known);
}

}  // namespace vl8
