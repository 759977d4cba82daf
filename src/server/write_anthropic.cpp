// /v1/messages: a message, or its stream of events.
#include "server/block_writer.h"

namespace vl8 {
namespace {

class AnthropicWriter : public BlockWriter {
 public:
  using BlockWriter::BlockWriter;

  Json whole() override {
    const Choice& c = t_.choices[0];
    Json content = Json::array();
    if (!c.reasoning().empty()) content.push_back({{"type", "thinking"}, {"thinking", c.reasoning()}, {"signature", ""}});
    if (!c.text().empty() || c.calls().empty()) content.push_back({{"type", "text"}, {"text", c.text()}});
    for (const ToolCall& call : c.calls()) content.push_back({{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", input(call)}});
    Json m = message(std::move(content));
    m["stop_reason"] = stop_reason();
    m["stop_sequence"] = stop_sequence();
    m["usage"] = usage();
    return m;
  }

  std::string begin() override { return sse("message_start", {{"type", "message_start"}, {"message", message(Json::array())}}); }

  std::string end() override {
    return sse("message_delta", {{"type", "message_delta"}, {"delta", {{"stop_reason", stop_reason()}, {"stop_sequence", stop_sequence()}}}, {"usage", usage()}}) +
           sse("message_stop", {{"type", "message_stop"}});
  }

  std::string error(const ApiError& e) override { return sse("error", anthropic_error(e)); }
  Json error_body(const ApiError& e) override { return anthropic_error(e); }

 protected:
  std::string open(Block b, const ToolCall* call) override {
    Json block = b == Block::reasoning ? Json{{"type", "thinking"}, {"thinking", ""}, {"signature", ""}}
                 : b == Block::text    ? Json{{"type", "text"}, {"text", ""}}
                                       : Json{{"type", "tool_use"}, {"id", call->id}, {"name", call->name}, {"input", Json::object()}};
    return sse("content_block_start", {{"type", "content_block_start"}, {"index", index()}, {"content_block", std::move(block)}});
  }

  std::string delta(Block b, const std::string& text) override {
    static constexpr const char* kTypes[][2] = {{"thinking_delta", "thinking"}, {"text_delta", "text"}, {"input_json_delta", "partial_json"}};
    const auto& [type, field] = kTypes[size_t(b)];
    return sse("content_block_delta", {{"type", "content_block_delta"}, {"index", index()}, {"delta", {{"type", type}, {field, text}}}});
  }

  std::string close(Block, const std::string&, const ToolCall*) override {
    return sse("content_block_stop", {{"type", "content_block_stop"}, {"index", index()}});
  }

 private:
  Json message(Json content) const {
    return {{"id", "msg_" + t_.id}, {"type", "message"}, {"role", "assistant"}, {"model", t_.model}, {"content", std::move(content)},
            {"stop_reason", nullptr}, {"stop_sequence", nullptr}, {"usage", usage()}};
  }

  Json usage() const {
    const GenerationUsage u = t_.usage();
    return {{"input_tokens", u.prompt_tokens - u.cached_tokens}, {"cache_creation_input_tokens", 0}, {"cache_read_input_tokens", u.cached_tokens}, {"output_tokens", u.answer_tokens}};
  }

  // Which of several sequences ended the answer is not known to the server; a single one it was.
  bool by_sequence() const { return t_.choices[0].stopped_early(); }
  Json stop_sequence() const { return by_sequence() && t_.request.chat.stops.size() == 1 ? Json(t_.request.chat.stops[0]) : Json(); }
  const char* stop_reason() const {
    const Choice& c = t_.choices[0];
    if (c.finish() == Finish::length || c.finish() == Finish::deadline) return "max_tokens";
    if (!c.calls().empty()) return "tool_use";
    return by_sequence() ? "stop_sequence" : "end_turn";
  }

  static Json input(const ToolCall& call) {
    Json j = Json::parse(call.arguments, nullptr, false);
    return j.is_object() ? j : Json::object();
  }
};

}  // namespace

std::unique_ptr<AnswerWriter> make_anthropic_writer(const Transcript& t) { return std::make_unique<AnthropicWriter>(t); }

}  // namespace vl8
