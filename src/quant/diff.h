// Two checkpoints of one architecture side by side: what each stores, and how far their weights are apart as the engine
// would use them, whatever formats they are in.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/threads.h"
#include "quant/format.h"

namespace vl8 {

struct ModuleDiff {
  std::string module;
  std::string format_a, format_b;  // "BF16", "E4M3 channel", ...
  uint64_t bytes_a = 0, bytes_b = 0;
  CodeError error;                 // of B against A
  bool equal = false;              // every value
};

struct CheckpointDiff {
  uint64_t bytes_a = 0, bytes_b = 0;
  std::vector<ModuleDiff> modules;           // matrices and vectors, in the order of use
  std::vector<std::string> config;           // "text_config.num_hidden_layers: 36 | 28"
};

// Throws Error(input) where a folder does not load, or the two have other shapes.
CheckpointDiff diff_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b, ThreadPool& pool);

}  // namespace vl8
