#include "server/http_client.h"

#include <optional>

#include "server/asio.h"

namespace vl8 {
namespace {

struct Url {
  bool tls = false;
  std::string host, port, target;
};

Url parse_url(const std::string& url, const std::string& param) {
  Url u;
  u.tls = url.starts_with("https://");
  std::string rest = url.substr(u.tls ? 8 : 7);
  rest.resize(std::min(rest.size(), rest.find('#')));
  const size_t slash = rest.find_first_of("/?");
  std::string authority = rest.substr(0, slash);
  u.target = slash == std::string::npos ? "/" : rest.substr(slash);
  if (u.target[0] == '?') u.target.insert(0, "/");
  if (authority.find('@') != std::string::npos) fail_field(param, "may not hold a user name or password");
  size_t colon = authority.rfind(':');
  if (authority.starts_with('[')) {  // IPv6
    const size_t close = authority.find(']');
    if (close == std::string::npos) fail_field(param, "has a malformed host");
    u.host = authority.substr(1, close - 1);
    colon = authority.find(':', close);
  } else {
    u.host = authority.substr(0, colon);
  }
  u.port = colon == std::string::npos ? (u.tls ? "443" : "80") : authority.substr(colon + 1);
  const bool port_ok = !u.port.empty() && u.port.size() <= 5 && std::all_of(u.port.begin(), u.port.end(), [](unsigned char c) { return std::isdigit(c); });
  const bool target_ok = std::all_of(u.target.begin(), u.target.end(), [](unsigned char c) { return c > 32 && c != 127; });
  if (u.host.empty() || !port_ok || !target_ok) fail_field(param, "is a malformed URL");
  return u;
}

struct Reply {
  int status = 0;
  std::string location, body;
};

struct Fetch {
  const std::string& param;
  size_t max_bytes;
  const FetchPolicy& policy;
  asio::io_context io{1};

  // The first address of the host that may be connected to; none is a fault.
  awaitable<tcp::endpoint> resolve(const Url& u) {
    tcp::resolver resolver(io);
    auto [ec, results] = co_await resolver.async_resolve(u.host, u.port, kNoThrow);
    if (ec) fail_field(param, "the host cannot be found");
    for (const auto& r : results) {
      const asio::ip::address a = r.endpoint().address();
      const bool ok = a.is_v4() ? policy.may_connect(a.to_v4().to_bytes().data(), 4) : policy.may_connect(a.to_v6().to_bytes().data(), 16);
      if (ok) co_return r.endpoint();
    }
    fail_field(param, "the host has no public address");
  }

  template <typename Stream>
  awaitable<Reply> exchange(Stream& stream, const Url& u) {
    http::request<http::empty_body> request(http::verb::get, u.target, 11);
    const bool usual = u.port == (u.tls ? "443" : "80");
    request.set(http::field::host, usual ? u.host : u.host + ":" + u.port);
    request.set(http::field::user_agent, "vl8");
    request.set(http::field::accept, "image/*, video/*");
    request.set(http::field::connection, "close");
    auto [wrote, n] = co_await http::async_write(stream, request, kNoThrow);
    if (wrote) fail_field(param, "the host closed the connection");
    beast::flat_buffer buffer(size_t(1) << 17);
    http::response_parser<http::string_body> parser;
    parser.body_limit(max_bytes);
    parser.header_limit(16 << 10);
    auto [ec, m] = co_await http::async_read(stream, buffer, parser, kNoThrow);
    if (ec == http::error::body_limit) fail_field(param, "is larger than {} bytes", max_bytes);
    if (ec && !(ec == ssl::error::stream_truncated && parser.is_done())) fail_field(param, "the host's answer broke off");
    Reply r;
    r.status = int(parser.get().result_int());
    r.location = std::string(parser.get()[http::field::location]);
    r.body = std::move(parser.get().body());
    co_return r;
  }

  awaitable<Reply> get(const Url& u) {
    const tcp::endpoint to = co_await resolve(u);
    tcp::socket socket(io);
    auto [ec] = co_await socket.async_connect(to, kNoThrow);
    if (ec) fail_field(param, "the host cannot be reached");
    if (!u.tls) co_return co_await exchange(socket, u);
    ssl::context context(ssl::context::tls_client);
    context.set_default_verify_paths();
    ssl::stream<tcp::socket> stream(std::move(socket), context);
    stream.set_verify_mode(ssl::verify_peer);
    stream.set_verify_callback(ssl::host_name_verification(u.host));
    SSL_set_tlsext_host_name(stream.native_handle(), u.host.c_str());
    auto [failed] = co_await stream.async_handshake(ssl::stream_base::client, kNoThrow);
    if (failed) fail_field(param, "the host's certificate is not accepted");
    co_return co_await exchange(stream, u);
  }

  awaitable<std::string> follow(std::string url) {
    for (int hop = 0; hop <= kMaxRedirects; ++hop) {
      const Url u = parse_url(url, param);
      if (!host_allowed(u.host, policy.limits.hosts)) fail_field(param, "{}", hop ? "redirects to a host that is not allowed" : "this host is not allowed; the server's --allow-media-host would");
      Reply r = co_await get(u);
      if (r.status == 200) co_return std::move(r.body);
      if (r.status < 300 || r.status >= 400 || r.location.empty()) fail_field(param, "the host answered with status {}", r.status);
      if (r.location.starts_with("http://") || r.location.starts_with("https://")) url = r.location;
      else if (r.location.starts_with('/') && !r.location.starts_with("//")) url = fmt::format("{}://{}:{}{}", u.tls ? "https" : "http", u.host.find(':') == std::string::npos ? u.host : fmt::format("[{}]", u.host), u.port, r.location);
      else fail_field(param, "the host redirects to something that is not http");
    }
    fail_field(param, "the host redirects more than {} times", kMaxRedirects);
  }
};

}  // namespace

std::string fetch_url(const std::string& url, const std::string& param, size_t max_bytes, const FetchPolicy& policy) {
  Fetch fetch{param, max_bytes, policy};
  std::optional<std::string> body;
  std::exception_ptr fault;
  asio::co_spawn(fetch.io, fetch.follow(url), [&](std::exception_ptr e, std::string b) {
    if (e) fault = e;
    else body = std::move(b);
  });
  fetch.io.run_for(std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(policy.limits.fetch_timeout_s)));
  if (fault) std::rethrow_exception(fault);
  if (!body) fail_field(param, "could not be fetched within {} seconds", policy.limits.fetch_timeout_s);
  if (body->empty()) fail_field(param, "is empty");
  return std::move(*body);
}

}  // namespace vl8
