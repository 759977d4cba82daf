// Errors. `Error` is what a user can cause or mend (a bad file, a wrong flag, no memory): thrown where the
// fault is seen, caught once at the edge (CLI command, HTTP request) and shown as one sentence that names the
// file, the field and the fix. `check` is for our own bugs: it throws BugError with file, line and values.
#pragma once
#include <fmt/format.h>

#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>

namespace vl8 {

enum class ErrorKind {
  usage,        // wrong flag or argument: exit code 2, HTTP 400
  input,        // a file or request is malformed or out of limits: exit 1, HTTP 400
  unsupported,  // well-formed, but vl8 does not do it: exit 1, HTTP 400/501
  resource,     // out of memory, disk, device or pages: exit 1, HTTP 503
  cancelled,    // the user stopped it: exit 130
  internal,     // a bug of ours: exit 1, HTTP 500
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
[[noreturn]] void fail_input(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::input, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::usage, fmt::format(format, std::forward<Args>(args)...));
}

// A format string that remembers where it was written.
template <typename... Args>
struct CheckFormat {
  fmt::format_string<Args...> format;
  std::source_location where;
  template <typename S>
  consteval CheckFormat(const S& s, std::source_location w = std::source_location::current())
      : format(s), where(w) {}
};

template <typename... Args>
void check(bool condition, CheckFormat<std::type_identity_t<Args>...> text, Args&&... args) {
  if (condition) [[likely]] return;
  throw Error(ErrorKind::internal,
              fmt::format("{}:{}: {}", text.where.file_name(), text.where.line(),
                          fmt::format(fmt::runtime(fmt::string_view(text.format)), std::forward<Args>(args)...)));
}

}  // namespace vl8
