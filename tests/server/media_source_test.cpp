// Where pictures may come from, and where not.
#include <gtest/gtest.h>
#include <arpa/inet.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "server/media_source.h"

namespace vl8 {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("vl8-media-" + std::to_string(getpid()));
  Folder() { fs::create_directories(path / "root/sub"); }
  ~Folder() { fs::remove_all(path); }
  void write(const std::string& name, const std::string& text) { std::ofstream(path / name) << text; }
};

std::string fetch(const std::string& url, const MediaLimits& limits) {
  MediaSource s;
  s.url = url;
  s.param = "field";
  return read_media(s, {limits, is_public_address});
}

std::string fault(const std::string& url, const MediaLimits& limits) {
  try {
    fetch(url, limits);
  } catch (const ApiError& e) {
    EXPECT_EQ(e.param, "field");
    EXPECT_EQ(e.status, 400);
    return e.what();
  }
  return "accepted";
}

TEST(Media, DataUrls) {
  MediaLimits limits;
  EXPECT_EQ(fetch("data:image/png;base64,QUJD", limits), "ABC");
  EXPECT_EQ(fetch("data:;base64,QUI=\n", limits), "AB");
  EXPECT_EQ(fetch("data:text/plain,a%20b", limits), "a b");
  for (const char* bad : {"data:image/png;base64", "data:;base64,Q", "data:;base64,QU!D", "data:;base64,QUJD=", "data:;base64,", "data:,%zz", "data:,%00"})
    EXPECT_NE(fault(bad, limits), "accepted") << bad;
  limits.max_image_bytes = 2;
  EXPECT_NE(fault("data:;base64,QUJD", limits).find("larger"), std::string::npos);
}

TEST(Media, Base64RoundTrip) {
  std::string bytes, out;
  for (int n = 0; n < 70; ++n) {
    ASSERT_TRUE(base64_decode(base64_encode(bytes), out));
    EXPECT_EQ(out, bytes);
    bytes += char(n * 37);
  }
}

TEST(Media, FilesOnlyBelowTheRoot) {
  Folder f;
  f.write("root/a.png", "inside");
  f.write("root/sub/b.png", "deeper");
  f.write("secret", "outside");
  fs::create_symlink(f.path / "secret", f.path / "root/link");
  fs::create_symlink(f.path, f.path / "root/up");
  fs::create_symlink("a.png", f.path / "root/fine");
  mkfifo((f.path / "root/pipe").c_str(), 0600);
  const std::string base = "file://" + (f.path / "root").string();
  MediaLimits off;
  EXPECT_NE(fault(base + "/a.png", off).find("--media-root"), std::string::npos);
  MediaLimits limits;
  limits.root = (f.path / "root").string();
  EXPECT_EQ(fetch(base + "/a.png", limits), "inside");
  EXPECT_EQ(fetch(base + "/sub/../a.png", limits), "inside");
  EXPECT_EQ(fetch(base + "/sub/b%2epng", limits), "deeper");
  EXPECT_EQ(fetch(base + "/fine", limits), "inside");  // a link that stays inside
  for (const char* bad : {"/../secret", "/sub/../../secret", "/%2e%2e/secret", "/link", "/up/secret", "/none.png", "/sub", "/pipe", "/"}) EXPECT_NE(fault(base + bad, limits), "accepted") << bad;
  for (const char* bad : {"file:///etc/passwd", "file://a.png", "file://host/a", "/etc/passwd", "ftp://x/y", "javascript:1"}) EXPECT_NE(fault(bad, limits), "accepted") << bad;
  EXPECT_EQ(fault(base + "/../secret", limits), fault(base + "/../none", limits));  // what lies outside is not told
}

bool open_to(const char* text) {
  unsigned char a[16];
  if (inet_pton(AF_INET, text, a) == 1) return is_public_address(a, 4);
  EXPECT_EQ(inet_pton(AF_INET6, text, a), 1) << text;
  return is_public_address(a, 16);
}

TEST(Media, OnlyPublicAddresses) {
  for (const char* yes : {"8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:8.8.8.8"}) EXPECT_TRUE(open_to(yes)) << yes;
  for (const char* no : {"127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
                         "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"})
    EXPECT_FALSE(open_to(no)) << no;
}

TEST(Media, RemoteOnlyFromAllowedHosts) {
  MediaLimits limits;
  EXPECT_NE(fault("http://example.com/a.png", limits).find("--allow-media-host"), std::string::npos);
  limits.hosts = {"localhost", "*.example.com"};
  EXPECT_NE(fault("http://other.org/a.png", limits).find("not allowed"), std::string::npos);
  EXPECT_NE(fault("http://localhost:1/a.png", limits).find("no public address"), std::string::npos);  // allowed by name, still private
  EXPECT_NE(fault("http://user:word@localhost/a", limits).find("password"), std::string::npos);
  for (const char* bad : {"http://", "http://localhost:x/", "http://localhost:99999999/", "http://loc alhost/"}) EXPECT_NE(fault(bad, limits), "accepted") << bad;
  EXPECT_TRUE(host_allowed("A.Example.COM.", limits.hosts));
  EXPECT_FALSE(host_allowed("example.com", limits.hosts));
  EXPECT_FALSE(host_allowed("evilexample.com", limits.hosts));
}

}  // namespace
}  // namespace vl8
