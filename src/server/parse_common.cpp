#include "server/parse_common.h"

#include <algorithm>
#include <random>

namespace vl8 {
namespace {

constexpr int64_t kMaxInt = INT64_MAX;

template <typename T, typename V>
void set(T& field, const std::optional<V>& value) {
  if (value) field = T(*value);
}

uint64_t fresh_seed() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return random();
}

void read_logit_bias(const Fields& body, const ParseContext& context, SamplingParams& s) {
  auto bias = body.object("logit_bias");
  if (!bias) return;
  if (bias->json().size() > 1024) fail_field("logit_bias", "at most 1024 tokens, not {}", bias->json().size());
  for (const auto& [key, value] : bias->json().items()) {
    char* end = nullptr;
    const long long id = std::strtoll(key.c_str(), &end, 10);
    if (key.empty() || *end || id < 0 || id >= context.model.vocabulary)
      fail_field("logit_bias", "'{}' is not a token id (0 to {})", key.substr(0, 40), context.model.vocabulary - 1);
    s.logit_bias.emplace_back(int32_t(id), float(*bias->number(key, -100, 100)));
  }
}

void read_pixels(const Fields& from, ApiRequest& r) {
  ChatRequest& c = r.chat;
  if (auto v = from.integer("min_pixels", 1, kMaxInt)) c.image_overrides.min_pixels = c.video_overrides.min_pixels = *v;
  if (auto v = from.integer("max_pixels", 1, kMaxInt)) c.image_overrides.max_pixels = c.video_overrides.max_pixels = *v;
  if (auto v = from.number("fps", 1e-3, 240)) c.video_overrides.fps = *v;
  if (auto v = from.integer("num_frames", 1, 4096)) c.video_overrides.num_frames = *v;
  if (auto size = from.object("size")) {  // the processor's own names
    if (auto v = size->integer("shortest_edge", 1, kMaxInt)) c.image_overrides.min_pixels = *v;
    if (auto v = size->integer("longest_edge", 1, kMaxInt)) c.image_overrides.max_pixels = *v;
  }
  if (c.image_overrides.min_pixels && c.image_overrides.max_pixels && *c.image_overrides.min_pixels > *c.image_overrides.max_pixels)
    fail_field(from.path("min_pixels"), "{} is more than max_pixels, {}", *c.image_overrides.min_pixels, *c.image_overrides.max_pixels);
}

}  // namespace

void read_model(const Fields& body, const ParseContext& context, ApiRequest& r) {
  r.model = body.string("model").value_or(context.model.names.front());
  if (r.model.size() > 512) fail_field("model", "is longer than 512 bytes");
  if (context.model.any_name) return;
  for (const std::string& n : context.model.names)
    if (n == r.model) return;
  throw ApiError(404, "invalid_request_error", fmt::format("model: '{}' is not served here; there is '{}'", r.model, context.model.names.front()),
                 "model", "model_not_found");
}

void read_sampling(const Fields& body, const ParseContext& context, ApiRequest& r) {
  SamplingParams& s = r.chat.sampling;
  s = context.model.sampling;
  set(s.temperature, body.number("temperature", 0, 2));
  set(s.top_p, body.number("top_p", 0, 1));
  if (s.top_p == 0) s.top_p = 1e-6f;  // OpenAI allows 0: the most likely token alone
  if (auto k = body.integer("top_k", -1, kMaxInt)) s.top_k = int32_t(std::clamp<int64_t>(*k, 0, context.model.vocabulary));
  set(s.min_p, body.number("min_p", 0, 0.999999));
  set(s.repetition_penalty, body.number("repetition_penalty", 1e-3, 100));
  set(s.presence_penalty, body.number("presence_penalty", -2, 2));
  set(s.frequency_penalty, body.number("frequency_penalty", -2, 2));
  auto seed = body.integer("seed", INT64_MIN, INT64_MAX);
  r.seeded = seed.has_value();
  s.seed = seed ? uint64_t(*seed) : fresh_seed();
  read_logit_bias(body, context, s);
}

void read_stops(const Fields& body, std::string_view key, const ParseContext& context, ApiRequest& r) {
  const Json* stop = body.find(key);
  if (!stop) return;
  const std::string path = body.path(key);
  Json list = stop->is_string() ? Json::array({*stop}) : *stop;
  if (!list.is_array()) fail_field(path, "must be a string or an array of strings, not {}", json_type(*stop));
  if (int(list.size()) > context.limits.max_stops) fail_field(path, "at most {} stop sequences, not {}", context.limits.max_stops, list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_string()) fail_field(at(path, i), "must be a string, not {}", json_type(list[i]));
    std::string s = list[i].get<std::string>();
    if (s.size() > 1024) fail_field(at(path, i), "is longer than 1024 bytes");
    if (!s.empty()) r.chat.stops.push_back(std::move(s));
  }
}

void read_max_tokens(const Fields& body, std::initializer_list<std::string_view> keys, const ParseContext& context, ApiRequest& r) {
  r.chat.max_tokens = context.limits.default_max_tokens;
  for (std::string_view key : keys)
    if (auto n = body.integer(key, 1, kMaxInt)) {
      const int64_t limit = context.limits.max_tokens;
      if (limit > 0 && *n > limit) fail_field(body.path(key), "this server allows at most {} tokens per answer, not {}", limit, *n);
      r.chat.max_tokens = *n;
      break;
    }
  if (context.limits.max_tokens > 0 && r.chat.max_tokens == 0) r.chat.max_tokens = std::min<int64_t>(context.limits.max_tokens, 4096);
}

void read_media_options(const Fields& body, ApiRequest& r) {
  if (auto k = body.object("mm_processor_kwargs")) read_pixels(*k, r);
  read_pixels(body, r);
  if (auto boxes = body.one_of("boxes", {"square", "pixels"})) r.pixel_boxes = *boxes == "pixels";
  set(r.boxes_image, body.integer("boxes_image", 0, 4096));
  if (auto id = body.boolean("add_vision_id")) r.chat.template_options.add_vision_id = *id;
}

void read_scheduling(const Fields& body, ApiRequest& r) {
  set(r.priority, body.integer("priority", -1000000, 1000000));
  set(r.timeout_s, body.number("timeout", 1e-3, 86400));
  if (auto salt = body.string("cache_salt")) r.cache_salt = *salt;
}

void read_reasoning(const Fields& body, ApiRequest& r) {
  Json& extra = r.chat.template_options.extra;
  if (auto kwargs = body.object("chat_template_kwargs")) {
    extra = kwargs->json();
    for (const char* own : {"messages", "tools", "add_generation_prompt"})
      if (extra.contains(own)) fail_field(kwargs->path(own), "is set by the request itself");
    r.reasoning.enabled = kwargs->boolean("enable_thinking");
    if (auto id = kwargs->boolean("add_vision_id")) r.chat.template_options.add_vision_id = *id, extra.erase("add_vision_id");
  }
  if (auto on = body.boolean("enable_thinking")) r.reasoning.enabled = *on;
  for (const char* key : {"thinking_budget", "thinking_token_budget"})
    set(r.reasoning.budget, body.integer(key, 0, kMaxInt));
  if (auto effort = body.one_of("reasoning_effort", {"none", "minimal", "low", "medium", "high", "xhigh", "max"})) {
    // Shares of a long answer; "high" and above have no limit of their own.
    if (*effort == "none") r.reasoning.enabled = false;
    if (*effort == "minimal") r.reasoning.budget = 128;
    if (*effort == "low") r.reasoning.budget = 512;
    if (*effort == "medium") r.reasoning.budget = 2048;
    if (*effort != "none" && !r.reasoning.enabled) r.reasoning.enabled = true;
  }
  if (auto include = body.boolean("include_reasoning")) r.reasoning.include = *include;
  if (r.reasoning.budget == 0) r.reasoning.enabled = false;
  if (r.reasoning.enabled) extra["enable_thinking"] = *r.reasoning.enabled;
}

std::string read_detail(const Fields& part) {
  return part.one_of("detail", {"auto", "low", "high", "original"}).value_or("auto");
}

Json media_part(ApiRequest& r, MediaSource source, const ParseContext& context) {
  const bool image = source.kind == MediaSource::Kind::image;
  if (source.url.empty()) fail_field(source.param, "is empty; a data:, http(s): or file: URL is needed");
  int count = 1;
  for (const MediaSource& m : r.media) count += m.kind == source.kind;
  if (const int limit = image ? context.limits.max_images : context.limits.max_videos; count > limit)
    fail_field(source.param, "this server takes at most {} {} in one request", limit, image ? "pictures" : "clips");
  r.media.push_back(std::move(source));
  return {{"type", image ? "image" : "video"}};
}

Json function_tool(const Fields& function, std::string_view parameters_key) {
  const std::string name = function.need_string("name");
  const bool plain = !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-' || c == '.'; });
  if (!plain) fail_field(function.path("name"), "must be 1 to 64 letters, digits, '_', '-' or '.'");
  Json f = {{"name", name}};
  if (auto d = function.string("description")) f["description"] = *d;
  auto parameters = function.object(parameters_key);
  f["parameters"] = parameters ? parameters->json() : Json{{"type", "object"}, {"properties", Json::object()}};
  if (auto strict = function.boolean("strict"); strict && *strict) f["strict"] = true;
  return {{"type", "function"}, {"function", std::move(f)}};
}

void add_tool(ApiRequest& r, Json tool, const std::string& path, const ParseContext& context) {
  if (int(r.tools.functions.size()) >= context.limits.max_tools) fail_field(path, "at most {} tools", context.limits.max_tools);
  for (const Json& other : r.tools.functions)
    if (other["function"]["name"] == tool["function"]["name"])
      fail_field(path, "there are two tools named '{}'", tool["function"]["name"].get<std::string>());
  r.tools.functions.push_back(std::move(tool));
  if (r.tools.mode == ToolMode::none) r.tools.mode = ToolMode::automatic;
}

void choose_tool(ApiRequest& r, ToolMode mode, const std::string& name, const std::string& path) {
  if (mode != ToolMode::none && r.tools.functions.empty()) fail_field(path, "asks for a tool, but the request has no tools");
  if (mode == ToolMode::named) {
    bool known = false;
    for (const Json& t : r.tools.functions) known |= t["function"]["name"] == name;
    if (!known) fail_field(path, "names '{}', which is not among the tools", name.substr(0, 80));
  }
  r.tools.mode = mode;
  r.tools.name = name;
}

void read_format(const Fields& format, const Fields& schema, ApiRequest& r) {
  const std::string type = *format.one_of("type", {"text", "json_object", "json_schema"});
  r.format.param = format.path();
  if (type == "text") return;
  if (type == "json_object") {
    r.format.kind = AnswerFormat::Kind::json_object;
    return;
  }
  r.format.kind = AnswerFormat::Kind::json_schema;
  r.format.name = schema.string("name").value_or("response");
  const Json* s = schema.find("schema");
  if (s && !s->is_object() && !s->is_boolean()) fail_field(schema.path("schema"), "must be a JSON schema (an object), not {}", json_type(*s));
  r.format.schema = s ? *s : Json::object();
  r.format.param = schema.path("schema");
}

void read_guided(const Fields& body, ApiRequest& r) {
  using Kind = AnswerFormat::Kind;
  // vLLM's older names stand in the body, the newer ones in "structured_outputs".
  auto take = [&](const Fields& from, std::string_view key, Kind kind) {
    const Json* v = from.find(key);
    if (!v) return;
    AnswerFormat& f = r.format;
    if (f.kind != Kind::text) fail_field(from.path(key), "a request may set one output format only; {} is set too", f.param);
    f.kind = kind;
    f.param = from.path(key);
    switch (kind) {
      case Kind::json_schema:
        f.schema = v->is_string() ? parse_json(v->get_ref<const std::string&>(), f.param) : *v;
        if (!f.schema.is_object() && !f.schema.is_boolean()) fail_field(f.param, "must be a JSON schema, not {}", json_type(f.schema));
        break;
      case Kind::choice:
        for (const Json& c : *from.array(key)) {
          if (!c.is_string()) fail_field(f.param, "must be an array of strings");
          f.choices.push_back(c.get<std::string>());
        }
        if (f.choices.empty()) fail_field(f.param, "is empty; the answer must be one of its strings");
        break;
      case Kind::json_object:
        if (!*from.boolean(key)) f.kind = Kind::text;
        break;
      default: f.pattern = *from.string(key);
    }
  };
  take(body, "guided_json", Kind::json_schema);
  take(body, "guided_regex", Kind::regex);
  take(body, "guided_choice", Kind::choice);
  take(body, "guided_grammar", Kind::grammar);
  if (auto s = body.object("structured_outputs")) {
    take(*s, "json", Kind::json_schema);
    take(*s, "regex", Kind::regex);
    take(*s, "choice", Kind::choice);
    take(*s, "grammar", Kind::grammar);
    take(*s, "json_object", Kind::json_object);
  }
}

void check_messages(const Json& messages, const std::string& path, const ParseContext& context) {
  if (messages.empty()) fail_field(path, "is empty; at least one message is needed");
  if (int(messages.size()) > context.limits.max_messages)
    fail_field(path, "at most {} messages, not {}", context.limits.max_messages, messages.size());
}

void finish_request(ApiRequest& r) {
  const bool forced = r.tools.mode == ToolMode::required || r.tools.mode == ToolMode::named;
  if (forced && r.format.kind != AnswerFormat::Kind::text)
    fail_field(r.format.param, "cannot be combined with a tool_choice that forces a call: the answer is the call");
  int images = 0;
  for (const MediaSource& m : r.media) images += m.kind == MediaSource::Kind::image;
  if (r.pixel_boxes && r.boxes_image >= std::max(images, 1))
    fail_field("boxes_image", "{} is not the index of a picture; the request has {}", r.boxes_image, images);
  if (r.tools.mode != ToolMode::none) r.chat.tools = r.tools.functions;
  r.chat.sampling.validate();
}

}  // namespace vl8
