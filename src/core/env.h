// Every environment switch, in one table (`vl8 --help-env` prints it).
#pragma once
#include <optional>
#include <span>
#include <string>

namespace vl8 {

struct EnvSwitch {
  const char* name;
  const char* values;
  const char* help;
};
std::span<const EnvSwitch> env_switches();
std::optional<std::string> env(const char* name);  // the name must be in the table; empty counts as unset

}  // namespace vl8
