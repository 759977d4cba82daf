// `--target`: what fits a machine. Picks the recipe that loses least among those whose weights, key/value cache and
// activations fit its memory, and says why.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.h"
#include "model/config.h"

namespace vl8 {

struct Target {
  const char* name;      // "rtx4090"
  const char* help;      // "NVIDIA RTX 4090, 24 GB"
  uint64_t memory_bytes;
  uint64_t taken_bytes;  // by the system, the driver and a display: not for the model
  double gb_per_s;       // published memory bandwidth
  bool fp8;              // matrix units for E4M3
};
std::span<const Target> targets();
const Target& find_target(std::string_view name);  // Error(usage) that lists the names

struct TargetChoice {
  std::string recipe;
  uint64_t weight_bytes = 0, kv_bytes_per_token = 0, activation_bytes = 0;
  int64_t context = 0;       // tokens that fit, at most the model's limit
  double tokens_per_s = 0;   // of decoding, if every byte of a step is read once at the published bandwidth: a bound
  bool fits = false;
};
struct TargetPlan {
  const Target* target = nullptr;
  std::vector<TargetChoice> choices;  // every recipe that was weighed, the best first
  int64_t wanted_context = 0;
  const TargetChoice* chosen = nullptr;  // of choices; null: nothing fits
};
// `activation_bytes`: of one step, for the caller's prefill chunk.
TargetPlan plan_for_target(const Target& target, const ModelConfig& config, const Checkpoint& checkpoint, int64_t wanted_context,
                           uint64_t activation_bytes);
std::string target_text(const TargetPlan& plan);  // the reasoning, a table and a sentence

}  // namespace vl8
