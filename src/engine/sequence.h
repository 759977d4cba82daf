// One request's timeline: its tokens, how many of them have keys and values, and in which pages.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/prompt.h"
#include "model/model.h"

namespace vl8 {

struct Sequence {
  explicit Sequence(Prompt p) : prompt(std::move(p)), tokens(prompt.ids) {}

  Prompt prompt;
  std::vector<int32_t> tokens;            // prompt, then answer
  int64_t cached = 0;                     // tokens whose keys and values are in the pages; cached <= tokens.size()
  std::vector<int32_t> pages;             // of the KvPool that the runner was given
  std::vector<VisionFeatures> features;   // of prompt.visuals; empty until encoded, dropped when no longer needed

  int64_t pending() const { return int64_t(tokens.size()) - cached; }
  int64_t prompt_tokens() const { return int64_t(prompt.ids.size()); }
};

}  // namespace vl8
