// Sockets, TLS and timeouts (Boost.Asio and Beast, one thread). Reads requests within limits, hands them to a handler, and
// writes what the exchange is given. A client that sends or reads too slowly is cut off; one that goes away is reported.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/api_error.h"
#include "server/http.h"

namespace vl8 {

struct HttpLimits {
  size_t max_body_bytes = size_t(64) << 20;
  size_t max_inflight_bytes = size_t(512) << 20;  // bodies of all requests being read or answered
  size_t max_header_bytes = size_t(32) << 10;
  int max_connections = 4096;
  double header_timeout_s = 20;  // from connecting, or the first byte of a request, to the end of its header
  double idle_timeout_s = 75;    // between requests
  double body_timeout_s = 60;    // for the whole body
  double send_timeout_s = 30;    // for one write: a client that does not read is dropped
};

struct TlsFiles {
  std::string certificate, key;  // PEM; the certificate file may hold a chain
};

struct HttpCounters {
  std::atomic<int64_t> connections{0}, accepted{0}, refused{0}, bad_requests{0}, timeouts{0}, abandoned{0}, inflight_bytes{0};
};

class HttpServer {
 public:
  // admit: called when the header has been read and before the body; may answer with a fault (wrong key, unknown path,
  // shutting down). handle: called with the whole request, on the server's thread; must not block.
  struct Handler {
    std::function<std::optional<ApiError>(const HttpRequest&, HttpHeaders& extra)> admit;
    std::function<void(std::shared_ptr<Exchange>)> handle;
    std::function<std::string(const HttpRequest&, const ApiError&)> error_body;
  };

  // Opens the port. Throws Error(usage) where the address is wrong or taken, Error(input) for TLS files.
  HttpServer(const std::string& host, int port, std::optional<TlsFiles> tls, const HttpLimits& limits, Handler handler);
  ~HttpServer();

  int port() const;                   // the one in use, also where 0 was asked for
  void run();                         // until stop()
  void stop();                        // from any thread: closes all connections
  void set_limits(const HttpLimits& limits);         // from the server's thread: for requests from now on
  void reload_tls();                                  // reads the files again, for connections from now on
  void after(double seconds, std::function<void()> f);  // on the server's thread
  void post(std::function<void()> f);                   // from any thread, on the server's thread
  void on_signal(std::function<void(int signal)> f);  // SIGINT, SIGTERM, SIGHUP, on the server's thread
  const HttpCounters& counters() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vl8
