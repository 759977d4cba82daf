// /v1/responses: a response object, or its stream of events.
#include "server/block_writer.h"

namespace vl8 {
namespace {

class ResponsesWriter : public BlockWriter {
 public:
  ResponsesWriter(const Transcript& t, const Tokenizer& tokenizer) : BlockWriter(t), tokenizer_(tokenizer) {}

  Json whole() override {
    const Choice& c = t_.choices[0];
    if (!c.reasoning().empty()) items_.push_back(reasoning_item(random_id(), c.reasoning()));
    if (!c.text().empty() || c.calls().empty()) items_.push_back(message_item(random_id(), c.text(), c.tokens()));
    for (const ToolCall& call : c.calls()) items_.push_back(call_item(random_id(), call, status()));
    return response(status());
  }

  std::string begin() override {
    std::string out = event("response.created", {{"response", response("in_progress")}});  // one by one: events are numbered
    return out += event("response.in_progress", {{"response", response("in_progress")}});
  }

  std::string end() override {
    const bool complete = status() == "completed";
    return event(complete ? "response.completed" : "response.incomplete", {{"response", response(status())}});
  }

  std::string error(const ApiError& e) override {
    Json r = response("failed");
    r["error"] = {{"code", "server_error"}, {"message", e.what()}};
    return event("response.failed", {{"response", std::move(r)}});
  }

 protected:
  std::string open(Block b, const ToolCall* call) override {
    id_ = random_id();
    Json item = b == Block::reasoning ? reasoning_item(id_, {}) : b == Block::text ? message_item(id_, {}, {}) : call_item(id_, {call->id, call->name, {}}, "in_progress");
    item["status"] = "in_progress";
    if (b != Block::call) item["content"] = Json::array();
    item_id_ = item["id"].get<std::string>();
    std::string out = event("response.output_item.added", {{"output_index", index()}, {"item", std::move(item)}});
    if (b == Block::text) out += part_event("response.content_part.added", text_part({}, {}));
    return out;
  }

  std::string delta(Block b, const std::string& text) override {
    Json e = place(b != Block::call);
    e["delta"] = text;
    if (b == Block::text) e["logprobs"] = Json::array();
    static constexpr const char* kNames[] = {"response.reasoning_text.delta", "response.output_text.delta", "response.function_call_arguments.delta"};
    return event(kNames[size_t(b)], std::move(e));
  }

  std::string close(Block b, const std::string& text, const ToolCall* call) override {
    std::string out;
    Json e = place(b != Block::call);
    if (b == Block::reasoning) {
      e["text"] = text;
      out = event("response.reasoning_text.done", std::move(e));
      items_.push_back(reasoning_item(id_, text));
    } else if (b == Block::text) {
      e["text"] = text;
      e["logprobs"] = Json::array();
      out = event("response.output_text.done", std::move(e));
      out += part_event("response.content_part.done", text_part(text, {}));
      items_.push_back(message_item(id_, text, {}));
    } else {
      e["name"] = call->name;
      e["arguments"] = call->arguments;
      out = event("response.function_call_arguments.done", std::move(e));
      items_.push_back(call_item(id_, *call, status()));
    }
    return out + event("response.output_item.done", {{"output_index", index()}, {"item", items_.back()}});
  }

 private:
  std::string event(const char* type, Json fields) {
    Json e = {{"type", type}, {"sequence_number", sequence_++}};
    e.update(fields);
    return sse(type, e);
  }

  Json place(bool in_content) const {
    Json p = {{"item_id", item_id_}, {"output_index", index()}};
    if (in_content) p["content_index"] = 0;
    return p;
  }

  std::string part_event(const char* type, Json part) {
    Json e = place(true);
    e["part"] = std::move(part);
    return event(type, std::move(e));
  }

  Json text_part(const std::string& text, std::span<const SampledToken> tokens) const {
    Json logprobs = Json::array();
    for (const SampledToken& t : tokens) logprobs.push_back(token_logprob(t, tokenizer_));
    return {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", std::move(logprobs)}};
  }

  Json message_item(const std::string& id, const std::string& text, std::span<const SampledToken> tokens) const {
    return {{"type", "message"}, {"id", "msg_" + id}, {"status", status()}, {"role", "assistant"}, {"content", Json::array({text_part(text, tokens)})}};
  }
  Json reasoning_item(const std::string& id, const std::string& text) const {
    return {{"type", "reasoning"}, {"id", "rs_" + id}, {"summary", Json::array()}, {"content", Json::array({{{"type", "reasoning_text"}, {"text", text}}})}, {"status", status()}};
  }
  Json call_item(const std::string& id, const ToolCall& call, const std::string& status) const {
    return {{"type", "function_call"}, {"id", "fc_" + id}, {"call_id", call.id}, {"name", call.name}, {"arguments", call.arguments}, {"status", status}};
  }

  std::string status() const {
    const Choice& c = t_.choices[0];
    return c.done() && (c.finish() == Finish::length || c.finish() == Finish::deadline) ? "incomplete" : "completed";
  }

  Json tools() const {
    Json list = Json::array();
    for (const Json& t : t_.request.tools.functions) {
      Json tool = {{"type", "function"}};
      tool.update(t["function"]);
      tool["strict"] = t["function"].value("strict", false);
      list.push_back(std::move(tool));
    }
    return list;
  }

  Json tool_choice() const {
    switch (t_.request.tools.mode) {
      case ToolMode::named: return {{"type", "function"}, {"name", t_.request.tools.name}};
      case ToolMode::required: return "required";
      case ToolMode::automatic: return "auto";
      case ToolMode::none: break;
    }
    return t_.request.tools.functions.empty() ? "auto" : "none";
  }

  Json format() const {
    const AnswerFormat& f = t_.request.format;
    if (f.kind == AnswerFormat::Kind::json_object) return {{"type", "json_object"}};
    if (f.kind == AnswerFormat::Kind::json_schema) return {{"type", "json_schema"}, {"name", f.name}, {"schema", f.schema}, {"strict", true}};
    return {{"type", "text"}};
  }

  Json response(const std::string& status) const {
    const SamplingParams& s = t_.request.chat.sampling;
    Json r = {{"id", "resp_" + t_.id}, {"object", "response"}, {"created_at", t_.created}, {"status", status}, {"background", false}, {"error", nullptr},
              {"incomplete_details", nullptr}, {"instructions", nullptr}, {"max_output_tokens", nullptr}, {"model", t_.model}, {"output", Json::array()},
              {"parallel_tool_calls", t_.request.tools.parallel}, {"previous_response_id", nullptr}, {"store", false}, {"temperature", s.temperature},
              {"text", {{"format", format()}}}, {"tool_choice", tool_choice()}, {"tools", tools()}, {"top_p", s.top_p}, {"truncation", "disabled"},
              {"metadata", Json::object()}};
    if (t_.request.chat.max_tokens > 0) r["max_output_tokens"] = t_.request.chat.max_tokens;
    if (status == "incomplete") r["incomplete_details"] = {{"reason", "max_output_tokens"}};
    if (status == "in_progress") return r;
    for (const Json& item : items_) r["output"].push_back(item);
    const GenerationUsage u = t_.usage();
    r["usage"] = {{"input_tokens", u.prompt_tokens}, {"input_tokens_details", {{"cached_tokens", u.cached_tokens}, {"cache_write_tokens", 0}, {"image_tokens", u.visual_tokens}}},
                  {"output_tokens", u.answer_tokens}, {"output_tokens_details", {{"reasoning_tokens", u.reasoning_tokens}}}, {"total_tokens", u.prompt_tokens + u.answer_tokens}};
    if (Json images = openai_usage(t_)["prompt_tokens_details"]; images.contains("images")) r["usage"]["input_tokens_details"]["images"] = images["images"];
    return r;
  }

  const Tokenizer& tokenizer_;
  std::vector<Json> items_;
  std::string id_, item_id_;
  int64_t sequence_ = 0;
};

}  // namespace

std::unique_ptr<AnswerWriter> make_responses_writer(const Transcript& t, const Tokenizer& tokenizer) { return std::make_unique<ResponsesWriter>(t, tokenizer); }

}  // namespace vl8
