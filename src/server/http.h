// HTTP as the rest of the server sees it: a request that has been read, and an exchange that takes the answer. No socket and
// no Asio here, so that handlers compile fast and tests can play the client.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vl8 {

struct HttpRequest {
  std::string method, path, query;  // path: percent-decoded, without the query
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  std::string client;  // address of the peer
  std::string id;      // of the request, for logs and the x-request-id header

  std::string_view header(std::string_view lower_case_name) const;  // "" where absent; of several the first
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// One request and its answer. Everything but post() belongs to one thread, the connection's: call it in the handler or in a
// posted function. The answer is either one respond(), or begin_stream(), any number of send(), and end().
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  explicit Exchange(HttpRequest request) : request_(std::move(request)) {}
  virtual ~Exchange() = default;

  HttpRequest& request() { return request_; }

  // From any thread: f runs on the connection's thread, in the order of posting. Dropped where the exchange is over.
  void post(std::function<void()> f);

  void respond(int status, std::string body, std::string content_type = "application/json", HttpHeaders headers = {});
  void begin_stream(int status, std::string content_type, HttpHeaders headers = {});
  void send(std::string bytes);
  void end();

  // f runs once if the client goes away before the answer has ended.
  void on_abandon(std::function<void()> f);
  // f runs once when the answer has been handed to the socket or given up: logs, metrics. bytes: of the body.
  void on_over(std::function<void(int status, size_t bytes, bool abandoned)> f) { on_over_ = std::move(f); }
  // A figure for the access log.
  void note(std::string name, int64_t value) { notes_.emplace_back(std::move(name), value); }
  const std::vector<std::pair<std::string, int64_t>>& notes() const { return notes_; }
  bool started() const { return started_; }
  bool ended() const { return ended_; }

  // For the connection: runs what was posted; what is to be written next; the client is gone.
  void run_posted();
  std::string take_output();
  void finish(bool abandoned);
  void set_keep_alive(bool keep_alive, bool http11) { keep_alive_ = keep_alive, http11_ = http11; }
  bool keep_alive() const { return keep_alive_; }
  void close_after() { keep_alive_ = false; }
  void add_header(std::string name, std::string value) { extra_headers_.emplace_back(std::move(name), std::move(value)); }

 protected:
  virtual void wake() = 0;  // from any thread: makes the connection call run_posted()

 private:
  void head(int status, const std::string& content_type, const HttpHeaders& headers, ptrdiff_t length);
  HttpRequest request_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
  bool woken_ = false, over_ = false;          // guarded by mutex_
  std::string output_;
  std::vector<std::pair<std::string, int64_t>> notes_;
  HttpHeaders extra_headers_;
  std::function<void()> on_abandon_;
  std::function<void(int, size_t, bool)> on_over_;
  bool started_ = false, ended_ = false, streaming_ = false, keep_alive_ = true, http11_ = true;
  int status_ = 0;
  size_t body_bytes_ = 0;
};

std::string_view http_reason(int status);
// "%41" to "A"; nothing where the text is malformed or holds a NUL.
bool percent_decode(std::string_view text, std::string& out);

}  // namespace vl8
