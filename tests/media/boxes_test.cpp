// Marks out of answers as models write them, and the way between the square of 1000 and pixels.
#include "media/boxes.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>

namespace vl8 {
namespace {

TEST(Boxes, FencedList) {
  auto marks = parse_marks(
      "Here they are:\n```json\n[\n\t{\"bbox_2d\": [10, 20, 300, 400], \"label\": \"screw\"},\n"
      "\t{\"bbox_2d\": [5, 6, 7, 8], \"label\": \"hole\"}\n]\n```\nTwo in all.");
  ASSERT_EQ(marks.size(), 2u);
  EXPECT_EQ(marks[0].label, "screw");
  EXPECT_EQ(marks[0].x1, 10);
  EXPECT_EQ(marks[0].y2, 400);
  EXPECT_FALSE(marks[0].is_point);
  EXPECT_EQ(marks[1].x2, 7);
}

TEST(Boxes, OtherShapes) {
  EXPECT_EQ(parse_marks(R"({"bbox_2d": [1.5, 2, 3, 4], "label": "a"})").size(), 1u);
  EXPECT_EQ(
      parse_marks(R"({"objects": [{"bbox": [1,2,3,4]}, {"box_2d": [5,6,7,8], "name": "x"}], "count": 2})")
          .size(),
      2u);
  auto point = parse_marks(R"(I see [one] at {"point_2d": [120, 340], "label": "nut {M3}"}.)");
  ASSERT_EQ(point.size(), 1u);
  EXPECT_TRUE(point[0].is_point);
  EXPECT_EQ(point[0].x2, 120);
  EXPECT_EQ(point[0].label, "nut {M3}");
  auto swapped = parse_marks(R"([{"bbox_2d": [300, 400, 10, 20]}])");
  ASSERT_EQ(swapped.size(), 1u);
  EXPECT_EQ(swapped[0].x1, 10);
  EXPECT_EQ(swapped[0].y2, 400);
  auto chinese = parse_marks("```json\n[{\"bbox_2d\": [1,2,3,4], \"label\": \"螺丝\"}]\n```");
  ASSERT_EQ(chinese.size(), 1u);
  EXPECT_EQ(chinese[0].label, "螺丝");
}

TEST(Boxes, CutOffListKeepsWholeObjects) {
  auto marks = parse_marks(
      "```json\n[{\"bbox_2d\": [1,2,3,4], \"label\": \"a\"}, {\"bbox_2d\": [5,6,7,8], \"label\": \"b\"}, "
      "{\"bbox_2d\": [9,");
  ASSERT_EQ(marks.size(), 2u);
  EXPECT_EQ(marks[1].label, "b");
}

TEST(Boxes, NoMarks) {
  for (const char* text : {"", "no boxes here", "[1, 2, 3, 4]", "{\"bbox_2d\": [1,2,3]}",
                           "{\"bbox_2d\": [1,2,3,\"4\"]}", "{\"bbox_2d\": null}", "{{{{", "]]]]",
                           "\"unclosed", "{\"label\": \"x\"}", "{\"bbox_2d\": [1e999,2,3,4]}"})
    EXPECT_TRUE(parse_marks(text).empty()) << text;
}

TEST(Boxes, HostileAnswersEnd) {
  std::string deep(300000, '[');
  EXPECT_TRUE(parse_marks(deep).empty());
  EXPECT_TRUE(parse_marks(deep + std::string(300000, ']')).empty());
  EXPECT_TRUE(parse_marks(deep + "x" + std::string(300000, ']')).empty());  // none of them parses
  std::mt19937 rng(std::random_device{}());
  for (int i = 0; i < 300; ++i) {
    std::string s;
    for (int n = int(rng() % 200); n > 0; --n) s += "{}[]\",:\\\nbbox_2d 0123"[rng() % 21];
    parse_marks(s);
  }
}

TEST(Boxes, SquareToPixelsAndBack) {
  const Size picture{1080, 1920};
  Mark m{false, 100, 200, 500, 1000, "x"};
  Mark p = square_to_pixels(m, picture);
  EXPECT_DOUBLE_EQ(p.x1, 192);
  EXPECT_DOUBLE_EQ(p.y1, 216);
  EXPECT_DOUBLE_EQ(p.x2, 960);
  EXPECT_DOUBLE_EQ(p.y2, 1080);
  EXPECT_EQ(p.label, "x");
  Mark back = pixels_to_square(p, picture);
  EXPECT_DOUBLE_EQ(back.x1, 100);
  EXPECT_DOUBLE_EQ(back.y2, 1000);
  Mark outside = square_to_pixels({false, -50, 0, 1200, 3000, ""}, picture);
  EXPECT_EQ(outside.x1, 0);
  EXPECT_EQ(outside.x2, 1920);
  EXPECT_EQ(outside.y2, 1080);
  Mark r = resized_to_pixels({false, 32, 64, 640, 480, ""}, {480, 640}, {960, 1280});
  EXPECT_DOUBLE_EQ(r.x1, 64);
  EXPECT_DOUBLE_EQ(r.y2, 960);
}

TEST(Boxes, WrittenAsTheFamilyWrites) {
  EXPECT_EQ(marks_json({{false, 1.4, 2.5, 3.6, 4, "a\"b"}, {true, 7, 8, 7, 8, ""}}),
            R"([{"bbox_2d":[1,3,4,4],"label":"a\"b"},{"point_2d":[7,8]}])");
  auto again = parse_marks(marks_json({{false, 1, 2, 3, 4, "螺丝"}}));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].label, "螺丝");
}

}  // namespace
}  // namespace vl8
