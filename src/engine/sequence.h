// One request's timeline: its tokens, how many of them have keys and values, and in which pages.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/prompt.h"
#include "model/model.h"

namespace vl8 {

using FeaturesPtr = std::shared_ptr<const VisionFeatures>;

struct Sequence {
  explicit Sequence(Prompt p) : prompt(std::move(p)), tokens(prompt.ids), features(prompt.visuals.size()) {}

  Prompt prompt;
  std::vector<int32_t> tokens;        // prompt, then answer
  int64_t cached = 0;                 // tokens whose keys and values are in the pages; cached <= tokens.size()
  std::vector<int32_t> pages;         // of the KvPool that the runner was given
  std::vector<FeaturesPtr> features;  // of prompt.visuals; null until encoded and again when no longer needed

  int64_t pending() const { return int64_t(tokens.size()) - cached; }
  int64_t prompt_tokens() const { return int64_t(prompt.ids.size()); }
};

// f(visual) for every picture or clip with placeholders in tokens [begin, end) of the prompt; a clip once a frame group.
template <typename F>
void each_visual_in(const Prompt& p, int64_t begin, int64_t end, F f) {
  for (size_t r = 0; r < p.runs.size(); ++r)
    if (p.runs[r].begin < end && p.runs[r].begin + p.runs[r].tokens() > begin) f(p.sources[r].visual);
}

// Drops features whose placeholders all have keys and values.
void drop_used_features(Sequence& sequence);

// Rotary position of token i on an axis (0..2), prompt or answer.
inline int32_t position_of(const Prompt& p, int64_t axis, int64_t i) {
  const int64_t prompt = int64_t(p.ids.size());
  return i < prompt ? p.positions.axes[size_t(axis * prompt + i)] : p.positions.next + int32_t(i - prompt);
}

}  // namespace vl8
