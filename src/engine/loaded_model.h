// Weights in memory and a backend to run them: what every command needs, with or without a tokenizer.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "io/weight_store.h"
#include "model/model.h"

namespace vl8 {

struct EngineOptions {
  Precision precision = Precision::bf16;
  std::string backend = "cpu";  // "cpu", "cuda" or "reference"
  int device = 0;               // cuda: number of the GPU
  double gpu_memory_utilization = 0.9;  // cuda: share of the card's memory in use at most, other programs' included
  int threads = 0;              // 0: all that this process may use
  int64_t prefill_chunk = 512;  // tokens of a prompt per step
  int64_t page_tokens = 64;
  bool batch_invariant = false; // same bits whatever else is in the batch (Ops::batch_invariant); slower decode in bf16
  bool progress = false;        // show a progress line on stderr when loading takes longer than a second
};

struct LoadedModel {
  ModelConfig config;
  std::shared_ptr<WeightStore> store;  // owns what weights point to
  ModelWeights weights;
  std::unique_ptr<Ops> ops;
};

std::unique_ptr<Ops> make_ops(const EngineOptions& options);  // Error(usage) for an unknown backend

// Opens the folder, checks every tensor and prepares the weights. Errors name file and tensor.
LoadedModel load_model(const std::filesystem::path& folder, const EngineOptions& options);

}  // namespace vl8
