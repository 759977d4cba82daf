#include "engine/answer.h"

#include <algorithm>

namespace vl8 {
namespace {

constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>";

// Length of the longest end of `text` that is a proper beginning of `word`.
size_t begun(std::string_view text, std::string_view word) {
  for (size_t n = std::min(text.size(), word.size() - 1); n > 0; --n)
    if (text.substr(text.size() - n) == word.substr(0, n)) return n;
  return 0;
}

}  // namespace

AnswerText::AnswerText(const Tokenizer& tokenizer, bool starts_thinking, std::vector<std::string> stops)
    : decoder_(tokenizer, true), thinking_(starts_thinking), had_reasoning_(starts_thinking), stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
}

AnswerDelta AnswerText::push(int32_t token) { return take(decoder_.push(token), false); }
AnswerDelta AnswerText::finish() { return take(decoder_.finish(), true); }

void AnswerText::emit(std::string_view piece, AnswerDelta& delta) {
  std::string& all = thinking_ ? reasoning_ : text_;
  if (all.empty() && had_reasoning_) {  // blank lines around the reasoning belong to neither part
    size_t first = piece.find_first_not_of('\n');
    if (first == std::string_view::npos) return;
    piece.remove_prefix(first);
  }
  all += piece;
  (thinking_ ? delta.reasoning : delta.text) += piece;
}

// Moves reasoning out of held_. False while it is still going on.
bool AnswerText::take_reasoning(bool last, AnswerDelta& delta) {
  size_t end = held_.find(kThinkEnd), keep = 0;
  if (end == std::string::npos && !last) {
    keep = begun(held_, kThinkEnd);
    while (keep < held_.size() && held_[held_.size() - 1 - keep] == '\n') ++keep;  // may stand before </think>
  }
  size_t stop = end == std::string::npos ? held_.size() - keep : end;
  while (end != std::string::npos && stop > 0 && held_[stop - 1] == '\n') --stop;
  emit(std::string_view(held_).substr(0, stop), delta);
  held_.erase(0, end == std::string::npos ? stop : end + kThinkEnd.size());
  thinking_ = end == std::string::npos;
  return !thinking_;
}

AnswerDelta AnswerText::take(std::string piece, bool last) {
  AnswerDelta delta;
  if (stopped_) return delta;
  held_ += piece;
  if (!started_) {  // some templates leave it to the model to open its reasoning
    if (held_.empty() || (!last && held_.size() < kThink.size() && kThink.starts_with(held_))) return delta;
    started_ = true;
    if (!thinking_ && held_.starts_with(kThink)) held_.erase(0, kThink.size()), thinking_ = had_reasoning_ = true;
  }
  if (thinking_ && !take_reasoning(last, delta)) return delta;
  size_t cut = std::string::npos, keep = 0;
  for (const std::string& s : stops_) {
    cut = std::min(cut, held_.find(s));
    if (!last) keep = std::max(keep, begun(held_, s));
  }
  stopped_ = cut != std::string::npos;
  const size_t end = stopped_ ? cut : held_.size() - keep;
  emit(std::string_view(held_).substr(0, end), delta);
  held_.erase(0, stopped_ ? held_.size() : end);
  return delta;
}

}  // namespace vl8
