// Bytes of a connection, in two pieces, to a server on the loopback address whose handler echoes. The server must stay up and answer
// a plain request after each.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "fuzz.h"
#include "server/http_server.h"

namespace {

using namespace vl8;

HttpServer& server() {
  static HttpServer* s = [] {
    HttpLimits limits;
    limits.max_body_bytes = 4096;
    limits.max_header_bytes = 2048;
    limits.header_timeout_s = limits.body_timeout_s = limits.idle_timeout_s = 0.2;
    HttpServer::Handler h;
    h.admit = [](const HttpRequest&, HttpHeaders&) { return std::optional<ApiError>(); };
    h.handle = [](std::shared_ptr<Exchange> x) { x->respond(200, x->request().method + " " + x->request().path + "\n" + x->request().body, "text/plain"); };
    h.error_body = [](const HttpRequest&, const ApiError& e) { return std::string(e.what()); };
    auto* made = new HttpServer("127.0.0.1", 0, std::nullopt, limits, h);  // lives as long as the process
    std::thread([made] { made->run(); }).detach();
    return made;
  }();
  return *s;
}

int connect_to(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(uint16_t(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval wait{2, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) std::abort();
  return fd;
}

std::string exchange(int port, std::string_view first, std::string_view second) {
  const int fd = connect_to(port);
  (void)!send(fd, first.data(), first.size(), MSG_NOSIGNAL);
  (void)!send(fd, second.data(), second.size(), MSG_NOSIGNAL);
  shutdown(fd, SHUT_WR);
  std::string out;
  char buffer[4096];
  for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0 && out.size() < 1 << 16;) out.append(buffer, size_t(n));
  close(fd);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const int port = server().port();
  exchange(port, all.substr(0, size / 2), all.substr(size / 2));
  static unsigned calls = 0;
  if (++calls % 16 == 0 && exchange(port, "GET /alive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "").find("GET /alive") == std::string::npos) std::abort();
  return 0;
}
