// `vl8 dump pixels` as a function: the file and the line for golden pictures and clips.
#include "dump_pixels.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/error.h"
#include "io/safetensors.h"
#include "media/draw.h"
#include "support.h"
#include "support/paths.h"

namespace vl8 {
namespace {

namespace fs = std::filesystem;

class DumpPixels : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("vl8_dump_{}", getpid());
    fs::create_directories(folder_ / "model");
    arguments_.model = folder_ / "model";  // without files: the published settings
    arguments_.out = folder_ / "out.safetensors";
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
  DumpPixelsArguments arguments_;
};

TEST_F(DumpPixels, GoldenPictures) {
  auto golden = testing::golden_dir();
  if (!golden) GTEST_SKIP() << "no golden data: set VL8_GOLDEN";
  auto tensors = testing::read_golden(*golden / "io/images.safetensors");
  arguments_.images = {*golden / "io/img_01_224x224.png", *golden / "io/img_00_53x37.png"};
  EXPECT_EQ(dump_pixels(arguments_), "");
  SafetensorsFile file(arguments_.out);
  EXPECT_EQ(file.read_i64("image_grid_thw"), (std::vector<int64_t>{1, 16, 16, 1, 14, 20}));
  std::vector<float> values = file.read_f32("pixel_values");
  ASSERT_EQ(values.size(), size_t(256 + 280) * 1536);
  const auto &first = tensors.at("img_01_224x224.png.pixel_values"),
             &second = tensors.at("img_00_53x37.png.pixel_values");
  EXPECT_EQ(std::memcmp(values.data(), first.data.data(), first.data.size()), 0);
  EXPECT_EQ(std::memcmp(values.data() + 256 * 1536, second.data.data(), second.data.size()), 0);
}

TEST_F(DumpPixels, GoldenClip) {
  auto golden = testing::golden_dir();
  if (!golden) GTEST_SKIP() << "no golden data: set VL8_GOLDEN";
  const Image base = load_image(*golden / "io/vid_2_base.png");
  fs::create_directories(folder_ / "clip");
  for (int k = 0; k < 7; ++k) {
    Image frame(base.width, base.height);
    for (int y = 0; y < frame.height; ++y)
      for (int x = 0; x < frame.width; ++x)
        std::memcpy(frame.row(y) + 3 * ((x + 3 * k) % frame.width), base.row(y) + 3 * x, 3);
    write_png(folder_ / "clip" / fmt::format("{}.png", k), frame);
  }
  arguments_.video = folder_ / "clip";
  arguments_.source_fps = 2;
  for (bool cap : {true, false}) {
    arguments_.cap = cap;
    EXPECT_EQ(dump_pixels(arguments_),
              R"({"frames_indices":[0,1,2,3,4,5,6,6],"timestamps":[0.25,1.25,2.25,3.0],)"
              R"("rendered":["<0.2 seconds>","<1.2 seconds>","<2.2 seconds>","<3.0 seconds>"]})");
    SafetensorsFile file(arguments_.out);
    EXPECT_EQ(file.read_i64("video_grid_thw"), (std::vector<int64_t>{4, 8, 4}));
    std::vector<float> values = file.read_f32("pixel_values_videos");
    auto tensors = testing::read_golden(*golden / "io/videos.safetensors");
    const auto& rows = tensors.at("vid_2.pixel_values_rows");  // every second one
    for (int64_t r = 0; r < rows.shape[0]; ++r)
      ASSERT_EQ(std::memcmp(&values[size_t(r) * 2 * 1536], rows.as<float>() + r * 1536, 1536 * 4), 0) << r;
  }
}

TEST_F(DumpPixels, Errors) {
  EXPECT_THROW(dump_pixels(arguments_), Error);
  arguments_.images = {folder_ / "none.png"};
  EXPECT_THROW(dump_pixels(arguments_), Error);
  EXPECT_FALSE(fs::exists(arguments_.out));
}

}  // namespace
}  // namespace vl8
