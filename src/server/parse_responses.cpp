// /v1/responses (platform.openai.com/docs/api-reference/responses). Conversations are not stored: each request brings all
// of its items.
#include "server/parse_common.h"

namespace vl8 {
namespace {

Json response_part(const Json& json, const std::string& path, ApiRequest& r, const ParseContext& context) {
  Fields part(json, path);
  part.need("type");
  const std::string type = *part.one_of("type", {"input_text", "output_text", "text", "refusal", "input_image", "input_video"});
  if (type == "refusal") return {{"type", "text"}, {"text", part.need_string("refusal")}};
  if (type == "input_image" || type == "input_video") {
    const bool image = type == "input_image";
    const char* key = image ? "image_url" : "video_url";
    if (!part.has(key) && part.has("file_id")) part.refuse("file_id", "files are not stored here; send the picture as image_url");
    MediaSource m{image ? MediaSource::Kind::image : MediaSource::Kind::video, part.need_string(key), part.path(key), read_detail(part)};
    return media_part(r, std::move(m), context);
  }
  return {{"type", "text"}, {"text", part.need_string("text")}};
}

Json content(const Fields& item, std::string_view key, ApiRequest& r, const ParseContext& context) {
  const Json& value = item.need(key);
  if (value.is_string()) return value;
  const Json& list = *item.array(key);
  Json parts = Json::array();
  for (size_t i = 0; i < list.size(); ++i) parts.push_back(response_part(list[i], at(item.path(key), i), r, context));
  return parts;
}

// Calls and reasoning belong to the assistant's message: they are added to the last one, or open it.
Json& assistant(ApiRequest& r) {
  Json& messages = r.chat.messages;
  if (messages.empty() || messages.back()["role"] != "assistant") messages.push_back({{"role", "assistant"}, {"content", ""}});
  return messages.back();
}

void add_call(const Fields& item, ApiRequest& r) {
  Json arguments = Json::parse(item.need_string("arguments"), nullptr, false);
  if (!arguments.is_object()) arguments = item.need_string("arguments");
  assistant(r)["tool_calls"].push_back({{"id", item.need_string("call_id")},
                                        {"type", "function"},
                                        {"function", {{"name", item.need_string("name")}, {"arguments", arguments}}}});
}

void add_reasoning(const Fields& item, ApiRequest& r) {
  std::string text;
  for (const char* key : {"content", "summary"})
    if (const Json* list = item.array(key); list && text.empty())
      for (const Json& part : *list)
        if (part.is_object() && part.contains("text") && part["text"].is_string()) text += part["text"].get<std::string>();
  if (!text.empty()) r.chat.messages.push_back({{"role", "assistant"}, {"content", ""}, {"reasoning_content", text}});
}

void add_message(const Fields& item, ApiRequest& r, const ParseContext& context) {
  item.need("role");
  const std::string role = *item.one_of("role", {"user", "assistant", "system", "developer"});
  Json parts = content(item, "content", r, context);
  if (role != "assistant") {
    r.chat.messages.push_back({{"role", role == "developer" ? "system" : role}, {"content", parts}});
    return;
  }
  const bool open = !r.chat.messages.empty() && r.chat.messages.back()["role"] == "assistant" &&
                    r.chat.messages.back()["content"] == "" && !r.chat.messages.back().contains("tool_calls");
  if (open) r.chat.messages.back()["content"] = parts;  // its reasoning stood in front
  else r.chat.messages.push_back({{"role", "assistant"}, {"content", parts}});
}

void add_item(const Json& json, const std::string& path, ApiRequest& r, const ParseContext& context) {
  Fields item(json, path);
  const std::string type = item.string("type").value_or("message");
  if (type == "message") return add_message(item, r, context);
  if (type == "function_call") return add_call(item, r);
  if (type == "reasoning") return add_reasoning(item, r);
  if (type == "function_call_output") {
    r.chat.messages.push_back({{"role", "tool"}, {"tool_call_id", item.need_string("call_id")}, {"content", content(item, "output", r, context)}});
    return;
  }
  if (type == "item_reference") throw ApiError(400, "invalid_request_error", path + ": items are not stored here; send the item itself (store: false)", path, "unsupported");
  fail_field(path + ".type", "'{}' is not supported; there are message, function_call, function_call_output and reasoning", type.substr(0, 60));
}

void read_response_tools(const Fields& body, ApiRequest& r, const ParseContext& context) {
  if (const Json* tools = body.array("tools"))
    for (size_t i = 0; i < tools->size(); ++i) {
      Fields tool((*tools)[i], at("tools", i));
      if (tool.need_string("type") != "function")
        throw ApiError(400, "invalid_request_error", fmt::format("tools[{}].type: only function tools are supported", i), tool.path("type"), "unsupported");
      add_tool(r, function_tool(tool, "parameters"), at("tools", i), context);
    }
  if (auto p = body.boolean("parallel_tool_calls")) r.tools.parallel = *p;
  const Json* choice = body.find("tool_choice");
  if (!choice) return;
  if (choice->is_string()) {
    const std::string mode = *body.one_of("tool_choice", {"none", "auto", "required"});
    if (mode == "none") r.tools.mode = ToolMode::none;
    if (mode == "required") choose_tool(r, ToolMode::required, {}, "tool_choice");
    return;
  }
  Fields c(*choice, "tool_choice");
  c.need("type");
  c.one_of("type", {"function"});
  choose_tool(r, ToolMode::named, c.need_string("name"), "tool_choice.name");
}

}  // namespace

ApiRequest parse_responses(const Json& json, const ParseContext& context) {
  Fields body(json, "");
  ApiRequest r;
  read_model(body, context, r);
  for (const char* key : {"previous_response_id", "conversation", "prompt"}) body.refuse(key, "nothing is stored here; send the whole conversation as input");
  body.refuse("background", "answers are given at once; use stream");
  r.chat.messages = Json::array();
  if (auto text = body.string("instructions")) r.chat.messages.push_back({{"role", "system"}, {"content", *text}});
  const Json& input = body.need("input");
  if (input.is_string()) {
    r.chat.messages.push_back({{"role", "user"}, {"content", input}});
  } else {
    const Json& items = *body.array("input");
    check_messages(items, "input", context);
    for (size_t i = 0; i < items.size(); ++i) add_item(items[i], at("input", i), r, context);
  }
  read_sampling(body, context, r);
  read_max_tokens(body, {"max_output_tokens"}, context, r);
  read_media_options(body, r);
  read_scheduling(body, r);
  read_response_tools(body, r, context);
  if (auto text = body.object("text"))
    if (auto format = text->object("format")) {
      format->need("type");
      read_format(*format, *format, r);
    }
  read_guided(body, r);
  read_reasoning(body, r);
  if (auto reasoning = body.object("reasoning")) {
    Json effort = {{"reasoning_effort", reasoning->json().value("effort", Json())}};
    if (auto n = reasoning->integer("max_tokens", 0, INT64_MAX)) effort["thinking_budget"] = *n;
    Json kept = r.chat.template_options.extra;
    read_reasoning(Fields(effort, ""), r);
    if (kept.is_object()) kept.update(r.chat.template_options.extra.is_object() ? r.chat.template_options.extra : Json::object()), r.chat.template_options.extra = kept;
  }
  if (auto top = body.integer("top_logprobs", 0, 20)) r.logprobs = true, r.chat.sampling.logprobs = int32_t(*top);
  if (const Json* include = body.array("include"))
    for (const Json& what : *include)
      if (what == "message.output_text.logprobs" && !r.logprobs) r.logprobs = true, r.chat.sampling.logprobs = 0;
  r.stream = body.boolean("stream").value_or(false);
  r.include_usage = true;
  finish_request(r);
  return r;
}

}  // namespace vl8
