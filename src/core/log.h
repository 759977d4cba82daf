// Logging goes to stderr, through spdlog's default logger; results go to stdout. init_log reads VL8_LOG.
#pragma once
#include <spdlog/spdlog.h>

namespace vl8 {
void init_log();
}  // namespace vl8
