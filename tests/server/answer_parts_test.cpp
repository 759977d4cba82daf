// Calls and boxes inside answers, however the stream is cut.
#include <gtest/gtest.h>

#include <random>

#include "server/box_rewriter.h"
#include "server/tool_calls.h"

namespace vl8 {
namespace {

// All pieces, joined: text as is, calls as [name|arguments].
std::string parsed(const std::vector<std::string>& parts, int max_calls = 100) {
  ToolCallParser parser(max_calls);
  std::vector<AnswerPiece> pieces;
  for (const std::string& p : parts) parser.push(p, pieces);
  parser.finish(pieces);
  std::string out;
  bool open = false;
  for (const AnswerPiece& p : pieces) {
    if (open && p.kind != AnswerPiece::Kind::call_arguments) out += "]", open = false;
    if (p.kind == AnswerPiece::Kind::call_begin) out += "[" + p.text + "|", open = true;
    else out += p.text;
  }
  return out + (open ? "]" : "");
}

std::vector<std::string> cut(const std::string& text, std::mt19937& random) {
  std::vector<std::string> parts;
  for (size_t pos = 0; pos < text.size();) {
    const size_t n = 1 + random() % 7;
    parts.push_back(text.substr(pos, n));
    pos += n;
  }
  return parts;
}

TEST(ToolCalls, EveryCutGivesTheSame) {
  const std::pair<std::string, std::string> cases[] = {
      {"plain text", "plain text"},
      {"a < b <tool> <tool_cal", "a < b <tool> <tool_cal"},
      {"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, {\"b\": \"}]\\\"\"}]}}\n</tool_call>", "[f|{\"a\": [1, {\"b\": \"}]\\\"\"}]}]"},
      {"Let me look.\n\n<tool_call>\n{\"name\":\"f\",\"arguments\":{}}\n</tool_call>\n<tool_call>\n{\"name\":\"g\",\"arguments\":{\"x\":2}}\n</tool_call>", "Let me look.[f|{}][g|{\"x\":2}]"},
      {"<tool_call>{\"arguments\": {\"a\": 1}, \"name\": \"late\"}</tool_call> then text", "[late|{\"a\":1}] then text"},
      {"<tool_call>{\"name\": \"s\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>", "[s|{\"a\": 1}]"},
      {"<tool_call>not a call</tool_call>", "<tool_call>not a call</tool_call>"},
      {"<tool_call>{\"name\": \"f\", \"arguments\": {\"cut\": \"of", "[f|{\"cut\": \"of]"},
      {"<tool_call>{\"name\": \"f", "<tool_call>{\"name\": \"f"},
      {"   ", "   "},
  };
  std::mt19937 random(7);
  for (const auto& [text, wanted] : cases) {
    EXPECT_EQ(parsed({text}), wanted);
    for (int i = 0; i < 200; ++i) EXPECT_EQ(parsed(cut(text, random)), wanted) << text;
  }
}

TEST(ToolCalls, ArgumentsStreamBeforeTheCallIsComplete) {
  ToolCallParser parser(9);
  std::vector<AnswerPiece> pieces;
  parser.push("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"city\": \"Ber", pieces);
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].text, "f");
  EXPECT_EQ(pieces[1].text, "{\"city\": \"Ber");
}

TEST(ToolCalls, FurtherCallsAreDroppedWhereOneIsAllowed) {
  const std::string call = "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>";
  EXPECT_EQ(parsed({call + call}, 1), "[f|{}]");
}

std::string rewritten(const std::vector<std::string>& parts, Size size) {
  BoxRewriter r(size);
  std::string out;
  for (const std::string& p : parts) out += r.push(p);
  return out + r.finish();
}

TEST(Boxes, BecomePixelsHoweverTheStreamIsCut) {
  const std::string text = R"(Here: [{"bbox_2d": [0, 500, 1000, 1000], "label": "a \"bbox\""}, {"point_2d":[250,250]}, {"bbox_2d": [1, 2, 3]}, "bbox_2d", {"box": ["x"]}] end "bb)";
  const std::string wanted = R"(Here: [{"bbox_2d": [0, 240, 640, 480], "label": "a \"bbox\""}, {"point_2d":[160, 120]}, {"bbox_2d": [1, 2, 3]}, "bbox_2d", {"box": ["x"]}] end "bb)";
  EXPECT_EQ(rewritten({text}, {480, 640}), wanted);
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) EXPECT_EQ(rewritten(cut(text, random), {480, 640}), wanted);
}

TEST(Boxes, TextIsNotHeldBackForLong) {
  BoxRewriter r({480, 640});
  EXPECT_EQ(r.push("no marks here"), "no marks here");
  EXPECT_EQ(r.push(" \"label\""), " \"label") << "a quote may begin a mark";
  EXPECT_EQ(r.push(" \"bb"), "\" ");
  EXPECT_EQ(r.push("q"), "\"bbq");
}

}  // namespace
}  // namespace vl8
