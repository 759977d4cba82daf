// The quantization_config of compressed-tensors: one group of modules for each format (spec 2.5). Modules are named one
// by one, which every reader takes the same way. E5M2, E2M1 in groups and mixtures have no name there that others read;
// the fields describe them all the same, and vl8 believes the tensors.
#include <map>
#include <nlohmann/json.hpp>

#include "quant/plan.h"

namespace vl8 {
namespace {
using Json = nlohmann::ordered_json;

std::string stored_module(const MatrixJob& job, const QuantPlan& plan) {
  const std::string& name = plan.specs[job.weight].name;
  return name.substr(0, name.rfind('.'));
}

Json weights_of(const Format& f) {
  const CodingRow& row = coding_row(f.coding);
  const bool integer = row.dtype == DType::i8 || row.dtype == DType::i4;
  Json j{{"num_bits", dtype_bits(row.dtype)}, {"type", integer ? "int" : "float"}, {"symmetric", true}, {"dynamic", false}};
  const char* strategy = row.scaling == ScaleKind::tensor    ? "tensor"
                         : row.scaling == ScaleKind::channel ? "channel"
                         : row.scaling == ScaleKind::group   ? "group"
                                                             : "block";
  j["strategy"] = strategy;
  if (f.group) j["group_size"] = f.group;
  if (row.scaling == ScaleKind::block) j["block_structure"] = {128, 128};
  return j;
}

const char* group_format(const Format& f) {
  switch (coding_row(f.coding).dtype) {
    case DType::i8: return "int-quantized";
    case DType::i4: return "pack-quantized";
    case DType::e2m1: return "nvfp4-pack-quantized";
    default: return "float-quantized";
  }
}

Json inputs_of(const Format& f, bool is_static) {
  if (is_four_bits(f)) return nullptr;  // weights only
  const bool integer = f.coding == Coding::i8_channel;
  Json j{{"num_bits", 8}, {"type", integer ? "int" : "float"}, {"symmetric", true}, {"dynamic", !is_static}};
  j["strategy"] = is_static ? "tensor" : f.coding == Coding::e4m3_block ? "group" : "token";
  return j;
}

}  // namespace

std::string with_compressed_tensors_config(std::string_view json, const QuantPlan& plan, const Recipe& recipe) {
  std::map<std::string, std::pair<const MatrixJob*, Json>> groups;  // by the format's name
  for (const MatrixJob& job : plan.matrices) {
    auto& group = groups[format_name(job.format)];
    group.first = &job;
    group.second.push_back(stored_module(job, plan));
  }
  Json config{{"quant_method", "compressed-tensors"}, {"quantization_status", "compressed"}};
  config["format"] = groups.size() == 1 ? group_format(groups.begin()->second.first->format) : "mixed-precision";
  int index = 0;
  for (auto& [name, group] : groups) {
    const Format& f = group.first->format;
    config["config_groups"]["group_" + std::to_string(index++)] = {
        {"targets", std::move(group.second)},
        {"weights", weights_of(f)},
        {"input_activations", inputs_of(f, recipe.static_inputs && f.coding == Coding::e4m3_tensor)},
        {"format", group_format(f)}};
  }
  Json ignored = Json::array();
  for (const CopyJob& copy : plan.copies) {
    const StoredTensor& t = *copy.source;
    const bool matrix = t.shape.rank >= 2 && t.name.ends_with(".weight") && !t.name.ends_with("pos_embed.weight");
    if (matrix) ignored.push_back(t.stored.substr(0, t.stored.size() - 7));
    if (t.name.ends_with(".experts.gate_up_proj") || t.name.ends_with(".experts.down_proj")) ignored.push_back(t.stored);
  }
  config["ignore"] = ignored;
  Json root = Json::parse(json);
  root.erase("compression_config");
  root["quantization_config"] = config;
  return root.dump(2) + "\n";
}

}  // namespace vl8
