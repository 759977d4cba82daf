// `--recipe auto`: which format each module gets, from what quantising it alone does to the model's answers. Units are all
// matrices of one kind in one layer. Each unit is tried in each format through the engine; the loss is the mean KL of the
// next-token distribution on calibration chats. Formats are then lowered where a byte saved costs the least KL, and the
// mixture is measured as a whole.
#pragma once
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "quant/report.h"

namespace vl8 {

struct AutoGoal {
  uint64_t size_bytes = 0;   // of the result's tensors; or
  double loss = 0;           // the share of positions whose first choice may change, 0.005 for 0.5 %
};

struct AutoUnit {
  std::string name;                  // "mlp_in 7"
  std::vector<std::string> modules;  // canonical; fused experts under the fused and the single names
  int64_t elements = 0;
  double kl[2] = {0, 0};             // in eight and in four bits, alone
  uint64_t bytes[3] = {0, 0, 0};     // in 16, 8 and 4 bits
  int level = 0;                     // chosen: 0 kept, 1 eight bits, 2 four bits
  bool four_bits = false;            // the group divides its columns
};

struct AutoResult {
  std::unordered_map<std::string, Format> overrides;
  std::vector<AutoUnit> units;
  uint64_t bytes = 0;                // of all tensors
  LogitLoss measured;                // of the mixture, to nearest, without calibration
};

// Throws Error(usage) where the goal cannot be reached, with what can.
AutoResult auto_search(const std::filesystem::path& source, const AutoGoal& goal, int64_t group, std::vector<Prompt> prompts,
                       const EngineOptions& engine, ThreadPool& pool);

uint64_t parse_size(const std::string& text);   // "5GB", "700MB", "4.5GiB"
double parse_share(const std::string& text);    // "0.5%", "0.005"

}  // namespace vl8
