// How an answer looks: streamed to a terminal with the reasoning dimmed, or as one JSON object.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "engine/engine.h"

namespace vl8 {

enum class ThinkingView { dim, hide, plain };

class TerminalStream {
 public:
  explicit TerminalStream(ThinkingView thinking);
  ~TerminalStream();
  void write(const AnswerDelta& delta);
  void finish();  // ends the line

 private:
  ThinkingView view_;
  bool colour_, dimmed_ = false, wrote_ = false, text_ = false, newline_ = true;
};

// What `run --json` prints. `boxes` adds the answer's marks in pixels of the first picture.
nlohmann::ordered_json answer_json(const Engine& engine, const Answer& answer, bool boxes);
std::string boxes_in_pixels(const Answer& answer);  // the answer with its boxes in pixels of the first picture
std::string answer_summary(const Engine& engine, const Answer& answer);  // one line for stderr

}  // namespace vl8
