// Calibrated quantisation: one forward pass of the real engine over all calibration prompts at once. A decorator sees the
// input of every linear just before it runs, has it encoded with what that input tells, and runs the encoded weight, so
// that later layers are fitted to what earlier ones have become. Each layer's weights are needed once, in order: a model
// that is larger than the memory streams through it.
#pragma once
#include <vector>

#include "engine/prompt.h"
#include "quant/writer.h"

namespace vl8 {

struct CalibrationOptions {
  bool gptq = true;           // four-bit codes by GPTQ; else to nearest with importance
  ScaleRule rule = ScaleRule::mse;
  int threads = 0;
  int64_t page_tokens = 64;
};

struct KvAmax {  // largest magnitudes by layer and head
  std::vector<std::vector<float>> k, v;
};

// Writes every matrix of the plan that the pass goes through; the caller writes the rest. Throws Error(usage) where the
// prompts are empty or longer than the model's context.
KvAmax calibrate(const std::filesystem::path& source, const QuantPlan& plan, MatrixWriter& writer, std::vector<Prompt> prompts,
                 const CalibrationOptions& options, ThreadPool& pool);

}  // namespace vl8
