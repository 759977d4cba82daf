#include "web/web_asset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "core/file.h"

namespace vl8 {
namespace {

TEST(WebAsset, ServesThePageAsItLiesInTheSource) {
  for (const char* name : {"index.html", "style.css", "text.js", "answer.js", "app.js"}) {
    auto asset = web_asset(std::string("/") + name);
    ASSERT_TRUE(asset) << name;
    EXPECT_EQ(asset->bytes, read_file(std::string(VL8_SOURCE_DIR) + "/web/" + name, 1 << 20));
    EXPECT_THAT(std::string(asset->content_type), testing::HasSubstr("charset=utf-8"));
  }
  EXPECT_EQ(web_asset("/")->bytes, web_asset("/index.html")->bytes);
  EXPECT_NE(web_asset("/app.js")->etag, web_asset("/text.js")->etag);
  for (const char* path : {"", "index.html", "//", "/../web/app.js", "/app.js/", "/nothing"}) EXPECT_FALSE(web_asset(path)) << path;
}

// The policy forbids inline code, and nothing may be loaded from elsewhere.
TEST(WebAsset, KeepsToItsOwnSecurityPolicy) {
  const std::string page(web_asset("/")->bytes);
  EXPECT_FALSE(std::regex_search(page, std::regex("<script(?![^>]*\\ssrc=)")));
  EXPECT_FALSE(std::regex_search(page, std::regex("<style|\\sstyle=|\\son[a-z]+=")));
  for (const char* name : {"/", "/style.css", "/text.js", "/answer.js", "/app.js"}) {
    std::string text(web_asset(name)->bytes);
    text = std::regex_replace(text, std::regex("http://www.w3.org/2000/svg"), "");
    EXPECT_FALSE(std::regex_search(text, std::regex("(src|href)=\"?https?:|\\burl\\(|@import|innerHTML|eval\\("))) << name;
  }
  EXPECT_THAT(std::string(web_content_security_policy()), testing::HasSubstr("default-src 'none'"));
}

// Every word that the page asks for exists in both languages.
TEST(WebAsset, BothLanguagesAreComplete) {
  const std::string words(web_asset("/text.js")->bytes);
  const size_t chinese = words.find("\n  zh: {");
  ASSERT_NE(chinese, std::string::npos);
  std::string uses;
  for (const char* name : {"/", "/answer.js", "/app.js"}) uses += web_asset(name)->bytes;
  const std::regex use("data-(?:text|title|label|placeholder)=\"([a-z_]+)\"|say\\(\"([a-z_]+)\"\\)|button\\(\"([a-z_]+)\"");
  int seen = 0;
  for (std::sregex_iterator it(uses.begin(), uses.end(), use), end; it != end; ++it, ++seen) {
    const std::string key = (*it)[1].str() + (*it)[2].str() + (*it)[3].str();
    const std::regex entry("[ {]" + key + ": \"");
    EXPECT_TRUE(std::regex_search(words.begin(), words.begin() + int64_t(chinese), entry)) << "English: " << key;
    EXPECT_TRUE(std::regex_search(words.begin() + int64_t(chinese), words.end(), entry)) << "Chinese: " << key;
  }
  EXPECT_GT(seen, 40);
}

}  // namespace
}  // namespace vl8
