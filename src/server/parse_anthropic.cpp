// /v1/messages (docs.anthropic.com/en/api/messages).
#include "server/parse_common.h"

namespace vl8 {
namespace {

// {"type": "base64", media_type, data} | {"type": "url", url}
Json image_block(const Fields& block, ApiRequest& r, const ParseContext& context) {
  Fields source = block.need_object("source");
  source.need("type");
  MediaSource m;
  m.param = source.path();
  if (*source.one_of("type", {"base64", "url"}) == "url") m.url = source.need_string("url");
  else m.url = "data:" + source.need_string("media_type") + ";base64," + source.need_string("data");
  return media_part(r, std::move(m), context);
}

Json result_content(const Fields& block, ApiRequest& r, const ParseContext& context) {
  const Json* content = block.find("content");
  if (!content) return "";
  if (content->is_string()) return *content;
  const Json& list = *block.array("content");
  Json parts = Json::array();
  for (size_t i = 0; i < list.size(); ++i) {
    Fields part(list[i], at(block.path("content"), i));
    part.need("type");
    if (*part.one_of("type", {"text", "image"}) == "image") parts.push_back(image_block(part, r, context));
    else parts.push_back({{"type", "text"}, {"text", part.need_string("text")}});
  }
  return parts;
}

// A user turn may mix results of tools with text: results become messages of their own, in front.
void user_turn(const Fields& m, const Json& blocks, ApiRequest& r, const ParseContext& context) {
  Json parts = Json::array();
  for (size_t i = 0; i < blocks.size(); ++i) {
    Fields block(blocks[i], at(m.path("content"), i));
    block.need("type");
    const std::string type = *block.one_of("type", {"text", "image", "tool_result"});
    if (type == "text") parts.push_back({{"type", "text"}, {"text", block.need_string("text")}});
    else if (type == "image") parts.push_back(image_block(block, r, context));
    else {
      if (!parts.empty()) fail_field(block.path(), "results of tools stand before all other parts of a message");
      r.chat.messages.push_back({{"role", "tool"}, {"tool_call_id", block.need_string("tool_use_id")}, {"content", result_content(block, r, context)}});
    }
  }
  if (!parts.empty()) r.chat.messages.push_back({{"role", "user"}, {"content", parts}});
}

void assistant_turn(const Fields& m, const Json& blocks, ApiRequest& r) {
  Json message = {{"role", "assistant"}, {"content", ""}}, calls = Json::array();
  std::string text, thinking;
  for (size_t i = 0; i < blocks.size(); ++i) {
    Fields block(blocks[i], at(m.path("content"), i));
    block.need("type");
    const std::string type = *block.one_of("type", {"text", "tool_use", "thinking", "redacted_thinking"});
    if (type == "text") text += block.need_string("text");
    if (type == "thinking") thinking += block.need_string("thinking");
    if (type == "tool_use")
      calls.push_back({{"id", block.need_string("id")},
                       {"type", "function"},
                       {"function", {{"name", block.need_string("name")}, {"arguments", block.need_object("input").json()}}}});
  }
  message["content"] = text;
  if (!thinking.empty()) message["reasoning_content"] = thinking;
  if (!calls.empty()) message["tool_calls"] = calls;
  r.chat.messages.push_back(std::move(message));
}

void read_turn(const Json& json, const std::string& path, ApiRequest& r, const ParseContext& context) {
  Fields m(json, path);
  m.need("role");
  const std::string role = *m.one_of("role", {"user", "assistant"});
  const Json& content = m.need("content");
  if (content.is_string()) {
    r.chat.messages.push_back({{"role", role}, {"content", content}});
    return;
  }
  const Json& blocks = *m.array("content");
  if (blocks.empty()) fail_field(m.path("content"), "is empty");
  if (role == "user") user_turn(m, blocks, r, context);
  else assistant_turn(m, blocks, r);
}

void read_system(const Fields& body, ApiRequest& r) {
  const Json* system = body.find("system");
  if (!system) return;
  std::string text;
  if (system->is_string()) {
    text = system->get<std::string>();
  } else {
    const Json& blocks = *body.array("system");
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (i) text += "\n\n";
      text += Fields(blocks[i], at("system", i)).need_string("text");
    }
  }
  if (!text.empty()) r.chat.messages.push_back({{"role", "system"}, {"content", text}});
}

void read_anthropic_tools(const Fields& body, ApiRequest& r, const ParseContext& context) {
  if (const Json* tools = body.array("tools"))
    for (size_t i = 0; i < tools->size(); ++i) {
      Fields tool((*tools)[i], at("tools", i));
      if (auto type = tool.string("type"); type && *type != "custom") fail_field(tool.path("type"), "'{}' runs on its vendor's servers; only custom tools are supported", type->substr(0, 60));
      add_tool(r, function_tool(tool, "input_schema"), at("tools", i), context);
    }
  auto choice = body.object("tool_choice");
  if (!choice) return;
  choice->need("type");
  const std::string type = *choice->one_of("type", {"auto", "any", "tool", "none"});
  if (auto off = choice->boolean("disable_parallel_tool_use")) r.tools.parallel = !*off;
  if (type == "none") r.tools.mode = ToolMode::none;
  if (type == "any") choose_tool(r, ToolMode::required, {}, "tool_choice");
  if (type == "tool") choose_tool(r, ToolMode::named, choice->need_string("name"), "tool_choice.name");
}

void read_thinking(const Fields& body, ApiRequest& r) {
  auto thinking = body.object("thinking");
  if (!thinking) return;
  thinking->need("type");
  const std::string type = *thinking->one_of("type", {"enabled", "disabled", "adaptive"});
  r.reasoning.enabled = type != "disabled";
  if (auto budget = thinking->integer("budget_tokens", 1, INT64_MAX)) r.reasoning.budget = *budget;
  r.chat.template_options.extra["enable_thinking"] = *r.reasoning.enabled;
}

}  // namespace

ApiRequest parse_anthropic(const Json& json, const ParseContext& context) {
  Fields body(json, "");
  ApiRequest r;
  read_model(body, context, r);
  r.chat.messages = Json::array();
  read_system(body, r);
  const Json& messages = body.need_array("messages");
  check_messages(messages, "messages", context);
  for (size_t i = 0; i < messages.size(); ++i) read_turn(messages[i], at("messages", i), r, context);
  read_sampling(body, context, r);
  read_stops(body, "stop_sequences", context, r);
  body.need("max_tokens");
  read_max_tokens(body, {"max_tokens"}, context, r);
  read_media_options(body, r);
  read_scheduling(body, r);
  read_anthropic_tools(body, r, context);
  read_guided(body, r);
  read_reasoning(body, r);
  read_thinking(body, r);
  r.stream = body.boolean("stream").value_or(false);
  r.include_usage = true;
  finish_request(r);
  return r;
}

}  // namespace vl8
