// `vl8 inspect`: what a model folder holds, from config.json and file headers alone; no weight is read.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "model/config.h"

namespace vl8 {

struct InspectReport {
  ModelConfig config;
  ParameterCounts parameters;
  std::map<std::string, uint64_t> bytes_by_dtype;  // of the stored tensors
  std::map<std::string, int64_t> tensors_by_dtype;
  std::map<std::string, uint64_t> bytes_by_part;  // embeddings, attention, mlp, experts, vision, ...
  uint64_t file_bytes = 0, needed_bytes = 0;      // needed: without a head that the embeddings stand in for
  int64_t files = 0;
  int64_t quantised_modules = 0, language_linears = 0;
  std::string quantisation;  // "E4M3, 128x128 blocks, F32 scales", "none", ...
  int64_t context = 0;       // tokens asked for
  uint64_t kv_bytes_per_token = 0, kv_bytes = 0, activation_bytes = 0, total_bytes = 0;  // for that context
};

// `context` 0: 4096 or the model's limit, whichever is less. Throws Error(usage) when it exceeds the limit.
InspectReport inspect_model(const ModelConfig& config, const Checkpoint& checkpoint, int64_t context = 0,
                            int64_t prefill_chunk = 512);
std::string inspect_text(const InspectReport& report);
std::string inspect_json(const InspectReport& report);

}  // namespace vl8
