// generation_config.json of a model folder: how its makers want it sampled, and which tokens end an answer.
#pragma once
#include <filesystem>
#include <vector>

#include "engine/sampler.h"

namespace vl8 {

struct GenerationConfig {
  SamplingParams sampling;         // greedy where the file is missing or says do_sample: false
  std::vector<int32_t> end_tokens;

  // A missing file is no error. Throws Error(input) naming file and field.
  static GenerationConfig load(const std::filesystem::path& folder);
};

}  // namespace vl8
