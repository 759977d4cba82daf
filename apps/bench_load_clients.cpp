// The clients of `vl8 bench serve`: coroutines on one thread, one connection each, speaking just enough HTTP/1.1.
#include <boost/asio.hpp>
#include <chrono>

#include "bench_load.h"
#include "core/error.h"
#include "core/interrupt.h"

namespace vl8 {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using asio::awaitable;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;
constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr double kPatienceS = 600;  // an answer that takes longer counts as failed

double ms_since(Clock::time_point t) { return std::chrono::duration<double, std::milli>(Clock::now() - t).count(); }

// Undoes chunked transfer as bytes come.
class Dechunker {
 public:
  // Appends the content of `in` to out; false: malformed. `in` keeps what is incomplete.
  bool take(std::string& in, std::string& out, bool& end) {
    for (size_t pos = 0;;) {
      const size_t line = in.find("\r\n", pos);
      if (line == std::string::npos) return in.erase(0, pos), in.size() < 64;
      char* stop = nullptr;
      const unsigned long n = std::strtoul(in.c_str() + pos, &stop, 16);
      if (stop != in.c_str() + line) return false;
      if (in.size() < line + 2 + n + 2) return in.erase(0, pos), true;
      out.append(in, line + 2, n);
      pos = line + 2 + n + 2;
      if (n == 0) return end = true;
    }
  }
};

struct Shared {
  LoadOptions o;
  Workload workload;
  asio::io_context io{1};
  tcp::endpoint server;
  Clock::time_point begun = Clock::now();
  int64_t next = 0;
  LoadReport report;
  explicit Shared(const LoadOptions& options) : o(options), workload(options) {}
  bool over() const { return next >= o.requests || interrupted() || (o.duration_s > 0 && ms_since(begun) > o.duration_s * 1000); }
};

// One request on one connection.
class Client {
 public:
  Client(Shared& s, tcp::socket& socket, const PlannedRequest& plan) : s_(s), socket_(socket), plan_(plan) {}

  awaitable<void> run() {
    result_.malformed = plan_.malformed;
    std::string head = fmt::format("POST /v1/chat/completions HTTP/1.1\r\nhost: {}:{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", s_.o.host, s_.o.port, plan_.body.size());
    if (!s_.o.api_key.empty()) head += "authorization: Bearer " + s_.o.api_key + "\r\n";
    head += "\r\n";
    begun_ = Clock::now();
    const std::array<asio::const_buffer, 2> message{asio::buffer(head), asio::buffer(plan_.body)};
    auto [failed, n] = co_await asio::async_write(socket_, message, kNoThrow);
    if (failed) {
      result_.error = "the server closed the connection";
      co_return;
    }
    co_await read();
    result_.total_ms = ms_since(begun_);
    judge();
  }
  RequestResult result_;
  bool reusable_ = false;

 private:
  awaitable<void> read() {
    std::array<char, 16384> part;
    std::string in;
    bool head_done = false, end = false;
    Dechunker chunks;
    while (!end) {
      auto [ec, n] = co_await socket_.async_read_some(asio::buffer(part), kNoThrow);
      if (ec) {
        if (result_.error.empty()) result_.error = head_done ? "the answer broke off" : "no answer";
        co_return;
      }
      in.append(part.data(), n);
      if (!head_done && !(head_done = take_head(in))) continue;
      if (length_ >= 0) {
        body_ += std::exchange(in, {});
        end = int64_t(body_.size()) >= length_;
      } else if (!chunks.take(in, body_, end)) {
        result_.error = "malformed chunks";
        co_return;
      }
      if (result_.status == 200) take_events();
      if (leaves()) {
        result_.left = true;
        co_return;
      }
      if (ms_since(begun_) > kPatienceS * 1000) {
        result_.error = "took too long";
        co_return;
      }
    }
    reusable_ = keep_alive_;
  }

  bool take_head(std::string& in) {
    const size_t end = in.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    std::string head = in.substr(0, end);
    for (char& c : head) c = char(std::tolower(static_cast<unsigned char>(c)));
    result_.status = std::atoi(head.c_str() + std::min<size_t>(9, head.size()));
    if (size_t at = head.find("content-length:"); at != std::string::npos) length_ = std::atoll(head.c_str() + at + 15);
    keep_alive_ = head.find("connection: close") == std::string::npos;
    in.erase(0, end + 4);
    return true;
  }

  bool leaves() const { return plan_.leave_after >= 0 && double(events_) >= plan_.leave_after * double(s_.o.answer_tokens); }

  void take_events() {
    for (size_t end; (end = body_.find("\n\n", pos_)) != std::string::npos; pos_ = end + 2) event(std::string_view(body_).substr(pos_, end - pos_));
  }

  void event(std::string_view e) {
    if (!e.starts_with("data: ") || e == "data: [DONE]") return;
    if (e.find("\"error\"") != std::string_view::npos && e.find("\"choices\"") == std::string_view::npos) result_.error = "error in the stream";
    if (e.find("\"usage\":{") != std::string_view::npos) {
      Json j = Json::parse(e.substr(6), nullptr, false);
      if (j.is_object()) result_.tokens = j["usage"].value("completion_tokens", 0), result_.prompt_tokens = j["usage"].value("prompt_tokens", 0), usage_ = true;
      return;
    }
    const bool text = e.find("\"content\":\"") != std::string_view::npos && e.find("\"content\":\"\"") == std::string_view::npos;
    if (!text && e.find("\"reasoning_content\":\"") == std::string_view::npos) return;
    const double now = ms_since(begun_);
    if (events_++ == 0) result_.first_ms = now;
    else result_.gaps_ms.push_back(float(now - last_ms_));
    last_ms_ = now;
  }

  void judge() {
    if (!usage_) result_.tokens = events_;
    if (!result_.error.empty()) return;
    if (plan_.malformed) {
      result_.ok = result_.status >= 400 && result_.status < 500;
      if (!result_.ok) result_.error = fmt::format("malformed request got status {}", result_.status);
    } else if (result_.status != 200) {
      result_.error = fmt::format("status {}", result_.status);
    } else {
      result_.ok = result_.left || usage_;
      if (!result_.ok) result_.error = "a stream without its end";
    }
  }

  Shared& s_;
  tcp::socket& socket_;
  const PlannedRequest& plan_;
  Clock::time_point begun_;
  std::string body_;
  size_t pos_ = 0;
  int64_t length_ = -1, events_ = 0;
  double last_ms_ = 0;
  bool keep_alive_ = true, usage_ = false;
};

// One client: takes the next request that nobody has taken, when its time has come.
awaitable<void> client_loop(Shared& s) {
  tcp::socket socket(s.io);
  while (!s.over()) {
    const PlannedRequest plan = s.workload.request(s.next++);
    asio::steady_timer timer(s.io, s.begun + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(plan.at_s)));
    if (plan.at_s > 0) co_await timer.async_wait(kNoThrow);
    RequestResult failed;
    if (!socket.is_open()) {
      auto [ec] = co_await socket.async_connect(s.server, kNoThrow);
      error_code ignored;
      if (ec) {
        failed.error = "cannot connect: " + ec.message();
        s.report.results.push_back(failed);
        socket.close(ignored);
        co_await asio::steady_timer(s.io, std::chrono::milliseconds(100)).async_wait(kNoThrow);
        continue;
      }
      socket.set_option(tcp::no_delay(true), ignored);
    }
    Client client(s, socket, plan);
    co_await client.run();
    error_code ignored;
    if (!client.reusable_) socket.close(ignored);
    s.report.results.push_back(std::move(client.result_));
  }
}

}  // namespace

LoadReport run_load(const LoadOptions& options) {
  Shared s(options);
  error_code ec;
  const auto address = asio::ip::make_address(options.host == "localhost" ? "127.0.0.1" : options.host, ec);
  if (ec || !address.is_loopback()) fail_usage("'{}' is not a loopback address: this load is for a server on the same machine", options.host);
  s.server = {address, static_cast<unsigned short>(options.port)};
  s.begun = Clock::now();
  for (int i = 0; i < options.concurrency; ++i) asio::co_spawn(s.io, client_loop(s), asio::detached);
  s.io.run();
  s.report.wall_s = ms_since(s.begun) / 1000;
  return std::move(s.report);
}

}  // namespace vl8
