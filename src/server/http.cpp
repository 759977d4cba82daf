#include "server/http.h"

#include <fmt/format.h>

#include "core/error.h"

namespace vl8 {

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

std::string_view http_reason(int status) {
  struct Row {
    int status;
    std::string_view reason;
  };
  constexpr Row kReasons[] = {{200, "OK"}, {204, "No Content"}, {304, "Not Modified"}, {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"},
                              {404, "Not Found"}, {405, "Method Not Allowed"}, {408, "Request Timeout"}, {411, "Length Required"}, {413, "Payload Too Large"},
                              {415, "Unsupported Media Type"}, {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
                              {500, "Internal Server Error"}, {501, "Not Implemented"}, {503, "Service Unavailable"}, {504, "Gateway Timeout"}};
  for (const Row& r : kReasons)
    if (r.status == status) return r.reason;
  return "Status";
}

bool percent_decode(std::string_view text, std::string& out) {
  auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1; };
  out.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 1 < text.size() ? digit(text[i + 1]) : -1, low = i + 2 < text.size() ? digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return false;
      c = char(high * 16 + low);
      i += 2;
    }
    if (c == 0) return false;
    out += c;
  }
  return true;
}

void Exchange::post(std::function<void()> f) {
  {
    std::lock_guard lock(mutex_);
    if (over_) return;
    posted_.push_back(std::move(f));
    if (std::exchange(woken_, true)) return;
  }
  wake();
}

void Exchange::run_posted() {
  std::vector<std::function<void()>> now;
  {
    std::lock_guard lock(mutex_);
    now.swap(posted_);
    woken_ = false;
  }
  for (auto& f : now) f();
}

std::string Exchange::take_output() { return std::exchange(output_, {}); }

void Exchange::head(int status, const std::string& content_type, const HttpHeaders& headers, ptrdiff_t length) {
  check(!started_, "an answer was begun twice");
  started_ = true;
  status_ = status;
  fmt::format_to(std::back_inserter(output_), "HTTP/1.1 {} {}\r\n", status, http_reason(status));
  if (!content_type.empty()) fmt::format_to(std::back_inserter(output_), "content-type: {}\r\n", content_type);
  fmt::format_to(std::back_inserter(output_), "x-request-id: {}\r\n", request_.id);
  for (const HttpHeaders* list : {&headers, static_cast<const HttpHeaders*>(&extra_headers_)})
    for (const auto& [name, value] : *list) fmt::format_to(std::back_inserter(output_), "{}: {}\r\n", name, value);
  if (length >= 0) fmt::format_to(std::back_inserter(output_), "content-length: {}\r\n", length);
  else if (http11_) output_ += "transfer-encoding: chunked\r\n";
  else keep_alive_ = false;  // HTTP/1.0: the end of the connection is the end of the body
  output_ += keep_alive_ ? "connection: keep-alive\r\n\r\n" : "connection: close\r\n\r\n";
}

void Exchange::respond(int status, std::string body, std::string content_type, HttpHeaders headers) {
  head(status, content_type, headers, ptrdiff_t(body.size()));
  body_bytes_ = body.size();
  if (request_.method != "HEAD") output_ += body;
  ended_ = true;
}

void Exchange::begin_stream(int status, std::string content_type, HttpHeaders headers) {
  head(status, content_type, headers, -1);
  streaming_ = true;
}

void Exchange::send(std::string bytes) {
  check(streaming_ && !ended_, "data outside of a stream");
  if (bytes.empty()) return;
  body_bytes_ += bytes.size();
  if (http11_) fmt::format_to(std::back_inserter(output_), "{:x}\r\n{}\r\n", bytes.size(), bytes);
  else output_ += bytes;
}

void Exchange::end() {
  check(streaming_ && !ended_, "a stream ended twice");
  if (http11_) output_ += "0\r\n\r\n";
  ended_ = true;
}

void Exchange::on_abandon(std::function<void()> f) {
  std::unique_lock lock(mutex_);
  if (!over_) {
    on_abandon_ = std::move(f);
    return;
  }
  lock.unlock();
  f();  // too late to be told: the client has gone while the request was being prepared
}

void Exchange::finish(bool abandoned) {
  std::function<void()> gone;
  std::vector<std::function<void()>> dropped;
  {
    std::lock_guard lock(mutex_);
    over_ = true;
    dropped.swap(posted_);
    gone.swap(on_abandon_);
  }
  if (abandoned && gone) gone();
  if (auto f = std::exchange(on_over_, {})) f(status_, body_bytes_, abandoned);
}

}  // namespace vl8
