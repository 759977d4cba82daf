// The evaluation part of a quantisation report.
#pragma once
#include <filesystem>
#include <vector>

#include "core/usage.h"
#include "quant/report.h"

namespace vl8 {

// The bundled suite on both models, item for item; limit 0: all items.
std::vector<TaskScore> evaluate_both(const std::filesystem::path& source, const std::filesystem::path& quantised, int64_t limit, int threads);

}  // namespace vl8
