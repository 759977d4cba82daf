#include "server/media_source.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "server/http.h"
#include "server/http_client.h"

namespace vl8 {
namespace {

namespace fs = std::filesystem;

struct Prefix {
  std::array<unsigned char, 16> bytes;
  int bits;
};

bool matches(const unsigned char* address, const Prefix& p) {
  const int whole = p.bits / 8, rest = p.bits % 8;
  if (std::memcmp(address, p.bytes.data(), size_t(whole)) != 0) return false;
  return rest == 0 || ((address[whole] ^ p.bytes[size_t(whole)]) >> (8 - rest)) == 0;
}

constexpr Prefix kNotPublic4[] = {
    {{0}, 8},           {{10}, 8},          {{100, 64}, 10},   {{127}, 8},         {{169, 254}, 16},     {{172, 16}, 12},      {{192, 0, 0}, 24},
    {{192, 0, 2}, 24},  {{192, 88, 99}, 24}, {{192, 168}, 16}, {{198, 18}, 15},    {{198, 51, 100}, 24}, {{203, 0, 113}, 24}, {{224}, 4},
    {{240}, 4},
};

size_t limit_of(const MediaSource& s, const MediaLimits& l) { return s.kind == MediaSource::Kind::image ? l.max_image_bytes : l.max_video_bytes; }

[[noreturn]] void too_large(const MediaSource& s, size_t limit) { fail_field(s.param, "is larger than {} bytes", limit); }

std::string from_data_url(const MediaSource& s, size_t limit) {
  const std::string_view url = s.url;
  const size_t comma = url.find(',');
  if (comma == std::string_view::npos || comma > 256) fail_field(s.param, "is a data: URL without data");
  const std::string_view kind = url.substr(5, comma - 5), data = url.substr(comma + 1);
  std::string out;
  if (kind.ends_with(";base64")) {
    if (data.size() / 4 * 3 > limit + 3) too_large(s, limit);
    if (!base64_decode(data, out)) fail_field(s.param, "holds invalid base64");
  } else if (!percent_decode(data, out)) {
    fail_field(s.param, "is a data: URL with a malformed %-escape");
  }
  if (out.size() > limit) too_large(s, limit);
  if (out.empty()) fail_field(s.param, "is empty");
  return out;
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

// The kernel resolves the path and refuses every step that leaves the root, so that no link or race can.
int open_beneath(const fs::path& root, const fs::path& relative) {
  Descriptor folder{open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (folder.fd < 0) return -1;
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return int(syscall(SYS_openat2, folder.fd, relative.c_str(), &how, sizeof how));
}

std::string from_file(const MediaSource& s, const MediaLimits& limits, size_t limit) {
  if (limits.root.empty()) fail_field(s.param, "file: URLs are off; the server's --media-root turns them on for one folder");
  std::string path;
  std::string_view rest = std::string_view(s.url).substr(7);
  if (rest.starts_with("localhost/")) rest.remove_prefix(9);
  if (!rest.starts_with('/') || !percent_decode(rest, path)) fail_field(s.param, "must be file:// and an absolute path");
  std::error_code ec;
  const fs::path root = fs::canonical(limits.root, ec);
  if (ec) fail_field(s.param, "the media root is not there");
  std::string root_text = root.string() + "/";
  if (path.starts_with(fs::path(limits.root).string() + "/")) path.replace(0, fs::path(limits.root).string().size() + 1, root_text);
  // One answer for outside, missing and unreadable: what lies elsewhere on the disk is nobody's business.
  auto refuse = [&]() { fail_field(s.param, "there is no such file under the media root"); };
  if (!path.starts_with(root_text)) refuse();
  Descriptor file{open_beneath(root, path.substr(root_text.size()))};
  struct stat info {};
  if (file.fd < 0 || fstat(file.fd, &info) != 0 || !S_ISREG(info.st_mode)) refuse();
  if (size_t(info.st_size) > limit) too_large(s, limit);
  std::string out(size_t(info.st_size), '\0');
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = read(file.fd, out.data() + done, out.size() - done);
    if (n <= 0) refuse();
    done += size_t(n);
  }
  if (out.empty()) fail_field(s.param, "the file is empty");
  return out;
}

}  // namespace

bool is_public_address(const unsigned char* a, size_t bytes) {
  if (bytes == 4) {
    for (const Prefix& p : kNotPublic4)
      if (matches(a, p)) return false;
    return true;
  }
  if (bytes != 16) return false;
  constexpr Prefix kMapped{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96}, kNat64{{0, 0x64, 0xff, 0x9b}, 96}, k6to4{{0x20, 0x02}, 16};
  if (matches(a, kMapped) || matches(a, kNat64)) return is_public_address(a + 12, 4);
  if (matches(a, k6to4)) return is_public_address(a + 2, 4);
  constexpr Prefix kGlobal{{0x20}, 3};  // 2000::/3 is all that is assigned for global use
  constexpr Prefix kNotPublic6[] = {{{0x20, 0x01, 0x0d, 0xb8}, 32}, {{0x20, 0x01, 0, 0}, 23}, {{0x3f, 0xff}, 20}};
  if (!matches(a, kGlobal)) return false;
  return std::none_of(std::begin(kNotPublic6), std::end(kNotPublic6), [&](const Prefix& p) { return matches(a, p); });
}

bool is_remote(const MediaSource& s) { return s.url.starts_with("http://") || s.url.starts_with("https://"); }

bool host_allowed(std::string_view host, const std::vector<std::string>& hosts) {
  std::string lower(host);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  if (lower.ends_with('.')) lower.pop_back();
  return std::any_of(hosts.begin(), hosts.end(), [&](const std::string& h) {
    if (h.starts_with("*.")) return lower.size() > h.size() - 1 && lower.ends_with(std::string_view(h).substr(1));
    return lower == h;
  });
}

std::string read_media(const MediaSource& s, const FetchPolicy& policy) {
  const size_t limit = limit_of(s, policy.limits);
  if (s.url.starts_with("data:")) return from_data_url(s, limit);
  if (s.url.starts_with("file://")) return from_file(s, policy.limits, limit);
  if (!is_remote(s)) fail_field(s.param, "must be a data:, http:, https: or file: URL");
  if (policy.limits.hosts.empty()) fail_field(s.param, "remote media are off; the server's --allow-media-host turns them on for a host. A data: URL always works");
  return fetch_url(s.url, s.param, limit, policy);
}

bool base64_decode(std::string_view text, std::string& out) {
  static const auto kValues = [] {
    std::array<int8_t, 256> t;
    t.fill(-1);
    constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < kLetters.size(); ++i) t[static_cast<unsigned char>(kLetters[i])] = int8_t(i);
    t['-'] = 62, t['_'] = 63;  // the URL alphabet
    for (char c : {' ', '\t', '\r', '\n'}) t[static_cast<unsigned char>(c)] = -2;
    return t;
  }();
  out.clear();
  out.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int count = 0;
  size_t i = 0, letters = 0;
  for (; i < text.size() && text[i] != '='; ++i) {
    const int v = kValues[static_cast<unsigned char>(text[i])];
    if (v == -2) continue;
    if (v < 0) return false;
    ++letters;
    bits = bits << 6 | uint32_t(v);
    if ((count += 6) >= 8) out += char(bits >> (count -= 8));
  }
  size_t padding = 0;
  for (; i < text.size(); ++i) {
    if (text[i] == '=') ++padding;
    else if (kValues[static_cast<unsigned char>(text[i])] != -2) return false;
  }
  return letters % 4 != 1 && padding <= 2 && (padding == 0 || (letters + padding) % 4 == 0);
}

std::string base64_encode(std::string_view bytes) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t v = 0;
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k) v = v << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? kLetters[v >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

}  // namespace vl8
