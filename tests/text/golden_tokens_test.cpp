// The tokenizer against the reference: every row of the golden files, through the official tokenizer.json.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "support/paths.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace vl8 {
namespace {
using nlohmann::json;

struct Row {
  std::string text;
  std::vector<TokenId> ids;
  std::string decoded;
};

Row row_of(const json& j) {
  return {j.at("text"), j.at("ids"), j.value("decoded", std::string())};
}

std::vector<Row> golden_rows(const std::filesystem::path& golden) {
  std::vector<Row> rows;
  for (const json& j : json::parse(read_file(golden / "io" / "tokenizer.json"))) rows.push_back(row_of(j));
  std::ifstream lines(golden / "io" / "golden_tokens.jsonl");
  for (std::string line; std::getline(lines, line);) rows.push_back(row_of(json::parse(line)));
  return rows;
}

std::string stream(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string out;
  for (TokenId id : ids) out += decoder.push(id);
  return out + decoder.finish();
}

class GoldenTokens : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenTokens, EveryRow) {
  auto shared = testing::shared_dir();
  auto golden = testing::golden_dir();
  if (!shared || !golden) GTEST_SKIP() << "the golden data is not here (set VL8_SHARED)";
  auto tokenizer = Tokenizer::load(*shared / "qwen3-vl" / GetParam());
  EXPECT_EQ(tokenizer.id_limit(), 151669);
  EXPECT_EQ(tokenizer.find_added("<|image_pad|>"), 151655);
  EXPECT_TRUE(tokenizer.is_special(151655));
  EXPECT_FALSE(tokenizer.is_special(151667));
  EXPECT_TRUE(tokenizer.is_added(151667));
  auto rows = golden_rows(*golden);
  EXPECT_EQ(rows.size(), 685u);
  for (const Row& row : rows) {
    EXPECT_EQ(tokenizer.encode(row.text), row.ids) << row.text;
    EXPECT_EQ(stream(tokenizer, row.ids, false), tokenizer.decode(row.ids)) << row.text;
    EXPECT_EQ(stream(tokenizer, row.ids, true), tokenizer.decode(row.ids, true)) << row.text;
    if (row.decoded.empty()) continue;
    EXPECT_EQ(tokenizer.decode(row.ids), row.decoded) << row.text;
  }
}

TEST_P(GoldenTokens, WorkedExamples) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "the official tokenizer is not here (set VL8_SHARED)";
  auto tokenizer = Tokenizer::load(*shared / "qwen3-vl" / GetParam() / "tokenizer.json");
  using Ids = std::vector<TokenId>;
  EXPECT_EQ(tokenizer.encode("Hello, world!"), (Ids{9707, 11, 1879, 0}));
  EXPECT_EQ(tokenizer.encode("<12.0 seconds>"), (Ids{27, 16, 17, 13, 15, 6486, 29}));
  EXPECT_EQ(tokenizer.encode("cafe\xCC\x81"), (Ids{924, 58858}));
  EXPECT_EQ(tokenizer.encode("caf\xC3\xA9"), (Ids{924, 58858}));
  EXPECT_EQ(tokenizer.encode("a\r\n\r\nb"), (Ids{64, 871, 65}));
  EXPECT_EQ(tokenizer.encode("</think>\n\n"), (Ids{151668, 271}));
  EXPECT_EQ(tokenizer.decode(Ids{9707, 151669, -1, 200000, 11}), "Hello,")
      << "ids without a token give nothing";
}

INSTANTIATE_TEST_SUITE_P(Qwen3VL, GoldenTokens, ::testing::Values("instruct", "thinking"));

}  // namespace
}  // namespace vl8
