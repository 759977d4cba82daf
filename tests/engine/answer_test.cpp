// Stop strings and reasoning, with every way of cutting the text into tokens: what is streamed must add up to the same.
#include "engine/answer.h"

#include <gtest/gtest.h>

#include "byte_tokenizer.h"

namespace vl8 {
namespace {

using testing::byte_tokenizer;

struct Result {
  std::string streamed_reasoning, streamed_text, reasoning, text;
  bool stopped;
};

Result feed(const Tokenizer& t, const std::string& bytes, bool thinking, std::vector<std::string> stops) {
  AnswerText a(t, thinking, std::move(stops));
  Result r{};
  auto add = [&](const AnswerDelta& d) { r.streamed_reasoning += d.reasoning, r.streamed_text += d.text; };
  for (unsigned char c : bytes) {
    add(a.push(c));
    if (a.stopped()) break;
  }
  if (!a.stopped()) add(a.finish());
  r.reasoning = a.reasoning(), r.text = a.text(), r.stopped = a.stopped();
  EXPECT_EQ(r.streamed_reasoning, r.reasoning);
  EXPECT_EQ(r.streamed_text, r.text);
  return r;
}

TEST(AnswerText, Plain) {
  Tokenizer t = byte_tokenizer();
  EXPECT_EQ(feed(t, "\nabc\n", false, {}).text, "\nabc\n");
  EXPECT_EQ(feed(t, "\xe4\xbd\xa0\xe5\xa5", false, {}).text, "\xe4\xbd\xa0\xef\xbf\xbd");
}

TEST(AnswerText, StopStrings) {
  Tokenizer t = byte_tokenizer();
  Result r = feed(t, "one\n\ntwo", false, {"\n\n", "never"});
  EXPECT_EQ(r.text, "one");
  EXPECT_TRUE(r.stopped);
  EXPECT_EQ(feed(t, "one\ntwo", false, {"\n\n"}).text, "one\ntwo");
  EXPECT_EQ(feed(t, "aabaab", false, {"aaab", ""}).text, "aabaab");
  EXPECT_EQ(feed(t, "ends in the beginning of a st", false, {"stop"}).text, "ends in the beginning of a st");
}

TEST(AnswerText, Reasoning) {
  Tokenizer t = byte_tokenizer();
  Result r = feed(t, "I look.\n\nThen.\n</think>\n\nScrew 2", true, {});
  EXPECT_EQ(r.reasoning, "I look.\n\nThen.");
  EXPECT_EQ(r.text, "Screw 2");
  r = feed(t, "<think>\nhm\n</think>\n\nyes", false, {});
  EXPECT_EQ(r.reasoning, "hm");
  EXPECT_EQ(r.text, "yes");
  r = feed(t, "\n</think>\n\nyes", true, {});
  EXPECT_EQ(r.reasoning, "");
  EXPECT_EQ(r.text, "yes");
  r = feed(t, "cut off </thi", true, {"off"});  // stops count in the answer only
  EXPECT_EQ(r.reasoning, "cut off </thi");
  EXPECT_EQ(feed(t, "<thin", false, {}).text, "<thin");
}

}  // namespace
}  // namespace vl8
