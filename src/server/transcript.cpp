#include "server/transcript.h"

#include <sys/random.h>

#include <algorithm>
#include <chrono>

namespace vl8 {

std::string random_id(size_t characters) {
  constexpr std::string_view kLetters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  unsigned char bytes[64];
  characters = std::min(characters, sizeof bytes);
  if (getrandom(bytes, characters, 0) != ssize_t(characters)) fail(ErrorKind::resource, "the system's random source failed");
  std::string id;
  for (size_t i = 0; i < characters; ++i) id += kLetters[bytes[i] % kLetters.size()];
  return id;
}

int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Choice::Choice(const ApiRequest& request, std::optional<Size> picture, std::span<const int32_t> end_tokens)
    : include_reasoning_(request.reasoning.include), keep_tokens_(request.logprobs), has_stops_(!request.chat.stops.empty()), end_tokens_(end_tokens) {
  if (request.tools.mode != ToolMode::none) tools_.emplace(request.tools.parallel ? 1024 : 1);
  if (picture) boxes_.emplace(*picture);
}

// Boxes first: their numbers may also stand in the arguments of a call.
void Choice::split(std::string text, bool last, std::vector<AnswerPiece>& out) {
  if (boxes_) {
    text = boxes_->push(text);
    if (last) text += boxes_->finish();
  }
  if (!tools_) {
    if (!text.empty()) out.push_back({AnswerPiece::Kind::text, 0, std::move(text)});
    return;
  }
  tools_->push(text, out);
  if (last) tools_->finish(out);
}

void Choice::record(const AnswerPiece& p) {
  switch (p.kind) {
    case AnswerPiece::Kind::reasoning: reasoning_ += p.text; break;
    case AnswerPiece::Kind::text: text_ += p.text; break;
    case AnswerPiece::Kind::call_begin: calls_.push_back({"call_" + random_id(), p.text, {}}); break;
    case AnswerPiece::Kind::call_arguments: calls_.back().arguments += p.text; break;
  }
}

std::vector<AnswerPiece> Choice::take(const GenerationEvent& e) {
  std::vector<AnswerPiece> pieces;
  if (!e.delta.reasoning.empty() && include_reasoning_) pieces.push_back({AnswerPiece::Kind::reasoning, 0, e.delta.reasoning});
  split(e.delta.text, e.done, pieces);
  for (const AnswerPiece& p : pieces) record(p);
  if (keep_tokens_) tokens_.insert(tokens_.end(), e.tokens.begin(), e.tokens.end());
  usage_ = e.usage;
  if (e.done) {
    done_ = true, finish_ = e.finish, embedding_ = e.embedding;
    const bool ended = !e.tokens.empty() && std::find(end_tokens_.begin(), end_tokens_.end(), e.tokens.back().token) != end_tokens_.end();
    stopped_early_ = has_stops_ && finish_ == Finish::stop && !ended;
  }
  return pieces;
}

bool Transcript::done() const {
  return std::all_of(choices.begin(), choices.end(), [](const Choice& c) { return c.done(); });
}

GenerationUsage Transcript::usage() const {
  GenerationUsage sum;
  for (size_t i = 0; i < choices.size(); ++i) {
    const GenerationUsage& u = choices[i].usage();
    if (i % size_t(choices_per_prompt) == 0) {
      sum.prompt_tokens += u.prompt_tokens;
      sum.visual_tokens += u.visual_tokens;
      sum.cached_tokens += u.cached_tokens;
    }
    sum.answer_tokens += u.answer_tokens;
    sum.reasoning_tokens += u.reasoning_tokens;
    sum.preemptions += u.preemptions;
  }
  return sum;
}

}  // namespace vl8
