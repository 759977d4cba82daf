// Shared by the fuzz targets: what a target may throw, and pieces of its input.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/error.h"

namespace vl8::fuzz {

// Runs `body`; an Error that names a fault of the input is an answer, anything else (also an internal Error) is a finding.
template <typename F>
int answer(F&& body) {
  try {
    body();
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::internal) {
      std::fprintf(stderr, "internal error: %s\n", e.what());
      std::abort();
    }
    if (std::string_view(e.what()).empty()) std::abort();
  }
  return 0;
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
  uint8_t byte() {
    if (rest_.empty()) return 0;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return uint8_t(c);
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

}  // namespace vl8::fuzz
