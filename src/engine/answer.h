// The text of one answer as it grows: detokenised without half characters, split into reasoning and answer, cut at stop
// strings. What might still become a stop string or a `</think>` is held back until it is decided.
#pragma once
#include <string>
#include <vector>

#include "text/stream_decoder.h"

namespace vl8 {

struct AnswerDelta {
  std::string reasoning, text;  // new since the last call; either may be empty
};

class AnswerText {
 public:
  // starts_thinking: the prompt ended with an open `<think>`, so the first text is reasoning.
  AnswerText(const Tokenizer& tokenizer, bool starts_thinking, std::vector<std::string> stops);

  AnswerDelta push(int32_t token);
  AnswerDelta finish();
  bool stopped() const { return stopped_; }  // a stop string was met; it is not part of the answer
  bool thinking() const { return thinking_; }
  const std::string& reasoning() const { return reasoning_; }
  const std::string& text() const { return text_; }

 private:
  AnswerDelta take(std::string piece, bool last);
  bool take_reasoning(bool last, AnswerDelta& delta);
  void emit(std::string_view piece, AnswerDelta& delta);
  StreamDecoder decoder_;
  bool thinking_, had_reasoning_, started_ = false, stopped_ = false;
  std::vector<std::string> stops_;
  std::string held_, reasoning_, text_;
};

}  // namespace vl8
