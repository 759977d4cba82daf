// Options that several commands share.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "engine/engine.h"

namespace vl8 {

// The folder that -m, VL8_MODEL or the bundled model gives.
std::filesystem::path default_model_folder();

// A folder that comes with vl8 ("nano", "nano-eval"), installed or in the source tree. Error(usage) when it is not there.
std::filesystem::path bundled_folder(const std::string& name);

struct ModelOptions {
  std::string model;
  std::string precision = "auto", backend = "cpu", isa;
  int threads = 0, device = 0;
  double gpu_memory_utilization = 0.9;
  bool batch_invariant = false;
  void add_to(CLI::App& app);
  std::filesystem::path folder() const;
  EngineOptions engine() const;
};

Precision parse_precision(const std::string& name);

// Sampling: what the user gave wins over the folder's generation_config.json.
struct SamplingOptions {
  CLI::App* app = nullptr;
  SamplingParams values;
  std::vector<std::string> stops, logit_bias;
  int64_t max_tokens = 0;
  void add_to(CLI::App& app);
  SamplingParams resolve(const SamplingParams& defaults) const;
};

struct MediaOptions {
  std::vector<std::string> images, videos;
  double fps = 2, source_fps = 0;
  int64_t num_frames = 0, max_frames = 0, min_pixels = 0, max_pixels = 0;
  std::string clip, sparsity = "off", resize = "torchvision", cap = "on";
  CLI::App* app = nullptr;
  void add_to(CLI::App& app);
  void fill(ChatRequest& request) const;  // reads the files
};

// One user turn with all pictures and clips before the text.
nlohmann::ordered_json user_message(size_t images, size_t videos, const std::string& text);

}  // namespace vl8
