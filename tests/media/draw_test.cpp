// Drawing: what must be painted is, what must not is not; PNG files survive the way out and back.
#include "media/draw.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "core/error.h"
#include "media/font.h"
#include "support.h"

namespace vl8 {
namespace {

namespace fs = std::filesystem;

Image flat(int width, int height, uint8_t value) {
  Image image(width, height);
  std::memset(image.rgb.get(), value, image.bytes());
  return image;
}
bool is(const Image& image, int x, int y, uint8_t value) {
  const uint8_t* p = image.row(y) + 3 * x;
  return p[0] == value && p[1] == value && p[2] == value;
}

TEST(Draw, BoxIsAFrame) {
  Image image = flat(200, 150, 255);
  draw_boxes(image, {{false, 50, 60, 150, 120, ""}}, {.line = 3, .text = 10});
  EXPECT_FALSE(is(image, 100, 60, 255));  // the four sides
  EXPECT_FALSE(is(image, 100, 119, 255));
  EXPECT_FALSE(is(image, 50, 90, 255));
  EXPECT_FALSE(is(image, 149, 90, 255));
  EXPECT_TRUE(is(image, 100, 90, 255));  // inside
  EXPECT_TRUE(is(image, 10, 10, 255));   // outside
  EXPECT_TRUE(is(image, 100, 50, 255));  // no label, no tab
  const uint8_t *top = image.row(60) + 300, *left = image.row(90) + 150;
  EXPECT_TRUE(std::equal(top, top + 3, left));  // one colour all around
}

TEST(Draw, EverySidePixelIsPaintedOnce) {
  // A line on a picture of its own colour leaves it as it is, and parts of the frame that overlapped would
  // darken the shadow twice: all pixels along a side must be alike.
  for (double x1 : {20.0, 20.3, 20.5, 20.77})
    for (double w : {30.0, 41.4, 133.0}) {
      Image image = flat(220, 200, 255);
      draw_boxes(image, {{false, x1, x1, x1 + w, x1 + w, ""}}, {.line = 4, .text = 10});
      const int x = int(x1), from = int(x1 + 13), to = int(x1 + w - 13);
      for (int y = from; y < to; ++y)
        for (int k = -4; k <= 4; ++k)
          ASSERT_TRUE(std::equal(image.row(y) + 3 * (x + k), image.row(y) + 3 * (x + k) + 3,
                                 image.row(from) + 3 * (x + k)))
              << x1 << " " << w << " row " << y;
    }
}

TEST(Draw, LabelsAndNumbers) {
  Image plain = flat(300, 200, 128), ascii = plain.clone(), chinese = plain.clone(), number = plain.clone();
  draw_boxes(plain, {{false, 50, 80, 200, 150, ""}});
  draw_boxes(ascii, {{false, 50, 80, 200, 150, "screw"}});
  draw_boxes(chinese, {{false, 50, 80, 200, 150, "螺丝"}});
  draw_boxes(number, {{false, 50, 80, 200, 150, "1"}});
  EXPECT_NE(std::memcmp(plain.rgb.get(), ascii.rgb.get(), plain.bytes()), 0);
  EXPECT_EQ(std::memcmp(chinese.rgb.get(), number.rgb.get(), plain.bytes()), 0);
}

TEST(Draw, AnythingStaysInsideThePicture) {
  std::mt19937 rng(std::random_device{}());
  std::uniform_real_distribution<double> where(-400, 500);
  for (int round = 0; round < 60; ++round) {
    Image image = flat(1 + int(rng() % 90), 1 + int(rng() % 70), 50);
    std::vector<Mark> marks;
    for (int i = 0; i < 4; ++i) {
      double x = where(rng), y = where(rng);
      marks.push_back({i == 3, x, y, i == 3 ? x : x + std::abs(where(rng)),
                       i == 3 ? y : y + std::abs(where(rng)), i ? std::string(rng() % 40, 'W') : "~|_gjy"});
    }
    draw_boxes(image, marks);
  }
}

TEST(Draw, EveryGlyphIsInkInsideItsCell) {
  for (char c = '!'; c <= '~'; ++c) {
    const font::Glyph& g = font::glyph(c);
    ASSERT_FALSE(g.strokes.empty()) << c;
    for (const auto& stroke : g.strokes)
      for (font::Point p : stroke) {
        EXPECT_GE(p.x, -1) << c;
        EXPECT_LE(p.x, g.advance - 3) << c;
        EXPECT_GE(p.y, 1) << c;
        EXPECT_LE(p.y, 29) << c;
      }
    for (char d = '!'; d < c; ++d) {  // no two look alike
      Image a = flat(40, 40, 255), b = a.clone();
      draw_text(a, 5, 30, 20, std::string(1, c), {});
      draw_text(b, 5, 30, 20, std::string(1, d), {});
      EXPECT_NE(std::memcmp(a.rgb.get(), b.rgb.get(), a.bytes()), 0) << c << d;
    }
  }
  EXPECT_FALSE(font::has_glyph('\n'));
  EXPECT_FALSE(font::has_glyph('\xe9'));
  EXPECT_GT(text_width(20, "mm"), text_width(20, "ii"));
}

TEST(Draw, PngFileIsWhole) {
  std::mt19937 rng(2);
  fs::path folder = fs::temp_directory_path() / fmt::format("vl8_png_{}", getpid());
  fs::create_directories(folder);
  Image image = testing::random_image(rng, 61, 47);
  write_png(folder / "a.png", image);
  Image back = load_image(folder / "a.png");
  ASSERT_EQ(back.width, 61);
  EXPECT_EQ(std::memcmp(back.rgb.get(), image.rgb.get(), image.bytes()), 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);  // nothing is left beside it
  EXPECT_THROW(write_png(folder / "none" / "a.png", image), Error);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace vl8
