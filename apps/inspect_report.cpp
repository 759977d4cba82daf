#include "inspect_report.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/model_layout.h"

namespace vl8 {
namespace {

bool is_fp8(DType t) {
  return t == DType::e4m3 || t == DType::e5m2;
}
bool contains(const std::string& s, const char* part) {
  return s.find(part) != std::string::npos;
}

// The part of the model a stored tensor (canonical name) belongs to; scales count with their weight.
const char* part_of(const std::string& name) {
  if (name.starts_with("visual.")) return "vision";
  if (name.starts_with("lm_head.")) return "head";
  if (contains(name, "embed_tokens")) return "embeddings";
  if (contains(name, "norm.")) return "norms";
  if (contains(name, ".self_attn.")) return "attention";
  if (contains(name, ".mlp.experts.")) return "experts";
  if (contains(name, ".mlp.gate.")) return "router";
  return contains(name, ".mlp.") ? "mlp" : "other";
}

bool is_scale(const std::string& name) {
  return contains(name, "_scale");
}

bool is_quantised(const StoredTensor& t) {
  return is_fp8(t.dtype) || t.dtype == DType::i8 || t.name.ends_with(".weight_packed");
}

// "E4M3, per channel, F32 scales" of one stored weight.
std::string describe_weight(const ModelConfig& config, const Checkpoint& checkpoint, const StoredTensor& t) {
  const StoredTensor* scale = nullptr;
  const std::string base = t.name.ends_with("_packed") ? t.name.substr(0, t.name.size() - 7) : t.name;
  for (const char* suffix : {"_scale_inv", "_scale"})
    if (!scale) scale = checkpoint.find(base + suffix);
  std::string text = t.dtype == DType::i32 ? "INT4" : t.dtype == DType::u8 ? "E2M1" : t.dtype == DType::i8 ? "INT8"
                     : t.dtype == DType::e4m3 ? "E4M3" : "E5M2";
  if (t.name.ends_with("_packed")) {
    const int64_t k = t.shape[1] * (t.dtype == DType::i32 ? 8 : 2);
    if (scale && scale->shape.rank == 2 && scale->shape[1] > 0) text += fmt::format(", groups of {}", k / scale->shape[1]);
  } else if (scale && config.quant.block_rows && scale->name.ends_with("_scale_inv")) {
    text += fmt::format(", {}x{} blocks", config.quant.block_rows, config.quant.block_cols);
  } else {
    text += scale && scale->shape.elements() > 1 ? ", per channel" : ", per tensor";
  }
  return scale ? text + fmt::format(", {} scales", dtype_name(scale->dtype)) : text;
}

// Every format in use, the commonest first: "84 x INT4, groups of 128, BF16 scales; ..".
std::string describe_quantisation(const ModelConfig& config, const Checkpoint& checkpoint) {
  std::map<std::string, int64_t> counts;
  bool fp8 = false;
  for (const StoredTensor& t : checkpoint.tensors())
    if (is_quantised(t)) ++counts[describe_weight(config, checkpoint, t)], fp8 |= is_fp8(t.dtype);
  if (counts.empty()) return "none";
  std::vector<std::pair<std::string, int64_t>> list(counts.begin(), counts.end());
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [name, count] : list)
    text += (text.empty() ? "" : "; ") + (list.size() > 1 ? fmt::format("{} x {}", count, name) : name);
  if (!fp8) return text;
  return text + (config.quant.static_activations ? ", static activations" : ", dynamic activations");
}

// Activations of one step of `tokens` rows in float32: what a decoder layer holds at once, and the logits of
// one row. A picture goes through the vision tower before the text, in rows of its own; the larger of the two
// counts.
uint64_t activation_bytes(const ModelConfig& config, int64_t tokens) {
  const TextConfig& t = config.text;
  const int64_t wide = t.experts ? 2 * t.expert_intermediate * t.experts_per_token : 2 * t.intermediate_size;
  const int64_t row = 4 * t.hidden_size + 2 * (t.q_width() + 2 * t.kv_width()) + wide + wide / 2;
  const int64_t patches = 4096;  // a picture of 1024 x 1024
  const VisionConfig& v = config.vision;
  const int64_t vision_row =
      v.patch_features() + 2 * v.hidden_size + 3 * v.hidden_size + v.intermediate_size +
      int64_t(v.deepstack.size() + 1) * v.out_hidden_size / (v.merge_size * v.merge_size);
  return 4 * uint64_t(std::max(tokens * row + t.vocab_size, patches * vision_row));
}

std::string mb(uint64_t bytes) {
  return fmt::format("{:.1f} MB", double(bytes) * 1e-6);
}
std::string millions(int64_t n) {
  return fmt::format("{:.2f} M", double(n) * 1e-6);
}

std::vector<std::pair<const char*, int64_t>> parameter_rows(const ParameterCounts& p) {
  return {{"embeddings", p.embeddings},
          {"head", p.head},
          {"attention", p.attention},
          {"mlp", p.mlp},
          {"experts", p.experts},
          {"router", p.router},
          {"norms", p.text_norms},
          {"vision blocks", p.vision_blocks},
          {"vision embeddings", p.vision_embeddings},
          {"vision mergers", p.mergers}};
}

}  // namespace

InspectReport inspect_model(const ModelConfig& config, const Checkpoint& checkpoint, int64_t context,
                            int64_t prefill_chunk) {
  InspectReport r;
  r.config = config;
  r.parameters = config.parameters();
  const int64_t limit = config.text.context_limit();
  if (context > limit) fail_usage("a context of {} is beyond the model's {} tokens", context, limit);
  r.context = context > 0 ? context : std::min<int64_t>(4096, limit);
  for (const StoredTensor& t : checkpoint.tensors()) {
    const std::string dtype(dtype_name(t.dtype));
    r.bytes_by_dtype[dtype] += t.bytes;
    ++r.tensors_by_dtype[dtype];
    r.bytes_by_part[part_of(t.name)] += t.bytes;
    if (!(config.tied && t.name.starts_with("lm_head."))) r.needed_bytes += t.bytes;
    if (is_scale(t.name) || t.name.ends_with(".weight_shape") || contains(t.name, "norm.")) continue;
    const int64_t modules = t.shape.rank == 3 ? t.shape[0] : 1;  // fused experts are one linear each
    if (is_quantised(t)) r.quantised_modules += modules;
    if (t.name.starts_with("language_model.layers.") && !contains(t.name, ".mlp.gate."))
      r.language_linears += modules;
  }
  r.file_bytes = checkpoint.file_bytes();
  r.files = int64_t(checkpoint.files().size());
  r.quantisation = describe_quantisation(config, checkpoint);
  r.kv_bytes_per_token = uint64_t(config.kv_bytes_per_token());
  r.kv_bytes = r.kv_bytes_per_token * uint64_t(r.context);
  r.activation_bytes = activation_bytes(config, std::min(prefill_chunk, r.context));
  r.total_bytes = r.needed_bytes + r.kv_bytes + r.activation_bytes;
  return r;
}

std::string inspect_text(const InspectReport& r) {
  const TextConfig& t = r.config.text;
  const VisionConfig& v = r.config.vision;
  std::string s;
  auto line = [&](std::string_view label, const std::string& value) {
    s += fmt::format("{:<20}{}\n", label, value);
  };
  line("architecture", r.config.architecture.empty() ? r.config.model_type : r.config.architecture);
  line("text", fmt::format("{} layers, hidden {}, {} query and {} key heads of {}, vocabulary {}{}", t.layers,
                           t.hidden_size, t.q_heads, t.kv_heads, t.head_dim, t.vocab_size,
                           r.config.tied ? ", tied head" : ""));
  if (t.experts)
    line("experts",
         fmt::format("{} of width {}, {} per token", t.experts, t.expert_intermediate, t.experts_per_token));
  line("vision", fmt::format("{} blocks, hidden {}, {} heads, taps after blocks {}", v.depth, v.hidden_size,
                             v.heads, fmt::join(v.deepstack, ", ")));
  line("parameters",
       millions(r.parameters.total()) +
           (t.experts ? fmt::format(" ({} active in text)", millions(r.parameters.active_text)) : ""));
  for (const auto& [name, n] : parameter_rows(r.parameters))
    if (n) line(fmt::format("  {}", name), millions(n));
  line("weights", fmt::format("{} in {} file{}", mb(r.file_bytes), r.files, r.files == 1 ? "" : "s"));
  for (const auto& [dtype, bytes] : r.bytes_by_dtype)
    line("  " + dtype, fmt::format("{} in {} tensors", mb(bytes), r.tensors_by_dtype.at(dtype)));
  line("quantised", r.quantised_modules ? fmt::format("{} modules; {} language linears: {}", r.quantised_modules,
                                                      r.language_linears, r.quantisation)
                                        : "nothing");
  line("context", fmt::format("up to {} tokens", t.context_limit()));
  line("memory", fmt::format("{} for {} tokens", mb(r.total_bytes), r.context));
  line("  weights", mb(r.needed_bytes));
  line("  key/value cache", fmt::format("{} ({} bytes a token, BF16)", mb(r.kv_bytes), r.kv_bytes_per_token));
  line("  activations", mb(r.activation_bytes) + " (estimate)");
  for (const std::string& w : r.config.warnings) line("warning", w);
  return s;
}

std::string inspect_json(const InspectReport& r) {
  const TextConfig& t = r.config.text;
  const VisionConfig& v = r.config.vision;
  nlohmann::ordered_json j;
  j["model_type"] = r.config.model_type;
  j["architecture"] = r.config.architecture;
  j["text"] = {{"layers", t.layers},
               {"hidden_size", t.hidden_size},
               {"q_heads", t.q_heads},
               {"kv_heads", t.kv_heads},
               {"head_dim", t.head_dim},
               {"intermediate_size", t.intermediate_size},
               {"vocab_size", t.vocab_size},
               {"experts", t.experts},
               {"experts_per_token", t.experts_per_token},
               {"expert_intermediate", t.expert_intermediate},
               {"tied_head", r.config.tied},
               {"context_limit", t.context_limit()}};
  j["vision"] = {{"depth", v.depth},
                 {"hidden_size", v.hidden_size},
                 {"intermediate_size", v.intermediate_size},
                 {"heads", v.heads},
                 {"deepstack", v.deepstack}};
  for (const auto& [name, n] : parameter_rows(r.parameters)) j["parameters"][name] = n;
  j["parameters"]["text"] = r.parameters.text();
  j["parameters"]["vision"] = r.parameters.vision();
  j["parameters"]["active_text"] = r.parameters.active_text;
  j["parameters"]["total"] = r.parameters.total();
  j["weights"] = {{"files", r.files},
                  {"file_bytes", r.file_bytes},
                  {"needed_bytes", r.needed_bytes},
                  {"bytes_by_dtype", r.bytes_by_dtype},
                  {"tensors_by_dtype", r.tensors_by_dtype},
                  {"bytes_by_part", r.bytes_by_part}};
  j["quantisation"] = {
      {"scheme", r.quantisation}, {"modules", r.quantised_modules}, {"language_linears", r.language_linears}};
  j["memory"] = {{"context_tokens", r.context},
                 {"weights_bytes", r.needed_bytes},
                 {"kv_bytes_per_token", r.kv_bytes_per_token},
                 {"kv_bytes", r.kv_bytes},
                 {"activation_bytes", r.activation_bytes},
                 {"total_bytes", r.total_bytes}};
  j["warnings"] = r.config.warnings;
  return j.dump(2);
}

}  // namespace vl8
