// Clips: order of the files, which frames, times and stamps, patches of the golden clips.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "media/draw.h"
#include "media/processor.h"
#include "support.h"
#include "support/paths.h"

namespace vl8 {
namespace {

namespace fs = std::filesystem;

TEST(Clip, NaturalOrder) {
  std::vector<std::string> names = {"f10.png",
                                    "f2.png",
                                    "f1.png",
                                    "F3.png",
                                    "f02.png",
                                    "a.png",
                                    "f2b.png",
                                    "f2.jpg",
                                    "f99999999999999999999999.png",
                                    "f100000000000000000000000.png"};
  std::sort(names.begin(), names.end(), natural_less);
  EXPECT_EQ(names, (std::vector<std::string>{"a.png", "f1.png", "f2.jpg", "f02.png", "f2.png", "f2b.png",
                                             "F3.png", "f10.png", "f99999999999999999999999.png",
                                             "f100000000000000000000000.png"}));
  for (auto& a : names)
    for (auto& b : names) EXPECT_FALSE(natural_less(a, b) && natural_less(b, a)) << a << b;
}

TEST(Clip, SampledFramesOfTheSpec) {
  auto take = [](int64_t n, double fps, FrameSampling s = {}) { return sample_frames(n, fps, s); };
  using List = std::vector<int64_t>;
  EXPECT_EQ(take(24, 12), (List{0, 8, 15, 23}));
  EXPECT_EQ(take(50, 25), (List{0, 16, 33, 49}));
  EXPECT_EQ(take(7, 2), (List{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(take(3, 30), (List{0, 1, 2}));
  EXPECT_EQ(take(300, 30, {.fps = 1}), (List{0, 33, 66, 100, 133, 166, 199, 233, 266, 299}));
  EXPECT_EQ(take(1, 30), (List{0}));
  EXPECT_EQ(take(100000, 30).size(), 768u);
  EXPECT_EQ(take(20, 10, {.fps = 1, .num_frames = 5}), (List{0, 5, 10, 14, 19}));  // num_frames wins
  EXPECT_EQ(take(2, 10, {.num_frames = 4}), (List{0, 0, 1, 1}));
  EXPECT_THROW(take(10, 0), Error);
  EXPECT_THROW(take(10, 10, {.fps = -1}), Error);
  EXPECT_THROW(take(10, 10, {.num_frames = 0}), Error);
}

TEST(Clip, StampsRoundTheExactBinaryValue) {
  for (auto [seconds, text] : {std::pair{0.25, "<0.2 seconds>"}, std::pair{1.25, "<1.2 seconds>"},
                               std::pair{0.75, "<0.8 seconds>"}, std::pair{0.55, "<0.6 seconds>"},
                               std::pair{0.0, "<0.0 seconds>"}, std::pair{12345.65, "<12345.6 seconds>"}})
    EXPECT_EQ(stamp_text(seconds), text);
  std::mt19937 rng(std::random_device{}());
  for (int i = 0; i < 20000; ++i) {
    double t = double(rng() % 100000) / (1 + double(rng() % 60));
    char expected[64];
    std::snprintf(expected, sizeof expected, "<%.1f seconds>", t);
    ASSERT_EQ(stamp_text(t), expected);
  }
}

// The golden clips: frame k is the base picture rolled right by 3k pixels.
class RolledFrames : public FrameSource {
 public:
  RolledFrames(Image base, int64_t count, double fps) : base_(std::move(base)), count_(count), fps_(fps) {}
  std::string name() const override { return "rolled"; }
  int64_t count() const override { return count_; }
  std::optional<double> fps() const override { return fps_; }
  Image frame(int64_t index) override {
    Image out(base_.width, base_.height);
    for (int y = 0; y < out.height; ++y)
      for (int x = 0; x < out.width; ++x)
        std::memcpy(out.row(y) + 3 * ((x + 3 * index) % out.width), base_.row(y) + 3 * x, 3);
    return out;
  }

 private:
  Image base_;
  int64_t count_;
  double fps_;
};

TEST(Clip, GoldenVideos) {
  auto golden = testing::golden_dir();
  if (!golden) GTEST_SKIP() << "no golden data: set VL8_GOLDEN";
  auto cases = nlohmann::json::parse(testing::slurp(*golden / "io/videos.json"));
  auto tensors = testing::read_golden(*golden / "io/videos.safetensors");
  ASSERT_GE(cases.size(), 7u);
  for (size_t i = 0; i < cases.size(); ++i) {
    auto& c = cases[i];
    for (const char* mode : {"capped", "uncapped"}) {
      RolledFrames source(load_image(*golden / "io" / std::string(c["base"])), c["frames"], c["fps"]);
      VideoOverrides o;
      o.cap_pixels_per_frame = std::string(mode) == "capped";
      if (c["kwargs"].contains("num_frames")) o.num_frames = c["kwargs"]["num_frames"].get<int64_t>();
      if (c["kwargs"].contains("fps") && !c["kwargs"]["fps"].is_null())
        o.fps = c["kwargs"]["fps"].get<double>();
      VideoInput v = preprocess_frames(source, {}, o);
      auto& e = c[mode];
      EXPECT_EQ(v.grid, (Grid{e["grid_thw"][0], e["grid_thw"][1], e["grid_thw"][2]})) << i << mode;
      EXPECT_EQ(v.frames_indices, e["frames_indices"].get<std::vector<int64_t>>()) << i << mode;
      EXPECT_EQ(v.timestamps, e["timestamps"].get<std::vector<double>>()) << i << mode;
      EXPECT_EQ(v.stamps, e["rendered"].get<std::vector<std::string>>()) << i << mode;
      const float* values = static_cast<const float*>(v.patches.data());
      const int64_t count = v.grid.patches() * 1536;
      double sum = 0, absolute = 0;
      for (int64_t k = 0; k < count; ++k) sum += values[k], absolute += std::abs(values[k]);
      EXPECT_NEAR(sum / double(count), e["mean"].get<double>(), 1e-6);
      EXPECT_NEAR(absolute / double(count), e["abs_mean"].get<double>(), 1e-6);
      auto rows = tensors.find("vid_" + std::to_string(i) + ".pixel_values_rows");
      if (rows == tensors.end() || !e.contains("row_stride")) continue;
      const int64_t stride = e["row_stride"], kept = rows->second.shape[0];
      ASSERT_EQ((v.grid.patches() + stride - 1) / stride, kept);
      for (int64_t r = 0; r < kept; ++r)
        ASSERT_EQ(std::memcmp(values + r * stride * 1536, rows->second.as<float>() + r * 1536, 1536 * 4), 0)
            << i << " row " << r;
    }
  }
}

TEST(Clip, FolderEqualsMemory) {
  fs::path folder = fs::temp_directory_path() / fmt::format("vl8_clip_{}", getpid());
  fs::create_directories(folder);
  std::mt19937 rng(9);
  std::vector<Image> frames;
  for (int i = 0; i < 5; ++i) {
    frames.push_back(testing::random_image(rng, 70, 64));
    write_png(folder / fmt::format("frame{}.png", 8 + i), frames.back());
  }
  std::ofstream(folder / "notes.txt") << "not a frame";
  std::ofstream(folder / ".hidden.png") << "not a frame";
  FolderFrames source(folder, 2.0);
  ASSERT_EQ(source.count(), 5);
  EXPECT_EQ(source.files()[0].filename(), "frame8.png");
  EXPECT_EQ(source.files()[2].filename(), "frame10.png");
  VideoInput a = preprocess_frames(source, {});
  MemoryFrames memory(std::move(frames), 2.0);
  VideoInput b = preprocess_frames(memory, {});
  EXPECT_EQ(a.hash, b.hash);
  EXPECT_EQ(a.grid, (Grid{3, 4, 4}));
  EXPECT_EQ(a.frames_indices, (std::vector<int64_t>{0, 1, 2, 3, 4, 4}));
  EXPECT_EQ(std::memcmp(a.patches.data(), b.patches.data(), a.patches.bytes()), 0);

  write_png(folder / "frame11.png", testing::random_image(rng, 80, 64));
  try {
    preprocess_frames(source, {});
    FAIL() << "frames of two sizes were taken";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("frame11.png"), std::string::npos) << e.what();
  }
  std::ofstream(folder / "frame9.png", std::ios::trunc) << "text";
  EXPECT_THROW(preprocess_frames(source, {}), Error);
  fs::remove_all(folder);
  EXPECT_THROW(FolderFrames{folder}, Error);
}

TEST(Clip, EmptyFolderAndWrongRate) {
  fs::path folder = fs::temp_directory_path() / fmt::format("vl8_empty_{}", getpid());
  fs::create_directories(folder);
  EXPECT_THROW(FolderFrames{folder}, Error);
  EXPECT_THROW(FolderFrames(folder, 0.0), Error);
  fs::remove_all(folder);
  MemoryFrames none({}, 1.0);
  EXPECT_THROW(preprocess_frames(none, {}), Error);
}

}  // namespace
}  // namespace vl8
