// Chat templates and prompts against the reference: every golden rendering and its ids.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "support/paths.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace vl8 {
namespace {
using Json = nlohmann::ordered_json;

struct Material {
  std::filesystem::path models, golden;
};
std::optional<Material> material() {
  auto shared = testing::shared_dir();
  auto golden = testing::golden_dir();
  if (!shared || !golden) return std::nullopt;
  return Material{*shared / "qwen3-vl", *golden / "io"};
}

Json member(const Json& j, const char* key) {
  return j.contains(key) ? j[key] : Json();
}

void expect_row(const ChatTemplate& chat, const Tokenizer& tokenizer, const Json& row, const Json& options,
                bool generation_prompt) {
  ChatOptions o;
  o.add_generation_prompt = options.value("add_generation_prompt", generation_prompt);
  o.add_vision_id = options.value("add_vision_id", false);
  MarkedText prompt = chat.render(row["messages"], member(options, "tools"), o);
  EXPECT_EQ(prompt.str(), row["rendered"].get<std::string>()) << row["messages"];
  EXPECT_EQ(tokenizer.encode(prompt.view()), row["ids"].get<std::vector<TokenId>>()) << row["messages"];
}

TEST(GoldenTemplate, InstructCases) {
  auto m = material();
  if (!m) GTEST_SKIP() << "the golden data is not here (set VL8_SHARED)";
  auto tokenizer = Tokenizer::load(m->models / "instruct");
  auto chat = ChatTemplate::load(m->models / "instruct");
  Json rows = Json::parse(read_file(m->golden / "chat_template.json"));
  ASSERT_EQ(rows.size(), 9u);
  for (const Json& row : rows) expect_row(chat, tokenizer, row, row, false);
}

TEST(GoldenTemplate, BothModels) {
  auto m = material();
  if (!m) GTEST_SKIP() << "the golden data is not here (set VL8_SHARED)";
  std::ifstream lines(m->golden / "golden_renders.jsonl");
  std::vector<Json> rows;
  for (std::string line; std::getline(lines, line);) rows.push_back(Json::parse(line));
  ASSERT_EQ(rows.size(), 38u);
  for (const char* model : {"instruct", "thinking"}) {
    auto tokenizer = Tokenizer::load(m->models / model);
    auto chat = ChatTemplate::load(m->models / model);
    for (const Json& row : rows)
      if (row["template"] == model) expect_row(chat, tokenizer, row, row["kwargs"], true);
  }
}

// The three places of a template hold the same one in the official folders; each must be readable by itself.
TEST(GoldenTemplate, FromEachPlace) {
  auto m = material();
  if (!m) GTEST_SKIP() << "the official files are not here (set VL8_SHARED)";
  namespace fs = std::filesystem;
  fs::path dir = fs::path(::testing::TempDir()) / "vl8_template_places";
  Json messages = Json::parse(R"([{"role":"user","content":"Hello"}])");
  for (const char* file : {"chat_template.jinja", "chat_template.json", "tokenizer_config.json"}) {
    fs::remove_all(dir);
    fs::create_directories(dir);
    fs::copy(m->models / "thinking" / file, dir / file);
    auto chat = ChatTemplate::load(dir);
    EXPECT_EQ(chat.origin(), (dir / file).string());
    EXPECT_EQ(chat.render(messages, nullptr).str(),
              "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<think>\n");
  }
  fs::remove_all(dir);
}

}  // namespace
}  // namespace vl8
