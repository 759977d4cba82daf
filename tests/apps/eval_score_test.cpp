#include "eval_score.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"

namespace vl8 {
namespace {

double score(const char* kind, const std::string& want, const std::string& got, double tolerance = 0) {
  EvalItem item;
  item.answer = want, item.score = kind, item.tolerance = tolerance;
  EvalTally t;
  t.add(score_kind(kind).judge(item, got));
  return score_kind(kind).value(t);
}

TEST(EvalScore, TextAndNumbers) {
  EXPECT_EQ(score("exact", "top left", " top left\n"), 1);
  EXPECT_EQ(score("exact", "top left", "Top left"), 0);
  EXPECT_EQ(score("choice", "在", "在"), 1);
  EXPECT_EQ(score("count", "3", "3 screws"), 1);
  EXPECT_EQ(score("count", "3", "three"), 0);
  EXPECT_EQ(score("number", "95", "value: 98.5", 4), 1);
  EXPECT_EQ(score("number", "95", "value: 99.5", 4), 0);
  EXPECT_EQ(score("second", "2 s", "-2 s", 1), 0);
}

TEST(EvalScore, Boxes) {
  const std::string want = R"([{"bbox_2d":[100,100,200,200],"label":"short"},{"bbox_2d":[500,500,600,600],"label":"open"}])";
  EXPECT_EQ(score("box_f1", want, want), 1);
  EXPECT_EQ(score("box_f1", want, "[]"), 0);
  EXPECT_EQ(score("box_f1", "[]", "[]"), 1);
  // right label and place, right place and wrong label: one right, one wrong, one missed
  EXPECT_DOUBLE_EQ(score("box_f1", want, R"([{"bbox_2d":[110,100,210,200],"label":"short"},{"bbox_2d":[500,500,600,600],"label":"spur"}])"), 0.5);
  // one prediction cannot match twice
  EXPECT_DOUBLE_EQ(score("box_f1", R"([{"bbox_2d":[0,0,10,10],"label":"a"},{"bbox_2d":[0,0,10,10],"label":"a"}])", R"([{"bbox_2d":[0,0,10,10],"label":"a"}])"),
                   2.0 / 3);
}

TEST(EvalScore, CharacterErrorsCountCodePoints) {
  EXPECT_EQ(edit_distance(U"kitten", U"sitting"), 3);
  EXPECT_DOUBLE_EQ(score("cer", "合格证", "合各证"), 1.0 / 3);
  EXPECT_EQ(code_points("a\xe4\xbd\xa0\xff").size(), 3u);
}

TEST(EvalScore, ItemsAreChecked) {
  const std::string path = ::testing::TempDir() + "/items.jsonl";
  auto load = [&](const char* line) {
    std::ofstream(path) << line << "\n\n";
    return load_eval_items(path);
  };
  EXPECT_EQ(load(R"({"id":"a","task":"t","question":"q","answer":"1","score":"count","images":["x.png"]})").at(0).images.size(), 1u);
  EXPECT_THROW(load("{"), Error);
  EXPECT_THROW(load(R"({"id":"a","task":"t","question":"q","answer":"1","score":"beauty"})"), Error);
  EXPECT_THROW(load(R"({"id":"a","task":"t","question":"q","answer":1,"score":"count"})"), Error);
  EXPECT_THROW(load(R"({"id":"a","task":"t","question":"q","answer":"1","score":"count","images":"x"})"), Error);
}

}  // namespace
}  // namespace vl8
