#include "server/api_error.h"

#include <new>

namespace vl8 {
namespace {

struct KindRow {
  ErrorKind kind;
  int status;
  const char* type;
  const char* code;
};
constexpr KindRow kKinds[] = {
    {ErrorKind::usage, 400, "invalid_request_error", ""},
    {ErrorKind::input, 400, "invalid_request_error", ""},
    {ErrorKind::unsupported, 400, "invalid_request_error", "unsupported"},
    {ErrorKind::resource, 503, "overloaded_error", "out_of_resources"},
    {ErrorKind::cancelled, 503, "server_error", "cancelled"},
    {ErrorKind::internal, 500, "server_error", "internal_error"},
};

nlohmann::ordered_json or_null(const std::string& s) { return s.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(s); }

// Anthropic's names of the same faults.
const char* anthropic_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
  }
}

}  // namespace

ApiError overloaded(const std::string& message, int retry_after_s) {
  ApiError e(429, "rate_limit_error", message, {}, "queue_full");
  e.retry_after_s = retry_after_s;
  return e;
}

ApiError unavailable(const std::string& message, int retry_after_s) {
  ApiError e(503, "server_error", message, {}, "unavailable");
  e.retry_after_s = retry_after_s;
  return e;
}

ApiError to_api_error(std::exception_ptr fault) {
  try {
    std::rethrow_exception(fault);
  } catch (const ApiError& e) {
    return e;
  } catch (const Error& e) {
    for (const KindRow& row : kKinds)
      if (row.kind == e.kind()) {
        const bool ours = e.kind() == ErrorKind::internal;  // file names and values of ours are for the log only
        ApiError out(row.status, row.type, ours ? "internal error; the server's log has the details" : e.what(), {}, row.code);
        if (row.status == 503) out.retry_after_s = 1;
        return out;
      }
  } catch (const std::bad_alloc&) {
    return unavailable("out of memory", 1);
  } catch (...) {
  }
  return ApiError(500, "server_error", "internal error; the server's log has the details", {}, "internal_error");
}

nlohmann::ordered_json openai_error(const ApiError& e) {
  return {{"error", {{"message", e.what()}, {"type", e.type}, {"param", or_null(e.param)}, {"code", or_null(e.code)}}}};
}

nlohmann::ordered_json anthropic_error(const ApiError& e) {
  return {{"type", "error"}, {"error", {{"type", anthropic_type(e.status)}, {"message", e.what()}}}};
}

}  // namespace vl8
