// Faults of a request as clients see them: an HTTP status and OpenAI's error object (type, message, param, code).
// Thrown where the fault is seen, caught once per request. Error (core/error.h) thrown below the server is translated
// by to_api_error.
#pragma once
#include <exception>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"

namespace vl8 {

class ApiError : public Error {
 public:
  ApiError(int status, std::string type, const std::string& message, std::string param = {}, std::string code = {})
      : Error(ErrorKind::input, message), status(status), type(std::move(type)), param(std::move(param)), code(std::move(code)) {}

  int status;               // HTTP
  std::string type;         // "invalid_request_error", "rate_limit_error", ...
  std::string param, code;  // empty: null in the answer
  int retry_after_s = 0;    // > 0: sent as Retry-After
};

// 400 that names the field, e.g. "messages[2].content[0].image_url.url".
template <typename... Args>
[[noreturn]] void fail_field(const std::string& param, fmt::format_string<Args...> format, Args&&... args) {
  throw ApiError(400, "invalid_request_error", param + ": " + fmt::format(format, std::forward<Args>(args)...), param);
}

ApiError overloaded(const std::string& message, int retry_after_s);  // 429
ApiError unavailable(const std::string& message, int retry_after_s);  // 503

// Of the exception in flight: Error by its kind, bad_alloc as 503, the rest as 500 without details.
ApiError to_api_error(std::exception_ptr fault);

nlohmann::ordered_json openai_error(const ApiError& e);     // {"error": {...}}
nlohmann::ordered_json anthropic_error(const ApiError& e);  // {"type": "error", "error": {...}}

}  // namespace vl8
