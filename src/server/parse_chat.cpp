// /v1/chat/completions (platform.openai.com/docs/api-reference/chat, and vLLM's additions).
#include "server/parse_common.h"

namespace vl8 {
namespace {

std::string url_of(const Fields& part, std::string_view key) {
  const Json& v = part.need(key);
  if (v.is_string()) return v.get<std::string>();
  return Fields(v, part.path(key)).need_string("url");
}

MediaSource media_source(const Fields& part, std::string_view key, MediaSource::Kind kind) {
  MediaSource m{kind, url_of(part, key), part.path(key)};
  if (part.need(key).is_object()) m.param += ".url", m.detail = read_detail(Fields(part.need(key), part.path(key)));
  else m.detail = read_detail(part);
  return m;
}

Json chat_part(const Json& json, const std::string& path, bool media_allowed, ApiRequest& r, const ParseContext& context) {
  Fields part(json, path);
  const std::string type = part.need_string("type");
  if (type == "text" || type == "input_text" || type == "output_text") return {{"type", "text"}, {"text", part.need_string("text")}};
  if (type == "refusal") return {{"type", "text"}, {"text", part.need_string("refusal")}};
  const bool image = type == "image_url" || type == "input_image", video = type == "video_url" || type == "input_video";
  if (image || video) {
    if (!media_allowed) fail_field(path, "pictures and clips may stand in user and tool messages only");
    const char* key = image ? "image_url" : "video_url";
    return media_part(r, media_source(part, key, image ? MediaSource::Kind::image : MediaSource::Kind::video), context);
  }
  if (type == "input_audio" || type == "file")
    throw ApiError(400, "invalid_request_error", fmt::format("{}.type: '{}' is not supported: this model reads text, pictures and clips", path, type),
                   path + ".type", "unsupported");
  fail_field(path + ".type", "'{}' is not known; there are text, image_url and video_url", type.substr(0, 60));
}

Json read_content(const Fields& message, bool media_allowed, ApiRequest& r, const ParseContext& context) {
  const Json* content = message.find("content");
  if (!content) return nullptr;
  if (content->is_string()) return *content;
  const std::string path = message.path("content");
  if (!content->is_array()) fail_field(path, "must be a string or an array of parts, not {}", json_type(*content));
  Json parts = Json::array();
  for (size_t i = 0; i < content->size(); ++i) parts.push_back(chat_part((*content)[i], at(path, i), media_allowed, r, context));
  return parts;
}

// Arguments become an object where they are one, so that every template can show them.
Json read_call(const Fields& call) {
  Fields f = call.need_object("function");
  Json arguments = Json::object();
  if (auto text = f.string("arguments"); text && !text->empty()) {
    arguments = Json::parse(*text, nullptr, false);
    if (!arguments.is_object()) arguments = *text;
  }
  return {{"id", call.string("id").value_or("")}, {"type", "function"}, {"function", {{"name", f.need_string("name")}, {"arguments", arguments}}}};
}

Json read_message(const Json& json, const std::string& path, ApiRequest& r, const ParseContext& context) {
  Fields m(json, path);
  m.need("role");
  const std::string role = *m.one_of("role", {"system", "developer", "user", "assistant", "tool", "function"});
  Json out = {{"role", role == "developer" ? "system" : role == "function" ? "tool" : role}};
  const bool reads_media = role == "user" || role == "tool";
  out["content"] = read_content(m, reads_media, r, context);
  if (role == "assistant") {
    if (const Json* calls = m.array("tool_calls")) {
      Json list = Json::array();
      for (size_t i = 0; i < calls->size(); ++i) list.push_back(read_call(Fields((*calls)[i], at(m.path("tool_calls"), i))));
      if (!list.empty()) out["tool_calls"] = list;
    }
    for (const char* key : {"reasoning_content", "reasoning"})
      if (const Json* text = m.find(key); text && text->is_string()) out["reasoning_content"] = *text;
    if (out["content"].is_null() && !out.contains("tool_calls") && !m.has("refusal") && !m.has("function_call"))
      fail_field(m.path("content"), "an assistant message needs content or tool_calls");
  } else if (out["content"].is_null()) {
    fail_field(m.path("content"), "is missing");
  }
  if (auto name = m.string("name")) out["name"] = *name;
  if (role == "tool") out["tool_call_id"] = m.string("tool_call_id").value_or("");
  return out;
}

void read_chat_tools(const Fields& body, ApiRequest& r, const ParseContext& context) {
  if (const Json* tools = body.array("tools"))
    for (size_t i = 0; i < tools->size(); ++i) {
      const std::string path = at("tools", i);
      Fields tool((*tools)[i], path);
      tool.need("type");
      tool.one_of("type", {"function"});
      add_tool(r, function_tool(tool.need_object("function"), "parameters"), path, context);
    }
  body.refuse("functions", "is OpenAI's older name; send the functions as tools");
  body.refuse("function_call", "is OpenAI's older name; use tool_choice");
  if (auto p = body.boolean("parallel_tool_calls")) r.tools.parallel = *p;
  const Json* choice = body.find("tool_choice");
  if (!choice) return;
  if (choice->is_string()) {
    const std::string mode = *body.one_of("tool_choice", {"none", "auto", "required", "any"});
    if (mode == "none") r.tools.mode = ToolMode::none;
    else if (mode != "auto") choose_tool(r, ToolMode::required, {}, "tool_choice");
    return;
  }
  Fields c(*choice, "tool_choice");
  c.need("type");
  c.one_of("type", {"function"});
  choose_tool(r, ToolMode::named, c.need_object("function").need_string("name"), "tool_choice.function.name");
}

void read_logprobs(const Fields& body, ApiRequest& r) {
  r.logprobs = body.boolean("logprobs").value_or(false);
  auto top = body.integer("top_logprobs", 0, 20);
  if (top && *top > 0 && !r.logprobs) fail_field("top_logprobs", "needs logprobs: true");
  if (r.logprobs) r.chat.sampling.logprobs = int32_t(top.value_or(0));
}

}  // namespace

ApiRequest parse_chat(const Json& json, const ParseContext& context) {
  Fields body(json, "");
  ApiRequest r;
  read_model(body, context, r);
  const Json& messages = body.need_array("messages");
  check_messages(messages, "messages", context);
  r.chat.messages = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) r.chat.messages.push_back(read_message(messages[i], at("messages", i), r, context));
  read_sampling(body, context, r);
  read_stops(body, "stop", context, r);
  read_max_tokens(body, {"max_completion_tokens", "max_tokens"}, context, r);
  read_media_options(body, r);
  read_scheduling(body, r);
  read_chat_tools(body, r, context);
  if (auto format = body.object("response_format")) {
    format->need("type");
    const bool with_schema = format->json()["type"] == "json_schema";
    read_format(*format, with_schema ? format->need_object("json_schema") : *format, r);
  }
  read_guided(body, r);
  read_reasoning(body, r);
  read_logprobs(body, r);
  r.n = int(body.integer("n", 1, context.limits.max_n).value_or(1));
  r.stream = body.boolean("stream").value_or(false);
  if (auto o = body.object("stream_options")) {
    if (!r.stream) fail_field("stream_options", "is allowed only with stream: true");
    r.include_usage = o->boolean("include_usage").value_or(false);
  }
  if (auto ignore = body.boolean("ignore_eos")) r.chat.ignore_end = *ignore;
  body.refuse("audio", "this model does not speak");
  finish_request(r);
  return r;
}

}  // namespace vl8
