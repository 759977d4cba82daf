#include "server/http_server.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <csignal>
#include <list>

#include "core/log.h"
#include "server/asio.h"

namespace vl8 {
namespace {

using asio::use_awaitable;
using namespace asio::experimental::awaitable_operators;

std::chrono::nanoseconds seconds(double s) { return std::chrono::nanoseconds(int64_t(s * 1e9)); }

class SocketExchange : public Exchange {
 public:
  SocketExchange(HttpRequest request, asio::any_io_executor executor) : Exchange(std::move(request)), timer_(executor) {
    timer_.expires_at(asio::steady_timer::time_point::max());
  }
  // Returns when something may have been posted.
  awaitable<void> wait() { co_await timer_.async_wait(kNoThrow); }
  // False where a posted function failed: a bug, after which this exchange cannot go on.
  bool run_safely() {
    try {
      run_posted();
      return true;
    } catch (const std::exception& e) {
      spdlog::error("{} {}: {}", request().id, request().path, e.what());
      return false;
    }
  }
  void set_written() { written_ = true; }
  bool written() const { return written_; }  // all of the answer was handed to the socket

 protected:
  void wake() override {
    asio::post(timer_.get_executor(), [self = shared_from_this(), this] { timer_.cancel(); });
  }

 private:
  asio::steady_timer timer_;
  bool written_ = false;
};

// Closes the socket unless it is disarmed in time: every pending operation on it ends.
class Deadline {
 public:
  Deadline(tcp::socket& socket, std::atomic<int64_t>& timeouts) : socket_(socket), timeouts_(timeouts), timer_(socket.get_executor()) {}
  void arm(double s) {
    timer_.expires_after(seconds(s));
    timer_.async_wait([this](error_code ec) {
      if (ec) return;
      ++timeouts_;
      error_code ignored;
      socket_.close(ignored);
    });
  }
  void disarm() { timer_.cancel(); }

 private:
  tcp::socket& socket_;
  std::atomic<int64_t>& timeouts_;
  asio::steady_timer timer_;
};

struct ReservedBytes {
  std::atomic<int64_t>& total;
  int64_t mine;
  ReservedBytes(std::atomic<int64_t>& t, int64_t n) : total(t), mine(n) { total += n; }
  ~ReservedBytes() { total -= mine; }
  ReservedBytes(const ReservedBytes&) = delete;
};

bool plain_id(std::string_view id) {
  if (id.empty() || id.size() > 128) return false;
  for (unsigned char c : id)
    if (!std::isalnum(c) && c != '-' && c != '_' && c != '.' && c != ':') return false;
  return true;
}

std::string new_request_id() {
  static std::atomic<uint64_t> count{0};
  static const uint64_t start = uint64_t(std::chrono::system_clock::now().time_since_epoch().count());
  return fmt::format("req-{:x}-{:x}", start & 0xffffffffff, ++count);
}

template <typename Parser>
bool read_head(const Parser& parser, HttpRequest& r) {
  const auto& m = parser.get();
  r.method = std::string(m.method_string());
  const std::string_view target(m.target().data(), m.target().size());
  const size_t mark = target.find('?');
  if (mark != std::string_view::npos) r.query = target.substr(mark + 1);
  for (const auto& f : m) {
    std::string name(f.name_string());
    for (char& c : name) c = char(std::tolower(static_cast<unsigned char>(c)));
    r.headers.emplace_back(std::move(name), std::string(f.value()));
  }
  const std::string_view given = r.header("x-request-id");
  r.id = plain_id(given) ? std::string(given) : new_request_id();
  return target.starts_with('/') && percent_decode(target.substr(0, mark), r.path);
}

}  // namespace

struct HttpServer::State {
  State(std::optional<TlsFiles> t, const HttpLimits& l, Handler h) : tls_files(std::move(t)), limits(l), handler(std::move(h)), acceptor(io), signals(io) {
    if (tls_files) tls = load_tls();
  }

  asio::io_context io{1};
  std::optional<TlsFiles> tls_files;
  std::shared_ptr<ssl::context> tls;  // connections keep the one they were accepted with
  HttpLimits limits;
  Handler handler;
  tcp::acceptor acceptor;
  asio::signal_set signals;
  HttpCounters counters;
  std::list<tcp::socket*> sockets;  // open ones, to close them when stopping
  int port = 0;

  std::shared_ptr<ssl::context> load_tls() const;
  void open(const std::string& host, int wanted);
  awaitable<void> accept_loop();
  awaitable<void> connection(tcp::socket socket);
  template <typename Stream>
  awaitable<void> serve(Stream& stream, tcp::socket& socket, Deadline& deadline, std::string client);
  template <typename Stream>
  awaitable<bool> one_request(Stream& stream, beast::flat_buffer& buffer, Deadline& deadline, const std::string& client, bool first);
  template <typename Stream>
  awaitable<void> pump(Stream& stream, SocketExchange& exchange, Deadline& deadline);
  template <typename Stream>
  awaitable<void> watch(Stream& stream, beast::flat_buffer& buffer);
  template <typename Stream>
  awaitable<void> refuse(Stream& stream, Deadline& deadline, const HttpRequest& request, const ApiError& error, const HttpHeaders& extra);
  void wait_for_signal(std::function<void(int)> f);
};

std::shared_ptr<ssl::context> HttpServer::State::load_tls() const {
  auto c = std::make_shared<ssl::context>(ssl::context::tls_server);
  c->set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1);
  error_code ec;
  c->use_certificate_chain_file(tls_files->certificate, ec);
  if (ec) fail_input("{}: no usable PEM certificate: {}", tls_files->certificate, ec.message());
  c->use_private_key_file(tls_files->key, ssl::context::pem, ec);
  if (ec) fail_input("{}: no usable PEM private key: {}", tls_files->key, ec.message());
  if (SSL_CTX_check_private_key(c->native_handle()) != 1) fail_input("{}: does not belong to the certificate {}", tls_files->key, tls_files->certificate);
  return c;
}

void HttpServer::State::open(const std::string& host, int wanted) {
  error_code ec;
  const auto address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, ec);
  if (ec) fail_usage("host '{}' is not an IP address; use 127.0.0.1 for this machine alone, 0.0.0.0 or :: for all interfaces", host);
  const tcp::endpoint endpoint(address, static_cast<unsigned short>(wanted));
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) fail_usage("cannot listen on {} port {}: {}; choose another with --port", host, wanted, ec.message());
  port = acceptor.local_endpoint().port();
}

awaitable<void> HttpServer::State::accept_loop() {
  for (;;) {
    auto [ec, socket] = co_await acceptor.async_accept(kNoThrow);
    if (ec == asio::error::operation_aborted || !acceptor.is_open()) co_return;
    if (ec) {  // out of descriptors, mostly: wait for some to be closed
      spdlog::warn("accept: {}", ec.message());
      asio::steady_timer pause(io, std::chrono::milliseconds(100));
      co_await pause.async_wait(kNoThrow);
      continue;
    }
    ++counters.accepted;
    if (counters.connections >= limits.max_connections) {
      ++counters.refused;
      continue;  // the socket closes
    }
    asio::co_spawn(io, connection(std::move(socket)), asio::detached);
  }
}

awaitable<void> HttpServer::State::connection(tcp::socket socket) {
  ++counters.connections;
  error_code ec;
  const auto peer = socket.remote_endpoint(ec);
  std::string client = ec ? "?" : peer.address().to_string();
  socket.set_option(tcp::no_delay(true), ec);
  auto context = tls;
  try {
    if (!context) {
      const auto place = sockets.insert(sockets.end(), &socket);
      Deadline deadline(socket, counters.timeouts);
      co_await serve(socket, socket, deadline, std::move(client));
      sockets.erase(place);
    } else {
      ssl::stream<tcp::socket> stream(std::move(socket), *context);
      tcp::socket& lowest = stream.next_layer();
      const auto place = sockets.insert(sockets.end(), &lowest);
      Deadline deadline(lowest, counters.timeouts);
      deadline.arm(limits.header_timeout_s);
      auto [failed] = co_await stream.async_handshake(ssl::stream_base::server, kNoThrow);
      if (!failed) {
        co_await serve(stream, lowest, deadline, std::move(client));
        deadline.arm(2);  // a peer that does not say goodbye is not waited for
        co_await stream.async_shutdown(kNoThrow);
      }
      deadline.disarm();
      sockets.erase(place);
    }
  } catch (const std::exception& e) {  // serve() reports its own; this is a bug or no memory
    spdlog::error("connection: {}", e.what());
  }
  --counters.connections;
}

template <typename Stream>
awaitable<void> HttpServer::State::serve(Stream& stream, tcp::socket& socket, Deadline& deadline, std::string client) {
  beast::flat_buffer buffer(limits.max_header_bytes + (size_t(64) << 10));
  try {
    for (bool first = true; co_await one_request(stream, buffer, deadline, client, first); first = false) {}
  } catch (const std::exception& e) {
    spdlog::error("request from {}: {}", client, e.what());
  }
  // Lets the last bytes reach a client that is still sending (a refused body): a plain close would answer with a reset.
  error_code ec;
  if (socket.is_open()) {
    socket.shutdown(tcp::socket::shutdown_send, ec);
    deadline.arm(1);
    char rest[4096];
    for (size_t total = 0; total < (size_t(1) << 20);) {
      auto [failed, n] = co_await socket.async_read_some(asio::buffer(rest), kNoThrow);
      if (failed) break;
      total += n;
    }
  }
  deadline.disarm();
}

template <typename Stream>
awaitable<void> HttpServer::State::refuse(Stream& stream, Deadline& deadline, const HttpRequest& request, const ApiError& error, const HttpHeaders& extra) {
  SocketExchange e(request, io.get_executor());
  e.set_keep_alive(false, true);
  HttpHeaders headers = extra;
  if (error.retry_after_s > 0) headers.emplace_back("retry-after", std::to_string(error.retry_after_s));
  if (error.status == 401) headers.emplace_back("www-authenticate", "Bearer");
  e.respond(error.status, handler.error_body(request, error), "application/json", headers);
  deadline.arm(limits.send_timeout_s);
  co_await asio::async_write(stream, asio::buffer(e.take_output()), kNoThrow);
  deadline.disarm();
}

// False: the connection is to be closed.
template <typename Stream>
awaitable<bool> HttpServer::State::one_request(Stream& stream, beast::flat_buffer& buffer, Deadline& deadline, const std::string& client, bool first) {
  const HttpLimits now = limits;
  http::request_parser<http::string_body> parser;
  parser.header_limit(uint32_t(now.max_header_bytes));
  parser.body_limit(now.max_body_bytes);
  if (!first && buffer.size() == 0) {  // between requests there is more patience than within one
    deadline.arm(now.idle_timeout_s);
    auto [ec, n] = co_await stream.async_read_some(buffer.prepare(4096), kNoThrow);
    if (ec) co_return false;
    buffer.commit(n);
  }
  deadline.arm(now.header_timeout_s);
  auto [ec, n] = co_await http::async_read_header(stream, buffer, parser, kNoThrow);
  HttpRequest request;
  request.client = client;
  request.id = new_request_id();
  if (ec == http::error::end_of_stream || ec == asio::error::operation_aborted || ec == asio::error::eof ||
      (ec && ec.category() == asio::error::get_system_category()))
    co_return false;
  const int bad = ec == http::error::header_limit || ec == http::error::buffer_overflow ? 431 : ec == http::error::body_limit ? 413 : 400;
  const bool head_ok = !ec && read_head(parser, request);
  if (!head_ok) {
    ++counters.bad_requests;
    const std::string why = !ec ? "the request target is malformed"
                            : bad == 431 ? fmt::format("the header is larger than {} bytes", now.max_header_bytes)
                            : bad == 413 ? fmt::format("the body is larger than {} bytes", now.max_body_bytes)
                                         : "malformed HTTP request: " + ec.message();
    co_await refuse(stream, deadline, request, ApiError(bad, "invalid_request_error", why), {});
    co_return false;
  }
  HttpHeaders extra;
  std::optional<ApiError> fault = handler.admit(request, extra);
  const int64_t length = parser.content_length() ? int64_t(*parser.content_length()) : parser.chunked() ? int64_t(now.max_body_bytes) : 0;
  if (!fault && counters.inflight_bytes + length > int64_t(now.max_inflight_bytes)) fault = overloaded("too many request bodies are in flight", 1);
  if (fault) {
    co_await refuse(stream, deadline, request, *fault, extra);
    co_return false;
  }
  ReservedBytes reserved(counters.inflight_bytes, length);
  if (beast::iequals(std::string_view(request.header("expect")), "100-continue"))
    co_await asio::async_write(stream, asio::buffer(std::string_view("HTTP/1.1 100 Continue\r\n\r\n")), kNoThrow);
  deadline.arm(now.body_timeout_s);
  if (!parser.is_done()) {
    auto [failed, m] = co_await http::async_read(stream, buffer, parser, kNoThrow);
    if (failed == http::error::body_limit) {
      co_await refuse(stream, deadline, request, ApiError(413, "invalid_request_error", fmt::format("the body is larger than {} bytes", now.max_body_bytes)), extra);
      co_return false;
    }
    if (failed) {
      if (failed.category() == make_error_code(http::error::end_of_stream).category() && failed != http::error::partial_message && failed != http::error::end_of_stream) {
        ++counters.bad_requests;
        co_await refuse(stream, deadline, request, ApiError(400, "invalid_request_error", "malformed HTTP body: " + failed.message()), extra);
      }
      co_return false;
    }
  }
  deadline.disarm();
  const bool http11 = parser.get().version() >= 11, keep = parser.get().keep_alive();
  request.body = std::move(parser.get().body());
  auto exchange = std::make_shared<SocketExchange>(std::move(request), io.get_executor());
  exchange->set_keep_alive(keep, http11);
  for (auto& [name, value] : extra) exchange->add_header(name, value);
  handler.handle(exchange);
  auto winner = co_await (pump(stream, *exchange, deadline) || watch(stream, buffer));
  const bool complete = winner.index() == 0 && exchange->ended() && exchange->written();
  if (!complete) ++counters.abandoned;
  deadline.disarm();
  exchange->finish(!complete);
  co_return complete && exchange->keep_alive();
}

// Writes the answer as it comes.
template <typename Stream>
awaitable<void> HttpServer::State::pump(Stream& stream, SocketExchange& exchange, Deadline& deadline) {
  while (exchange.run_safely()) {
    std::string out = exchange.take_output();
    if (!out.empty()) {
      deadline.arm(limits.send_timeout_s);
      auto [failed, n] = co_await asio::async_write(stream, asio::buffer(out), kNoThrow);
      deadline.disarm();
      if (failed) co_return;
    } else if (exchange.ended()) {
      exchange.set_written();
      co_return;
    } else {
      co_await exchange.wait();
    }
  }
}

// Returns when the client has closed its side. Bytes of a next request are kept, up to what the buffer takes.
template <typename Stream>
awaitable<void> HttpServer::State::watch(Stream& stream, beast::flat_buffer& buffer) {
  for (;;) {
    if (buffer.size() >= buffer.max_size() - 4096) {
      asio::steady_timer forever(io, asio::steady_timer::time_point::max());
      co_await forever.async_wait(kNoThrow);
      co_return;
    }
    auto [ec, n] = co_await stream.async_read_some(buffer.prepare(4096), kNoThrow);
    if (ec) co_return;
    buffer.commit(n);
  }
}

void HttpServer::State::wait_for_signal(std::function<void(int)> f) {
  signals.async_wait([this, f = std::move(f)](error_code ec, int signal) mutable {
    if (ec) return;
    f(signal);
    wait_for_signal(std::move(f));
  });
}

HttpServer::HttpServer(const std::string& host, int port, std::optional<TlsFiles> tls, const HttpLimits& limits, Handler handler)
    : state_(std::make_unique<State>(std::move(tls), limits, std::move(handler))) {
  state_->open(host, port);
}
HttpServer::~HttpServer() = default;

int HttpServer::port() const { return state_->port; }
const HttpCounters& HttpServer::counters() const { return state_->counters; }
void HttpServer::set_limits(const HttpLimits& limits) { state_->limits = limits; }
void HttpServer::reload_tls() {
  if (state_->tls_files) state_->tls = state_->load_tls();
}

void HttpServer::run() {
  asio::co_spawn(state_->io, state_->accept_loop(), asio::detached);
  state_->io.run();
}

void HttpServer::stop() {
  asio::post(state_->io, [s = state_.get()] {
    error_code ec;
    s->acceptor.close(ec);
    s->signals.cancel(ec);
    for (tcp::socket* socket : s->sockets) socket->close(ec);
  });
}

void HttpServer::post(std::function<void()> f) { asio::post(state_->io, std::move(f)); }

void HttpServer::after(double s, std::function<void()> f) {
  auto timer = std::make_shared<asio::steady_timer>(state_->io, seconds(s));
  timer->async_wait([timer, f = std::move(f)](error_code ec) {
    if (!ec) f();
  });
}

void HttpServer::on_signal(std::function<void(int)> f) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) state_->signals.add(signal);
  state_->wait_for_signal(std::move(f));
}

}  // namespace vl8
