// `vl8 quantize`: a model folder in, a quantised model folder out, one tensor at a time through bounded
// memory. The destination appears whole or not at all. Recipes are rows of a table.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "core/threads.h"

namespace vl8 {

struct QuantRecipe {
  const char* name;
  const char* help;
};
std::span<const QuantRecipe> quant_recipes();  // "fp8-block128"

struct QuantizeOptions {
  std::string recipe = "fp8-block128";
  bool force = false;                        // replace an existing destination
  uint64_t shard_bytes = uint64_t(5) << 30;  // above this the weights are sharded, with an index
  bool show_progress = true;
  std::function<bool()>
      cancelled;  // asked often, from any thread; true stops: Error(cancelled), nothing is left
};

struct QuantizeReport {
  int64_t quantised_tensors = 0, kept_tensors = 0;
  uint64_t source_bytes = 0, result_bytes = 0;  // of the tensors
  int64_t files = 0;                            // weight files written
  double seconds = 0;
  double max_relative_error = 0;  // largest over tensors of ||w - q s|| / ||w||
  std::string worst_tensor;
};

// Throws Error: the source is not a model folder or is FP8 already, a tensor holds NaN or infinity (named),
// the destination exists, the disk is too small, cancelled.
QuantizeReport quantize(const std::filesystem::path& source, const std::filesystem::path& destination,
                        const QuantizeOptions& options, ThreadPool& pool);

}  // namespace vl8
