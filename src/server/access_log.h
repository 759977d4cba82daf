// One line for every request, as text or JSON: id, method, path, status, time, sizes, tokens, trace. Never a body, a header
// that may hold a secret, or a query.
#pragma once
#include <chrono>
#include <memory>
#include <string>

#include "server/http.h"

namespace vl8 {

class AccessLog {
 public:
  explicit AccessLog(bool json) : json_(json) {}
  void write(Exchange& exchange, int status, size_t bytes, bool abandoned, std::chrono::steady_clock::time_point begun) const;

 private:
  bool json_;
};

// W3C trace context (www.w3.org/TR/trace-context): the header if it is well formed, else "".
std::string_view valid_traceparent(std::string_view header);

// Sets the pattern of the process's logger: for JSON logs, every line of it is an object.
void set_log_format(bool json);

}  // namespace vl8
