// /v1/chat/completions: chat.completion and chat.completion.chunk.
#include "server/answer_writer.h"

namespace vl8 {
namespace {

using Kind = AnswerPiece::Kind;

class ChatWriter : public AnswerWriter {
 public:
  ChatWriter(const Transcript& t, const Tokenizer& tokenizer) : AnswerWriter(t), tokenizer_(tokenizer) {
    head_ = fmt::format(R"(data: {{"id":"chatcmpl-{}","object":"chat.completion.chunk","created":{},"model":{},)", t.id, t.created, json_string(t.model));
  }

  Json whole() override {
    Json choices = Json::array();
    for (size_t i = 0; i < t_.choices.size(); ++i) choices.push_back(choice(i));
    return {{"id", "chatcmpl-" + t_.id}, {"object", "chat.completion"}, {"created", t_.created}, {"model", t_.model},
            {"choices", std::move(choices)}, {"usage", openai_usage(t_)}};
  }

  std::string begin() override {
    std::string out;
    for (size_t i = 0; i < t_.choices.size(); ++i) out += chunk(i, R"({"role":"assistant","content":""})", "null", "null");
    return out;
  }

  std::string pieces(size_t i, std::span<const AnswerPiece> list, std::span<const SampledToken> tokens) override {
    std::string out, logprobs = t_.request.logprobs && !tokens.empty() ? dump(logprobs_of(tokens)) : "null";
    for (const AnswerPiece& p : list) {
      out += chunk(i, delta(i, p), logprobs, "null");
      logprobs = "null";  // with the first piece only
    }
    if (logprobs != "null") out += chunk(i, "{}", logprobs, "null");  // text is held back, its tokens are not
    return out;
  }

  std::string end_choice(size_t i) override { return chunk(i, "{}", "null", json_string(openai_finish(t_.choices[i]))); }

  std::string end() override {
    std::string out;
    if (t_.request.include_usage) out = head_ + R"("choices":[],"usage":)" + dump(openai_usage(t_)) + "}\n\n";
    return out + "data: [DONE]\n\n";
  }

  std::string error(const ApiError& e) override { return sse(openai_error(e)) + "data: [DONE]\n\n"; }

 private:
  // Written by hand: this runs once for every token of every stream.
  std::string chunk(size_t i, const std::string& delta, const std::string& logprobs, const std::string& finish) const {
    return fmt::format(R"({}"choices":[{{"index":{},"delta":{},"logprobs":{},"finish_reason":{}}}]}})", head_, i, delta, logprobs, finish) + "\n\n";
  }

  std::string delta(size_t i, const AnswerPiece& p) const {
    switch (p.kind) {
      case Kind::reasoning: return R"({"reasoning_content":)" + json_string(p.text) + "}";
      case Kind::text: return R"({"content":)" + json_string(p.text) + "}";
      case Kind::call_begin: {
        const ToolCall& call = t_.choices[i].calls()[size_t(p.call)];
        return fmt::format(R"({{"tool_calls":[{{"index":{},"id":"{}","type":"function","function":{{"name":{},"arguments":""}}}}]}})", p.call,
                           call.id, json_string(call.name));
      }
      case Kind::call_arguments: break;
    }
    return fmt::format(R"({{"tool_calls":[{{"index":{},"function":{{"arguments":{}}}}}]}})", p.call, json_string(p.text));
  }

  Json logprobs_of(std::span<const SampledToken> tokens) const {
    Json list = Json::array();
    for (const SampledToken& t : tokens) list.push_back(token_logprob(t, tokenizer_));
    return {{"content", std::move(list)}, {"refusal", nullptr}};
  }

  Json choice(size_t i) const {
    const Choice& c = t_.choices[i];
    Json message = {{"role", "assistant"}, {"content", c.text()}, {"refusal", nullptr}};
    if (c.text().empty() && !c.calls().empty()) message["content"] = nullptr;
    if (!c.reasoning().empty()) message["reasoning_content"] = c.reasoning();
    for (const ToolCall& call : c.calls())
      message["tool_calls"].push_back({{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    Json logprobs = t_.request.logprobs ? logprobs_of(c.tokens()) : Json();
    return {{"index", i}, {"message", std::move(message)}, {"logprobs", std::move(logprobs)}, {"finish_reason", openai_finish(c)}};
  }

  const Tokenizer& tokenizer_;
  std::string head_;
};

}  // namespace

std::unique_ptr<AnswerWriter> make_chat_writer(const Transcript& t, const Tokenizer& tokenizer) { return std::make_unique<ChatWriter>(t, tokenizer); }

}  // namespace vl8
