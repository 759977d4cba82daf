// Calibration chats: JSON lines, {"messages": [...], "images": ["FILE", ...]}; pictures are relative to the file and in the
// order of their placeholders. The same form serves to measure the loss on chats that calibration has not seen.
#pragma once
#include <filesystem>
#include <vector>

#include "engine/prompt.h"

namespace vl8 {

struct CalibrationLimits {
  int64_t max_tokens = 4096;  // of all prompts together: later chats are left out
  int64_t max_pixels = 0;     // of a picture; 0: the model's own limit
};

// Rendered with the model's template and tokenizer. Throws Error(input) that names the file and the line.
std::vector<Prompt> load_chats(const std::filesystem::path& file, const std::filesystem::path& model, const CalibrationLimits& limits = {});

}  // namespace vl8
