#include "server/answer_writer.h"

namespace vl8 {
namespace {

Json bytes_of(std::string_view text) {
  Json list = Json::array();
  for (unsigned char c : text) list.push_back(int(c));
  return list;
}

Json one_logprob(int32_t id, float logprob, const Tokenizer& tokenizer) {
  return {{"token", tokenizer.decode(std::span(&id, 1))}, {"logprob", logprob}, {"bytes", bytes_of(tokenizer.token_bytes(id))}};
}

}  // namespace

std::string sse(const Json& data) { return "data: " + dump(data) + "\n\n"; }
std::string sse(std::string_view event, const Json& data) { return fmt::format("event: {}\ndata: {}\n\n", event, dump(data)); }
std::string json_string(std::string_view text) { return dump(Json(text)); }

Json openai_usage(const Transcript& t) {
  const GenerationUsage u = t.usage();
  Json details = {{"cached_tokens", u.cached_tokens}, {"image_tokens", u.visual_tokens}};
  Json images = Json::array();
  for (size_t i = 0; i < t.media.given.size(); ++i)
    images.push_back({{"width", t.media.given[i].width},
                      {"height", t.media.given[i].height},
                      {"used_width", t.media.used[i].width},
                      {"used_height", t.media.used[i].height}});
  if (!images.empty()) details["images"] = std::move(images);
  if (!t.media.timestamps.empty()) details["video_timestamps"] = t.media.timestamps;
  return {{"prompt_tokens", u.prompt_tokens},
          {"completion_tokens", u.answer_tokens},
          {"total_tokens", u.prompt_tokens + u.answer_tokens},
          {"prompt_tokens_details", std::move(details)},
          {"completion_tokens_details", {{"reasoning_tokens", u.reasoning_tokens}}}};
}

Json token_logprob(const SampledToken& token, const Tokenizer& tokenizer) {
  Json out = one_logprob(token.token, token.logprob, tokenizer), top = Json::array();
  for (const TokenLogprob& t : token.top) top.push_back(one_logprob(t.token, t.logprob, tokenizer));
  out["top_logprobs"] = std::move(top);
  return out;
}

const char* openai_finish(const Choice& c) {
  if (c.finish() == Finish::length || c.finish() == Finish::deadline) return "length";
  return c.calls().empty() ? "stop" : "tool_calls";
}

}  // namespace vl8
