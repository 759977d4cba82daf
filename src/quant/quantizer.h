// `vl8 quantize`: a model folder in, a quantised model folder out, one tensor at a time through bounded memory. The
// destination appears whole or not at all; a run that was killed is taken up where it stopped. Every written byte is read
// back from the disk and compared before the folder gets its name.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/threads.h"
#include "engine/prompt.h"
#include "quant/calibrate.h"
#include "quant/plan.h"

namespace vl8 {

struct QuantizeOptions {
  std::string recipe = "fp8-block128";
  PlanOptions plan;
  std::optional<ScaleRule> rule;             // none: the recipe's
  bool force = false;                        // replace an existing destination
  bool restart = false;                      // forget what an interrupted run left
  uint64_t shard_bytes = uint64_t(5) << 30;  // above this the weights are sharded, with an index
  bool show_progress = true;
  std::vector<Prompt> calibration;           // empty: no calibration
  bool gptq = true;
  int threads = 0;                           // of the calibrating engine; 0: all
  std::function<bool()> cancelled;  // asked often, from any thread; true stops: Error(cancelled), nothing is left
};

struct ModuleReport {
  std::string module, kind, format;
  int64_t layer = -1, rows = 0, k = 0;
  uint64_t bytes = 0;
  double sqnr_db = 0, cosine = 0, relative_error = 0;
  double output_sqnr_db = 0;  // of the layer's output on calibration inputs; 0: not measured
};

struct QuantizeReport {
  int64_t quantised_tensors = 0, kept_tensors = 0;  // of the source
  uint64_t source_bytes = 0, result_bytes = 0;      // of the tensors
  int64_t files = 0;                                // weight files written
  int64_t resumed_jobs = 0;                         // that an interrupted run had finished
  double seconds = 0;
  double max_relative_error = 0;  // largest over modules of ||w - q|| / ||w||
  std::string worst_tensor;
  std::vector<ModuleReport> modules;
  std::vector<std::string> notes;
};

// Throws Error: the source is not a model folder or is quantised already, a tensor holds NaN or infinity (named), the
// destination exists or is being written, the disk is too small, a recipe needs calibration and got none, cancelled.
QuantizeReport quantize(const std::filesystem::path& source, const std::filesystem::path& destination,
                        const QuantizeOptions& options, ThreadPool& pool);

}  // namespace vl8
