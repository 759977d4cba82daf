// Scores of answers, one row of a table for each kind. assets/nano-eval/README.md describes the item files.
#pragma once
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace vl8 {

struct EvalItem {
  std::string id, task, lang, question, answer, score;
  std::vector<std::string> images, frames;
  double fps = 0;        // of the frames
  bool thinking = false;
  double iou = 0.33;     // box_f1: least overlap of a match
  double tolerance = 0;  // count, number, second: largest difference that is right
};

// Throws Error(input) naming file, line and field.
std::vector<EvalItem> load_eval_items(const std::string& path);

// What items add up to. Right and total for choices and numbers; boxes right, wrong, missed; edits and characters.
struct EvalTally {
  double right = 0, total = 0, wrong = 0, missed = 0, edits = 0, characters = 0;
  int64_t items = 0;
  void add(const EvalTally& o);
};

struct ScoreKind {
  const char* name;
  const char* figure;  // what the tally's figure is called: accuracy, f1, cer
  EvalTally (*judge)(const EvalItem& item, const std::string& answer);
  double (*value)(const EvalTally& tally);  // 0..1
};
const ScoreKind& score_kind(const std::string& name);  // Error(input) lists the kinds

int64_t edit_distance(const std::u32string& a, const std::u32string& b);
std::u32string code_points(std::string_view utf8);  // ill-formed bytes become U+FFFD

}  // namespace vl8
