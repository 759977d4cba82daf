// /v1/completions: text_completion, whole and streamed.
#include "server/answer_writer.h"

namespace vl8 {
namespace {

class CompletionsWriter : public AnswerWriter {
 public:
  CompletionsWriter(const Transcript& t, const Tokenizer& tokenizer) : AnswerWriter(t), tokenizer_(tokenizer), offsets_(t.choices.size()) {}

  Json whole() override {
    Json choices = Json::array();
    for (size_t i = 0; i < t_.choices.size(); ++i) {
      const Choice& c = t_.choices[i];
      choices.push_back(choice(i, t_.echo[i] + c.reasoning() + c.text(), c.tokens(), finish(i)));
    }
    Json out = frame(std::move(choices));
    out["usage"] = openai_usage(t_);
    return out;
  }

  std::string begin() override {
    std::string out;
    for (size_t i = 0; i < t_.choices.size(); ++i)
      if (!t_.echo[i].empty()) out += sse(frame(Json::array({choice(i, t_.echo[i], {}, nullptr)})));
    return out;
  }

  std::string pieces(size_t i, std::span<const AnswerPiece> list, std::span<const SampledToken> tokens) override {
    std::string text;
    for (const AnswerPiece& p : list) text += p.text;
    if (text.empty() && (!t_.request.logprobs || tokens.empty())) return {};
    return sse(frame(Json::array({choice(i, text, tokens, nullptr)})));
  }

  std::string end_choice(size_t i) override { return sse(frame(Json::array({choice(i, "", {}, finish(i))}))); }

  std::string end() override {
    std::string out;
    if (t_.request.include_usage) {
      Json last = frame(Json::array());
      last["usage"] = openai_usage(t_);
      out = sse(last);
    }
    return out + "data: [DONE]\n\n";
  }

  std::string error(const ApiError& e) override { return sse(openai_error(e)) + "data: [DONE]\n\n"; }

 private:
  Json frame(Json choices) const {
    return {{"id", "cmpl-" + t_.id}, {"object", "text_completion"}, {"created", t_.created}, {"model", t_.model}, {"choices", std::move(choices)}};
  }
  Json finish(size_t i) const { return openai_finish(t_.choices[i]); }

  Json choice(size_t i, const std::string& text, std::span<const SampledToken> tokens, Json finish) {
    return {{"index", i}, {"text", text}, {"logprobs", t_.request.logprobs ? logprobs(i, tokens) : Json()}, {"finish_reason", std::move(finish)}};
  }

  Json logprobs(size_t i, std::span<const SampledToken> tokens) {
    Json out = {{"tokens", Json::array()}, {"token_logprobs", Json::array()}, {"top_logprobs", Json::array()}, {"text_offset", Json::array()}};
    for (const SampledToken& t : tokens) {
      const std::string text = tokenizer_.decode(std::span(&t.token, 1));
      Json top = Json::object();
      for (const TokenLogprob& p : t.top) top[tokenizer_.decode(std::span(&p.token, 1))] = p.logprob;
      out["tokens"].push_back(text);
      out["token_logprobs"].push_back(t.logprob);
      out["top_logprobs"].push_back(std::move(top));
      out["text_offset"].push_back(offsets_[i]);
      offsets_[i] += int64_t(text.size());
    }
    return out;
  }

  const Tokenizer& tokenizer_;
  std::vector<int64_t> offsets_;  // of each choice: bytes of the tokens reported so far
};

}  // namespace

std::unique_ptr<AnswerWriter> make_completions_writer(const Transcript& t, const Tokenizer& tokenizer) {
  return std::make_unique<CompletionsWriter>(t, tokenizer);
}

}  // namespace vl8
