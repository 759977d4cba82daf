#include "ops/probe_ops.h"

namespace vl8 {
namespace {

bool matches(std::string_view glob, std::string_view name) {
  if (glob.empty()) return name.empty();
  if (glob[0] == '*') {
    for (size_t n = 0; n <= name.size(); ++n)
      if (matches(glob.substr(1), name.substr(n))) return true;
    return false;
  }
  return !name.empty() && (glob[0] == '?' || glob[0] == name[0]) && matches(glob.substr(1), name.substr(1));
}

bool matches_any(std::string_view globs, std::string_view name) {
  while (!globs.empty()) {
    size_t comma = globs.find(',');
    if (matches(globs.substr(0, comma), name)) return true;
    globs = comma == std::string_view::npos ? std::string_view() : globs.substr(comma + 1);
  }
  return false;
}

}  // namespace

void ProbeOps::tap(std::string_view name, const Tensor& value) {
  if (stopped_) return;
  int call = calls_[std::string(name)]++;
  std::string full(name);
  if (call > 0) full += "#" + std::to_string(call);
  if (!matches_any(glob_, full) && !matches_any(glob_, name)) return;
  probed_[full] = {value.shape, download(value)};
}

}  // namespace vl8
