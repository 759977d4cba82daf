#include "core/env.h"

#include <cstdlib>
#include <string_view>

#include "core/error.h"

namespace vl8 {
namespace {
constexpr EnvSwitch kSwitches[] = {
    {"VL8_ISA", "scalar|avx2|avx512|avx512_bf16|amx", "instruction set of the CPU kernels (default: the best this CPU has)"},
    {"VL8_CUDA", "[no]graphs,[no]early,[no]hopper,[no]tune",
     "parts of the CUDA backend to turn on or off, separated by commas: recorded steps, early launch, wgmma attention, autotuning"},
    {"VL8_THREADS", "N", "threads of the CPU backend (default: the CPUs this process may use)"},
    {"VL8_MODEL", "FOLDER", "model to use where -m is not given (default: the bundled model)"},
    {"VL8_WORKER", "PROGRAM", "program that decodes untrusted pictures and videos (default: vl8 itself)"},
    {"VL8_LOG", "debug|info|warn|error", "what is logged to stderr (default: warn)"},
    {"VL8_GOLDEN", "FOLDER", "tests: where the golden data lies"},
    {"VL8_SHARED", "FOLDER", "tests and training: where fixtures and photo sets lie; tests that need them skip without it"},
};
}  // namespace

std::span<const EnvSwitch> env_switches() { return kSwitches; }

std::optional<std::string> env(const char* name) {
  bool known = false;
  for (const EnvSwitch& s : kSwitches) known |= std::string_view(s.name) == name;
  check(known, "environment switch {} is not in the table", name);
  const char* value = std::getenv(name);
  if (!value || !*value) return std::nullopt;
  return value;
}

}  // namespace vl8
