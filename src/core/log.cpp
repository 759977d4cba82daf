#include "core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include "core/env.h"

namespace vl8 {
void init_log() {
  auto logger = std::make_shared<spdlog::logger>("vl8", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%^%l%$: %v");
  logger->set_level(spdlog::level::from_str(env("VL8_LOG").value_or("warn")));
  spdlog::set_default_logger(logger);
}
}  // namespace vl8
