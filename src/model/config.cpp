// Reads config.json. Field readers name the field in every message; the order follows the header.
#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"

namespace vl8 {
namespace {
using nlohmann::json;

// One object of the file with its path for messages: ("DIR/config.json", "text_config").
class Section {
 public:
  Section(const json& object, std::string origin, std::string path)
      : object_(object), origin_(std::move(origin)), path_(std::move(path)) {
    if (!object_.is_object())
      fail_input("{}: {} is not an object", origin_, path_.empty() ? "the file" : path_);
  }

  std::string full(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }
  // Present and not null.
  bool has(const char* key) const { return object_.contains(key) && !object_.at(key).is_null(); }
  const json& get(const char* key) const {
    if (!has(key)) fail_input("{}: {} is missing", origin_, full(key));
    return object_.at(key);
  }
  Section section(const char* key) const { return {get(key), origin_, full(key)}; }

  int64_t integer(const char* key, int64_t low, int64_t high) const {
    return integer_of(get(key), key, low, high);
  }
  int64_t integer(const char* key, int64_t low, int64_t high, int64_t otherwise) const {
    return has(key) ? integer(key, low, high) : otherwise;
  }
  double number(const char* key, double low, double high) const {
    const json& v = get(key);
    double x = v.is_number() ? v.get<double>() : NAN;
    if (!(x >= low && x <= high))
      fail_input("{}: {} is {}, expected a number in {}..{}", origin_, full(key), shown(v), low, high);
    return x;
  }
  double number(const char* key, double low, double high, double otherwise) const {
    return has(key) ? number(key, low, high) : otherwise;
  }
  bool boolean(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!get(key).is_boolean())
      fail_input("{}: {} is {}, expected true or false", origin_, full(key), shown(get(key)));
    return get(key).get<bool>();
  }
  std::string text(const char* key) const {
    if (!get(key).is_string())
      fail_input("{}: {} is {}, expected a string", origin_, full(key), shown(get(key)));
    return get(key).get<std::string>();
  }
  std::string text(const char* key, const char* otherwise) const { return has(key) ? text(key) : otherwise; }
  std::vector<int64_t> integers(const char* key, int64_t low, int64_t high, size_t max_count) const {
    const json& v = get(key);
    if (!v.is_array() || v.size() > max_count)
      fail_input("{}: {} is {}, expected a list of at most {} integers", origin_, full(key), shown(v),
                 max_count);
    std::vector<int64_t> out;
    for (const json& item : v) out.push_back(integer_of(item, key, low, high));
    return out;
  }
  std::vector<std::string> texts(const char* key) const {
    const json& v = get(key);
    if (!v.is_array()) fail_input("{}: {} is {}, expected a list of names", origin_, full(key), shown(v));
    std::vector<std::string> out;
    for (const json& item : v) {
      if (!item.is_string()) fail_input("{}: {} holds {}, expected names", origin_, full(key), shown(item));
      out.push_back(item.get<std::string>());
    }
    return out;
  }
  // The value must be `wanted` where it is given at all.
  template <typename T>
  void only(const char* key, const T& wanted) const {
    if (has(key) && get(key) != json(wanted))
      fail(ErrorKind::unsupported, "{}: {} is {}; vl8 supports {}", origin_, full(key), shown(get(key)),
           json(wanted).dump());
  }
  const std::string& origin() const { return origin_; }
  const json& object() const { return object_; }
  static std::string shown(const json& v) {
    std::string s = v.dump(-1, ' ', true, json::error_handler_t::replace);
    return s.size() > 80 ? s.substr(0, 77) + "..." : s;
  }

 private:
  int64_t integer_of(const json& v, const char* key, int64_t low, int64_t high) const {
    // Some tools write 5000000.0 for 5000000; any other fraction is an error.
    bool whole = v.is_number_integer() || (v.is_number_float() && std::abs(v.get<double>()) < 0x1p53 &&
                                           v.get<double>() == std::floor(v.get<double>()));
    if (v.is_number_unsigned() && v.get<uint64_t>() > uint64_t(INT64_MAX)) whole = false;
    int64_t x = !whole ? 0 : v.is_number_float() ? int64_t(v.get<double>()) : v.get<int64_t>();
    if (!whole || x < low || x > high)
      fail_input("{}: {} is {}, expected an integer in {}..{}", origin_, full(key), shown(v), low, high);
    return x;
  }
  const json& object_;
  std::string origin_, path_;
};

// Bounds are far above every released size; they keep every product of two sizes inside 64 bits.
constexpr int64_t kMaxLayers = 1024, kMaxHeads = 1024, kMaxHeadDim = 1024, kMaxHidden = 1 << 17,
                  kMaxWide = 1 << 20, kMaxVocab = 1 << 22, kMaxExperts = 1 << 14,
                  kMaxPositions = int64_t(1) << 31;

// YaRN's fields (spec 1.6: factor 2 to 3 over 262144 is what the family recommends).
void read_yarn(const Section& rope, const TextConfig& text, RopeConfig& out) {
  out.yarn_factor = rope.number("factor", 1, 1024);
  out.yarn_original_positions =
      rope.integer("original_max_position_embeddings", 1, kMaxPositions, text.max_positions);
  out.yarn_beta_fast = rope.number("beta_fast", 1e-3, 1e6, 32);
  out.yarn_beta_slow = rope.number("beta_slow", 1e-3, 1e6, 1);
  out.yarn_attention_factor = rope.number("attention_factor", 0, 1e3, 0);
  rope.only("truncate", true);
  for (const char* key : {"mscale", "mscale_all_dim"})
    if (rope.has(key)) fail(ErrorKind::unsupported, "{}: {} is not supported", rope.origin(), rope.full(key));
}

void read_rope(const Section& in, TextConfig& text, std::vector<std::string>& warnings) {
  const bool v5 = in.has("rope_parameters");
  if (!v5 && !in.has("rope_scaling"))
    fail_input("{}: {} is missing (or rope_parameters, in files written by transformers 5)", in.origin(),
               in.full("rope_scaling"));
  Section rope = in.section(v5 ? "rope_parameters" : "rope_scaling");
  if (v5 && in.has("rope_scaling") && in.get("rope_scaling") != in.get("rope_parameters"))
    warnings.push_back(
        "config.json has rope_parameters and a different rope_scaling; rope_parameters is used");
  // transformers 4 and 5 have different defaults for theta, so it is never assumed (spec 1.1).
  const Section& theta_at = rope.has("rope_theta") ? rope : in;
  text.rope.theta = theta_at.number("rope_theta", 1, 1e12);
  text.rope.head_dim = text.head_dim;
  auto section = rope.integers("mrope_section", 0, kMaxHeadDim, 3);
  if (section.size() != 3 || 2 * (section[0] + section[1] + section[2]) != text.head_dim)
    fail_input("{}: {} must be three sizes that add up to half of head_dim, {}", in.origin(),
               rope.full("mrope_section"), text.head_dim / 2);
  std::copy(section.begin(), section.end(), text.rope.section);
  rope.only("mrope_interleaved", true);
  rope.only("partial_rotary_factor", 1.0);
  in.only("partial_rotary_factor", 1.0);
  std::string type = rope.has("rope_type") ? rope.text("rope_type") : rope.text("type", "default");
  if (type == "yarn")
    read_yarn(rope, text, text.rope);
  else if (type != "default" && type != "mrope")  // "mrope" is an older word for the same default
    fail(ErrorKind::unsupported, "{}: {} is \"{}\"; vl8 supports \"default\" and \"yarn\"", in.origin(),
         rope.full("rope_type"), type);
}

void read_experts(const Section& in, TextConfig& text, std::vector<std::string>& warnings) {
  text.experts = in.integer("num_experts", 1, kMaxExperts);
  text.experts_per_token = in.integer("num_experts_per_tok", 1, text.experts);
  text.expert_intermediate = in.integer("moe_intermediate_size", 1, kMaxWide);
  text.sparse_step = in.integer("decoder_sparse_step", 1, kMaxLayers, 1);
  if (in.has("mlp_only_layers"))
    text.mlp_only_layers = in.integers("mlp_only_layers", 0, text.layers - 1, kMaxLayers);
  if (!in.boolean("norm_topk_prob", true))
    warnings.push_back(
        "config.json says norm_topk_prob false; the reference renormalises always, and so does vl8");
  for (const char* key : {"shared_expert_intermediate_size", "n_shared_experts"})
    if (in.has(key) && in.get(key) != json(0))
      fail(ErrorKind::unsupported, "{}: {} is not supported: this family has no shared expert", in.origin(),
           in.full(key));
}

TextConfig read_text(const Section& in, bool moe, std::vector<std::string>& warnings) {
  TextConfig text;
  text.vocab_size = in.integer("vocab_size", 1, kMaxVocab);
  text.hidden_size = in.integer("hidden_size", 1, kMaxHidden);
  text.layers = in.integer("num_hidden_layers", 1, kMaxLayers);
  text.q_heads = in.integer("num_attention_heads", 1, kMaxHeads);
  text.kv_heads = in.integer("num_key_value_heads", 1, text.q_heads);
  if (text.q_heads % text.kv_heads != 0)
    fail_input("{}: {} {} is not a multiple of num_key_value_heads {}", in.origin(),
               in.full("num_attention_heads"), text.q_heads, text.kv_heads);
  text.head_dim =
      in.integer("head_dim", 2, kMaxHeadDim);  // never hidden / heads: 4B and 32B differ (spec 1.2)
  if (text.head_dim % 2 != 0) fail_input("{}: {} {} is odd", in.origin(), in.full("head_dim"), text.head_dim);
  text.intermediate_size = in.integer("intermediate_size", 1, kMaxWide);
  text.max_positions = in.integer("max_position_embeddings", 1, kMaxPositions);
  text.rms_norm_eps = float(in.number("rms_norm_eps", 1e-12, 1e-1));
  in.only("hidden_act", "silu");
  in.only("attention_bias", false);
  in.only("use_sliding_window", false);
  read_rope(in, text, warnings);
  if (moe) read_experts(in, text, warnings);
  return text;
}

VisionConfig read_vision(const Section& in, const TextConfig& text) {
  VisionConfig v;
  v.depth = in.integer("depth", 1, kMaxLayers);
  v.hidden_size = in.integer("hidden_size", 1, kMaxHidden);
  v.intermediate_size = in.integer("intermediate_size", 1, kMaxWide);
  v.heads = in.integer("num_heads", 1, kMaxHeads);
  // Two axes of rotary pairs: the head must split into four.
  if (v.hidden_size % v.heads != 0 || v.head_dim() % 4 != 0 || v.head_dim() > kMaxHeadDim)
    fail_input("{}: {} {} does not divide into {} heads of a size that is a multiple of 4", in.origin(),
               in.full("hidden_size"), v.hidden_size, v.heads);
  v.out_hidden_size = in.integer("out_hidden_size", 1, kMaxHidden);
  if (v.out_hidden_size != text.hidden_size)
    fail_input("{}: {} {} differs from text_config.hidden_size {}", in.origin(), in.full("out_hidden_size"),
               v.out_hidden_size, text.hidden_size);
  v.channels = in.integer("in_channels", 3, 3);
  v.patch_size = in.integer("patch_size", 1, 256);
  v.temporal_patch_size = in.integer("temporal_patch_size", 1, 16);
  v.merge_size = in.integer("spatial_merge_size", 1, 16);
  v.positions = in.integer("num_position_embeddings", 1, 1 << 20);
  int64_t side = int64_t(std::lround(std::sqrt(double(v.positions))));
  if (side * side != v.positions)
    fail_input("{}: {} {} is not a square", in.origin(), in.full("num_position_embeddings"), v.positions);
  v.deepstack = in.integers("deepstack_visual_indexes", 0, v.depth - 1, size_t(v.depth));
  if (!std::is_sorted(v.deepstack.begin(), v.deepstack.end(), std::less_equal<int64_t>()))
    fail_input("{}: {} is not ascending", in.origin(), in.full("deepstack_visual_indexes"));
  if (int64_t(v.deepstack.size()) > text.layers)
    fail_input("{}: {} has {} taps, more than the {} decoder layers that take them", in.origin(),
               in.full("deepstack_visual_indexes"), v.deepstack.size(), text.layers);
  in.only("hidden_act", "gelu_pytorch_tanh");
  return v;
}

std::vector<std::string> read_skip_list(const Section& in, std::vector<std::string>& warnings) {
  std::vector<std::string> names;
  int lists = 0;
  for (const char* key : {"ignored_layers", "modules_to_not_convert", "ignore"}) {
    if (!in.has(key)) continue;
    if (lists++ == 0)
      names = in.texts(key);
    else if (in.texts(key) != names)
      warnings.push_back(
          fmt::format("config.json has two skip lists that differ; {} is not used", in.full(key)));
  }
  return names;
}

void read_block_size(const Section& in, const char* key, QuantConfig& quant) {
  auto size = in.integers(key, 1, 1 << 16, 2);
  if (size.size() != 2) fail_input("{}: {} must be two sizes", in.origin(), in.full(key));
  quant.block_rows = size[0], quant.block_cols = size[1];
}

void read_fp8(const Section& in, QuantConfig& quant) {
  quant.method = QuantMethod::fp8;
  std::string format = in.text("fmt", "e4m3");
  if (format != "e4m3" && format != "e5m2")
    fail(ErrorKind::unsupported, "{}: {} is \"{}\"; vl8 supports e4m3 and e5m2", in.origin(), in.full("fmt"),
         format);
  quant.format = format == "e4m3" ? DType::e4m3 : DType::e5m2;
  std::string scheme = in.text("activation_scheme", "dynamic");
  if (scheme != "dynamic" && scheme != "static")
    fail(ErrorKind::unsupported, "{}: {} is \"{}\"; vl8 supports dynamic and static", in.origin(),
         in.full("activation_scheme"), scheme);
  quant.static_activations = scheme == "static";
  if (in.has("weight_block_size")) read_block_size(in, "weight_block_size", quant);
}

// Groups of eight-bit or four-bit weights (spec 2.5); which modules a group targets is read from the tensors themselves.
void read_compressed_tensors(const Section& in, QuantConfig& quant) {
  quant.method = QuantMethod::compressed_tensors;
  std::string format = in.text("format", "float-quantized");
  constexpr std::string_view kFormats[] = {"float-quantized", "naive-quantized",      "int-quantized",
                                           "pack-quantized",  "nvfp4-pack-quantized", "mixed-precision"};
  if (std::find(std::begin(kFormats), std::end(kFormats), format) == std::end(kFormats))
    fail(ErrorKind::unsupported, "{}: {} is \"{}\"; vl8 reads compressed-tensors in {}", in.origin(), in.full("format"),
         format, fmt::join(kFormats, ", "));
  Section groups = in.section("config_groups");
  for (const auto& [name, value] : groups.object().items()) {
    Section weights = groups.section(name.c_str()).section("weights");
    const int64_t bits = weights.integer("num_bits", 1, 64);
    const std::string type = weights.text("type");
    if ((bits != 8 && bits != 4) || (type != "float" && type != "int"))
      fail(ErrorKind::unsupported, "{}: {} are {} bits of {}; vl8 supports float and int of 8 and 4 bits", in.origin(),
           weights.full("num_bits"), bits, type);
    weights.only("symmetric", true);
    std::string strategy = weights.text("strategy");
    if (strategy == "block")
      read_block_size(weights, "block_structure", quant);
    else if (strategy != "tensor" && strategy != "channel" && strategy != "group" && strategy != "tensor_group")
      fail(ErrorKind::unsupported, "{}: {} is \"{}\"; vl8 supports tensor, channel, block and group", in.origin(),
           weights.full("strategy"), strategy);
    Section group = groups.section(name.c_str());
    const bool is_static =
        group.has("input_activations") && !group.section("input_activations").boolean("dynamic", false);
    (is_static ? quant.static_activations : quant.dynamic_activations) = true;
  }
}

QuantConfig read_quantisation(const Section& top, std::vector<std::string>& warnings) {
  QuantConfig quant;
  const char* key = top.has("quantization_config") ? "quantization_config" : "compression_config";
  if (!top.has(key)) return quant;
  Section in = top.section(key);
  std::string method = in.text("quant_method", in.has("config_groups") ? "compressed-tensors" : "");
  if (method == "fp8")
    read_fp8(in, quant);
  else if (method == "compressed-tensors")
    read_compressed_tensors(in, quant);
  else
    fail(ErrorKind::unsupported,
         "{}: {} is \"{}\"; vl8 reads fp8 and compressed-tensors FP8 checkpoints, and plain BF16 ones",
         top.origin(), in.full("quant_method"), method);
  if (quant.static_activations && quant.block_rows)
    fail_input("{}: {} has static activations with block weights, which no format allows", top.origin(), key);
  quant.skipped = read_skip_list(in, warnings);
  return quant;
}

TokenIds read_tokens(const Section& top, const Section& text, int64_t vocab) {
  TokenIds t;
  t.image = top.integer("image_token_id", 0, vocab - 1);
  t.video = top.integer("video_token_id", 0, vocab - 1);
  t.vision_start = top.integer("vision_start_token_id", 0, vocab - 1);
  t.vision_end = top.integer("vision_end_token_id", 0, vocab - 1);
  for (const Section* in : {&text, &top}) {  // the top level says more, where it speaks
    if (in->has("bos_token_id")) t.bos = in->integer("bos_token_id", 0, vocab - 1);
    if (!in->has("eos_token_id")) continue;
    if (in->get("eos_token_id").is_array())
      t.eos = in->integers("eos_token_id", 0, vocab - 1, 64);
    else
      t.eos = {in->integer("eos_token_id", 0, vocab - 1)};
  }
  return t;
}

bool read_tied(const Section& top, const Section& text, std::vector<std::string>& warnings) {
  if (!top.has("tie_word_embeddings")) return text.boolean("tie_word_embeddings", false);
  bool tied = top.boolean("tie_word_embeddings", false);
  if (text.boolean("tie_word_embeddings", tied) != tied)
    warnings.push_back(fmt::format(
        "config.json: tie_word_embeddings of text_config differs from the top level; {} is used", tied));
  return tied;
}

}  // namespace

bool TextConfig::is_moe_layer(int64_t layer) const {
  if (experts == 0 || (layer + 1) % sparse_step != 0) return false;
  return std::find(mlp_only_layers.begin(), mlp_only_layers.end(), layer) == mlp_only_layers.end();
}

int64_t TextConfig::context_limit() const {
  return std::max(max_positions, int64_t(rope.yarn_factor * double(rope.yarn_original_positions)));
}

ParameterCounts ModelConfig::parameters() const {
  ParameterCounts n;
  const TextConfig& t = text;
  const int64_t H = t.hidden_size;
  n.embeddings = t.vocab_size * H;
  n.head = tied ? 0 : t.vocab_size * H;
  n.attention = t.layers * 2 * H * (t.q_width() + t.kv_width());
  n.text_norms = t.layers * (2 * H + 2 * t.head_dim) + H;
  int64_t active_experts = 0;
  for (int64_t i = 0; i < t.layers; ++i) {
    if (!t.is_moe_layer(i)) {
      n.mlp += 3 * H * t.intermediate_size;
      continue;
    }
    n.router += t.experts * H;
    n.experts += t.experts * 3 * H * t.expert_intermediate;
    active_experts += t.experts_per_token * 3 * H * t.expert_intermediate;
  }
  n.active_text = n.text() - n.experts + active_experts - n.embeddings + (tied ? n.embeddings : H);

  const VisionConfig& v = vision;
  const int64_t D = v.hidden_size, F = v.intermediate_size, W = v.merged_size();
  n.vision_embeddings = D * v.patch_features() + D + v.positions * D;
  n.vision_blocks = v.depth * (4 * D + (3 * D * D + 3 * D) + (D * D + D) + (D * F + F) + (D * F + D));
  const int64_t merger = W * W + W + v.out_hidden_size * (W + 1);
  n.mergers = merger + 2 * D + int64_t(v.deepstack.size()) * (merger + 2 * W);
  return n;
}

int64_t ModelConfig::kv_bytes_per_token(DType dtype) const {
  return 2 * text.layers * text.kv_width() * int64_t(dtype_bytes(dtype));
}

ModelConfig parse_model_config(std::string_view text, const std::string& origin) {
  // The depth is bounded because values are printed and freed by recursion.
  auto shallow = [&](int depth, json::parse_event_t, json&) {
    if (depth > 64) fail_input("{} is nested too deeply", origin);
    return true;
  };
  json root = json::parse(text, shallow, false);
  if (root.is_discarded()) fail_input("{} is not valid JSON", origin);
  Section top(root, origin, "");
  ModelConfig config;
  config.model_type = top.text("model_type");
  const bool moe = config.model_type == "qwen3_vl_moe";
  if (!moe && config.model_type != "qwen3_vl")
    fail(ErrorKind::unsupported, "{}: model_type is {}; vl8 runs \"qwen3_vl\" and \"qwen3_vl_moe\"", origin,
         Section::shown(json(config.model_type)));
  if (top.has("architectures")) {
    auto names = top.texts("architectures");
    if (!names.empty()) config.architecture = names[0];
  }
  Section text_in = top.section("text_config");
  config.text = read_text(text_in, moe, config.warnings);
  config.vision = read_vision(top.section("vision_config"), config.text);
  config.quant = read_quantisation(top, config.warnings);
  config.tied = read_tied(top, text_in, config.warnings);
  config.tokens = read_tokens(top, text_in, config.text.vocab_size);
  return config;
}

ModelConfig load_model_config(const std::filesystem::path& folder) {
  std::filesystem::path file = folder / "config.json";
  return parse_model_config(read_file(file, size_t(64) << 20), file.string());
}

}  // namespace vl8
