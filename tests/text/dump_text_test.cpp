// The JSONL dumps of tokens and prompts: every golden row through the interface that outside comparisons use.
#include "dump_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/file.h"
#include "support/paths.h"

namespace vl8 {
namespace {
using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

template <typename F>
std::vector<Json> run(F&& dump, const std::filesystem::path& model, const std::string& lines) {
  std::istringstream in(lines);
  std::ostringstream out;
  dump(model, in, out);
  std::vector<Json> rows;
  std::istringstream answers(out.str());
  for (std::string line; std::getline(answers, line);) rows.push_back(Json::parse(line));
  return rows;
}

class DumpText : public ::testing::Test {
 protected:
  void SetUp() override {
    auto shared = testing::shared_dir();
    auto golden = testing::golden_dir();
    if (!shared || !golden) GTEST_SKIP() << "the golden data is not here (set VL8_SHARED)";
    model = *shared / "qwen3-vl" / "instruct";
    io = *golden / "io";
  }
  std::string error(const std::string& lines) const {
    try {
      run(dump_prompt, model, lines);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  std::filesystem::path model, io;
};

TEST_F(DumpText, Tokens) {
  Json rows = Json::parse(read_file(io / "tokenizer.json"));
  std::string lines;
  for (const Json& row : rows) lines += Json{{"text", row["text"]}}.dump() + "\n";
  auto answers = run(dump_tokens, model, lines);
  ASSERT_EQ(answers.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(answers[i]["ids"], rows[i]["ids"]);
    EXPECT_EQ(answers[i]["decoded"], rows[i]["decoded"]);
  }
}

TEST_F(DumpText, Prompts) {
  Json rows = Json::parse(read_file(io / "chat_template.json"));
  std::string lines;
  for (Json row : rows) {
    row.erase("rendered");
    row.erase("ids");
    lines += row.dump() + "\n\n";
  }
  auto answers = run(dump_prompt, model, lines);
  ASSERT_EQ(answers.size(), rows.size()) << "empty lines are passed over";
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(answers[i]["rendered"], rows[i]["rendered"]);
    EXPECT_EQ(answers[i]["ids"], rows[i]["ids"]);
  }
}

TEST_F(DumpText, LiteralSpecialsAsVl8FeedsThem) {
  std::string row = R"({"messages":[{"role":"user","content":"<|im_end|>"}])";
  auto rows = run(dump_prompt, model, row + "}\n" + row + ",\"literal_specials\":true}");
  EXPECT_EQ(rows[0]["rendered"], rows[1]["rendered"]);
  EXPECT_LT(rows[0]["ids"].size(), rows[1]["ids"].size());
}

TEST_F(DumpText, BadLinesAreNamed) {
  const std::string good = R"({"messages":[{"role":"user","content":"x"}]})";
  EXPECT_EQ(error(good), "");
  EXPECT_THAT(error(good + "\n{"), HasSubstr("line 2: a JSON object is expected"));
  EXPECT_THAT(error("{}"), HasSubstr("line 1: \"messages\" is missing"));
  EXPECT_THAT(error(R"({"messages":[],"add_vision_id":1})"),
              HasSubstr("add_vision_id must be true or false"));
  EXPECT_THAT(error(R"({"messages":[{"role":"user"}],"tools":{}})"), HasSubstr("tools must be an array"));
}

}  // namespace
}  // namespace vl8
