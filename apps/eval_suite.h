// Runs a suite of questions on a model; `vl8 eval` and the quantiser's report.
#pragma once
#include <nlohmann/json.hpp>

#include "options.h"

namespace vl8 {

struct EvalOptions {
  ModelOptions model;
  std::string suite = "nano", data, answers, task, sparsity = "off";
  int64_t limit = 0;
  bool json = false;
};

// An array of {"task", "score", "figure", "value", "items", ..}.
// mean_activation, when given: the mean share of visual work over items with pictures.
nlohmann::ordered_json evaluate(const EvalOptions& options, double* mean_activation = nullptr);

}  // namespace vl8
