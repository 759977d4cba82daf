// Video files against what the fixtures' manifest says of them, against the ffmpeg program, and against themselves: a frame
// is the same whichever way it is reached.
#include "media/video.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "core/error.h"
#include "media/draw.h"
#include "media/processor.h"
#include "support.h"
#include "support/paths.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

class VideoTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    set_worker_program(fs::path(VL8_BINARY_DIR) / "vl8");
    folder = fs::temp_directory_path() / fmt::format("vl8_video_{}", getpid());
    fs::create_directories(folder);
  }
  static void TearDownTestSuite() { fs::remove_all(folder); }
  void SetUp() override {
    if (!video_files_supported()) GTEST_SKIP() << "built without FFmpeg";
  }

  static bool have_ffmpeg() { return std::system("ffmpeg -version >/dev/null 2>&1") == 0; }
  static bool ffmpeg(const std::string& arguments) {
    return std::system(("ffmpeg -nostdin -v error -y " + arguments + " </dev/null").c_str()) == 0;
  }
  static std::string hash(const Image& i) { return testing::sha256_hex(i.rgb.get(), i.bytes()); }

  static fs::path folder;
};
fs::path VideoTest::folder;

TEST_F(VideoTest, EveryFixtureIsAsItsManifestSays) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "no fixtures: set VL8_SHARED";
  const auto manifest = nlohmann::json::parse(testing::slurp(*shared / "fixtures/manifest.json"));
  int clips = 0;
  for (const auto& row : manifest["files"]) {
    const std::string file = row["file"];
    const bool animation = row.value("frames", 1) > 1 && (file.ends_with(".gif") || file.ends_with(".webp"));
    if (!row.contains("video") && !animation) continue;
    SCOPED_TRACE(file);
    ++clips;
    const fs::path path = *shared / "fixtures" / file;
    if (row.contains("ffprobe_error")) {
      EXPECT_THAT([&] { VideoFile v(path); }, ::testing::ThrowsMessage<Error>(HasSubstr("moov atom not found")));
      continue;
    }
    // Pillow takes these for clips; both are refused with their reason.
    if (file == "pillow/no_palette.gif" || file == "pillow/decompression_bomb_extents.gif") {
      try {
        VideoFile v(path);
        for (int64_t i = 0; i < v.count(); ++i) v.frame(i);
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::input) << e.what();
        EXPECT_THAT(e.what(), HasSubstr(file.substr(file.find('/') + 1)));
      }
      continue;
    }
    VideoFile v(path);
    if (animation) {
      EXPECT_EQ(v.info().width, row["size"][0].get<int>());
      EXPECT_EQ(v.info().height, row["size"][1].get<int>());
      EXPECT_EQ(v.count(), row["frames"].get<int64_t>());
    } else {
      const auto& probe = row["video"];
      EXPECT_EQ(v.info().width, probe["width"].get<int>());
      EXPECT_EQ(v.info().height, probe["height"].get<int>());
      EXPECT_EQ(v.info().codec, probe["codec_name"].get<std::string>());
      if (probe.contains("nb_frames")) {
        EXPECT_EQ(v.count(), std::stoll(probe["nb_frames"].get<std::string>()));
      }
      EXPECT_NEAR(v.info().duration, std::stod(probe["duration"].get<std::string>()), 1.5 / v.info().fps);
      EXPECT_EQ(v.info().constant_rate, file != "generated/vfr.mp4");
    }
    for (int64_t i : {v.count() - 1, int64_t(0), v.count() / 2}) {
      Image image = v.frame(i);
      EXPECT_EQ(image.width, v.info().width);
      EXPECT_EQ(image.height, v.info().height);
    }
  }
  EXPECT_GE(clips, 14);
}

// Every frame in shuffled order equals the same frame in order, and both what the ffmpeg program makes with the same
// conversion.
TEST_F(VideoTest, AFrameIsTheSameHoweverItIsReached) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "no fixtures: set VL8_SHARED";
  for (const char* file : {"h264_320_10fps_4s.mp4", "hevc_320_4s.mp4", "vp9_320_4s.webm", "mjpeg_320_2s.mov", "odd_321x181_yuv444.mp4",
                           "vfr.mp4", "fragmented.mp4", "with_audio.mp4", "anim.webp"}) {
    SCOPED_TRACE(file);
    const fs::path path = *shared / "fixtures/generated" / file;
    VideoFile ordered(path), shuffled(path);
    std::vector<std::string> hashes;
    std::vector<int64_t> order;
    for (int64_t i = 0; i < ordered.count(); ++i) hashes.push_back(hash(ordered.frame(i))), order.push_back(i);
    std::mt19937 rng(std::random_device{}());
    std::shuffle(order.begin(), order.end(), rng);
    order.resize(std::min<size_t>(order.size(), 12));
    for (int64_t i : order) EXPECT_EQ(hash(shuffled.frame(i)), hashes[size_t(i)]) << "frame " << i;
    EXPECT_GT(std::set<std::string>(hashes.begin(), hashes.end()).size(), hashes.size() / 3);
    if (!have_ffmpeg() || std::string(file) == "anim.webp") continue;
    const fs::path raw = folder / "raw.rgb";
    ASSERT_TRUE(ffmpeg(fmt::format("-flags bitexact -i {} -fps_mode passthrough -vf scale=flags=bilinear+bitexact+accurate_rnd+full_chroma_int+full_chroma_inp "
                                   "-pix_fmt rgb24 -f rawvideo {}", path.string(), raw.string())));
    const std::string pixels = testing::slurp(raw);
    const size_t bytes = size_t(ordered.info().width) * size_t(ordered.info().height) * 3;
    ASSERT_EQ(pixels.size(), bytes * hashes.size());
    for (size_t i = 0; i < hashes.size(); ++i) EXPECT_EQ(testing::sha256_hex(pixels.data() + i * bytes, bytes), hashes[i]) << "frame " << i;
  }
}

// The golden clips as lossless files: everything that reaches the model is equal to the reference's.
TEST_F(VideoTest, GoldenClipsFromFiles) {
  auto golden = testing::golden_dir();
  if (!golden) GTEST_SKIP() << "no golden data: set VL8_GOLDEN";
  if (!have_ffmpeg()) GTEST_SKIP() << "no ffmpeg program to make the clips with";
  const auto cases = nlohmann::json::parse(testing::slurp(*golden / "io/videos.json"));
  const auto tensors = testing::read_golden(*golden / "io/videos.safetensors");
  for (size_t n = 0; n < cases.size(); ++n) {
    const auto& c = cases[n];
    SCOPED_TRACE(n);
    const fs::path frames = folder / fmt::format("golden{}", n), file = folder / fmt::format("golden{}.mov", n);
    fs::create_directories(frames);
    const Image base = load_image(*golden / "io" / c["base"].get<std::string>());
    const int count = c["frames"], shift = c["roll_per_frame"];
    std::ofstream raw(frames / "all.rgb", std::ios::binary);
    for (int k = 0; k < count; ++k)
      for (int y = 0; y < base.height; ++y)
        for (int x = 0; x < base.width; ++x)
          raw.write(reinterpret_cast<const char*>(base.row(y) + 3 * (((x - shift * k) % base.width + base.width) % base.width)), 3);
    raw.close();
    const double rate = c["fps"];
    ASSERT_TRUE(ffmpeg(fmt::format("-f rawvideo -pix_fmt rgb24 -s {}x{} -r {} -i {} -c:v png {}", base.width, base.height,
                                   rate == 23.976 ? "2997/125" : fmt::format("{}", rate), (frames / "all.rgb").string(), file.string())));
    for (const char* mode : {"capped", "uncapped"}) {
      VideoFile source(file);
      VideoOverrides o;
      o.cap_pixels_per_frame = std::string(mode) == "capped";
      if (c["kwargs"].contains("num_frames")) o.num_frames = c["kwargs"]["num_frames"].get<int64_t>();
      if (c["kwargs"].contains("fps") && !c["kwargs"]["fps"].is_null()) o.fps = c["kwargs"]["fps"].get<double>();
      VideoInput v = preprocess_frames(source, {}, o);
      const auto& e = c[mode];
      EXPECT_EQ(v.grid, (Grid{e["grid_thw"][0], e["grid_thw"][1], e["grid_thw"][2]}));
      EXPECT_EQ(v.frames_indices, e["frames_indices"].get<std::vector<int64_t>>());
      EXPECT_EQ(v.timestamps, e["timestamps"].get<std::vector<double>>());
      EXPECT_EQ(v.stamps, e["rendered"].get<std::vector<std::string>>());
      auto rows = tensors.find("vid_" + std::to_string(n) + ".pixel_values_rows");
      if (rows == tensors.end() || !e.contains("row_stride")) continue;
      const int64_t stride = e["row_stride"];
      for (int64_t r = 0; r < rows->second.shape[0]; ++r)
        ASSERT_EQ(std::memcmp(static_cast<const float*>(v.patches.data()) + r * stride * 1536, rows->second.as<float>() + r * 1536, 1536 * 4), 0) << "row " << r;
    }
  }
}

// The ffmpeg program turns pictures as players do; lossless RGB, so that turned pixels are the same pixels.
TEST_F(VideoTest, RotationIsApplied) {
  if (!have_ffmpeg()) GTEST_SKIP() << "no ffmpeg program to make the clip with";
  const fs::path plain = folder / "plain.mov", raw = folder / "turned.rgb";
  ASSERT_TRUE(ffmpeg("-f lavfi -i testsrc=size=64x32:rate=5:duration=1 -c:v png -pix_fmt rgb24 " + plain.string()));
  for (int degrees : {90, 180, 270}) {
    const fs::path turned = folder / fmt::format("turned{}.mov", degrees);
    ASSERT_TRUE(ffmpeg(fmt::format("-i {} -c copy -metadata:s:v rotate={} {}", plain.string(), degrees, turned.string())));
    ASSERT_TRUE(ffmpeg(fmt::format("-i {} -pix_fmt rgb24 -f rawvideo {}", turned.string(), raw.string())));
    VideoFile v(turned);
    ASSERT_NE(v.info().rotation, 1) << "this ffmpeg wrote no rotation";
    EXPECT_EQ(v.info().width, degrees == 180 ? 64 : 32);
    const std::string pixels = testing::slurp(raw);
    ASSERT_EQ(pixels.size(), size_t(64 * 32 * 3 * 5));
    for (int64_t i = 0; i < 5; ++i)
      EXPECT_EQ(hash(v.frame(i)), testing::sha256_hex(pixels.data() + i * 64 * 32 * 3, 64 * 32 * 3)) << degrees;
  }
}

TEST_F(VideoTest, CutFilesEndWhereTheirDataEnds) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "no fixtures: set VL8_SHARED";
  std::mt19937 rng(std::random_device{}());
  for (const char* file : {"fragmented.mp4", "vp9_320_4s.webm", "mjpeg_320_2s.mov", "h264_320_10fps_4s.mp4", "anim.webp"}) {
    const std::string whole = testing::slurp(*shared / "fixtures/generated" / file);
    for (int n = 0; n < 6; ++n) {
      std::string cut = whole.substr(0, 20 + rng() % (whole.size() - 20));
      if (n >= 3) {  // and damaged, not cut
        cut = whole;
        for (int k = 0; k < 12; ++k) cut[rng() % cut.size()] = char(rng());
      }
      try {
        VideoFile v(testing::bytes_of(cut), file);
        for (int64_t i : {int64_t(0), v.count() / 2, v.count() - 1}) v.frame(i);
      } catch (const Error& e) {
        EXPECT_TRUE(e.kind() == ErrorKind::input || e.kind() == ErrorKind::unsupported) << file << ": " << e.what();
        EXPECT_THAT(e.what(), HasSubstr(file));
      }
    }
  }
}

TEST_F(VideoTest, PartsKeepTheTimesOfTheWhole) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "no fixtures: set VL8_SHARED";
  VideoFile v(*shared / "fixtures/intel_videos/car-detection.mp4");
  VideoOverrides o;
  o.part = parse_clip_part("20-25");
  VideoInput part = preprocess_frames(v, {}, o);
  EXPECT_EQ(part.frames_indices.size(), 20u);  // 63 frames at 12.5, 4 a second
  EXPECT_EQ(part.frames_indices.front(), 250);
  EXPECT_EQ(part.frames_indices.back(), 312);
  EXPECT_NEAR(part.timestamps.front(), 20.1, 0.15);
  o.num_frames = 6;
  EXPECT_EQ(preprocess_frames(v, {}, o).frames_indices.size(), 6u);
  o.max_frames = 4;
  EXPECT_EQ(preprocess_frames(v, {}, o).frames_indices.size(), 4u);
  o.part = parse_clip_part("100-200");
  EXPECT_THAT([&] { preprocess_frames(v, {}, o); }, ::testing::ThrowsMessage<Error>(HasSubstr("30.")));
}

TEST(ClipPartText, IsTwoSecondsOrOne) {
  EXPECT_EQ(parse_clip_part("40-50").begin_s, 40);
  EXPECT_EQ(parse_clip_part("40-50").end_s, 50);
  EXPECT_EQ(parse_clip_part("45").begin_s, 43);
  EXPECT_EQ(parse_clip_part("1").begin_s, 0);
  for (const char* wrong : {"", "-", "50-40", "a-b", "1-", "1-2-3", "-3", "nan"}) EXPECT_THROW(parse_clip_part(wrong), Error) << wrong;
}

// Times of a variable rate are the frames' own, and a sampled stamp is the mean of its pair.
TEST_F(VideoTest, VariableRatesKeepTheirTimes) {
  if (!have_ffmpeg()) GTEST_SKIP() << "no ffmpeg program to make the clip with";
  const fs::path file = folder / "vfr.mkv";
  ASSERT_TRUE(ffmpeg("-f lavfi -i testsrc=size=64x64:rate=10:duration=4 -vf \"select='lt(n,10)+gte(n,30)'\" -fps_mode vfr -c:v libx264 -pix_fmt yuv420p " + file.string()));
  VideoFile v(file);
  ASSERT_EQ(v.count(), 20);
  EXPECT_FALSE(v.info().constant_rate);
  EXPECT_NEAR(v.time(9), 0.9, 1e-3);
  EXPECT_NEAR(v.time(10), 3.0, 1e-3);
  VideoOverrides o;
  o.num_frames = 20;
  VideoInput all = preprocess_frames(v, {}, o);
  EXPECT_NEAR(all.timestamps[5], 3.05, 1e-3);
  EXPECT_EQ(all.stamps[5], "<3.0 seconds>");  // 3.05 is a little less in binary
}

TEST_F(VideoTest, WrongFilesAreOneClearError) {
  EXPECT_THAT([&] { open_clip(folder / "none.mp4"); }, ::testing::ThrowsMessage<Error>(HasSubstr("none.mp4")));
  std::ofstream(folder / "text.mp4") << "hello";
  EXPECT_THAT([&] { open_clip(folder / "text.mp4"); }, ::testing::ThrowsMessage<Error>(HasSubstr("not a video")));
  std::ofstream(folder / "empty.mp4");
  EXPECT_THAT([&] { open_clip(folder / "empty.mp4"); }, ::testing::ThrowsMessage<Error>(HasSubstr("empty")));
  // a playlist would make FFmpeg open other files
  std::ofstream(folder / "list.m3u8") << "#EXTM3U\n#EXTINF:1,\n/etc/hostname\n";
  EXPECT_THROW(open_clip(folder / "list.m3u8"), Error);
}

}  // namespace
}  // namespace vl8
