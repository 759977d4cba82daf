// Settings of model folders: the published files, the joint file, defaults, and one clear error for each bad
// field.
#include "media/processor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "support/paths.h"

namespace vl8 {
namespace {

namespace fs = std::filesystem;

class ProcessorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("vl8_processor_{}_{}", getpid(), counter_++);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void put(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  std::string error(const std::string& name, const std::string& text) {
    put(name, text);
    try {
      ProcessorConfig::load(folder_);
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
      return e.what();
    }
    return "";
  }
  fs::path folder_;
  static inline int counter_ = 0;
};

TEST_F(ProcessorTest, PublishedFiles) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "no published files: set VL8_SHARED";
  ProcessorConfig c = ProcessorConfig::load(*shared / "qwen3-vl/instruct");
  EXPECT_EQ(c.image.budget.min_pixels, 65536);
  EXPECT_EQ(c.image.budget.max_pixels, 16777216);
  EXPECT_EQ(c.video.budget.min_pixels, 4096);
  EXPECT_EQ(c.video.budget.max_pixels, 25165824);
  EXPECT_EQ(c.image.layout.columns(), 1536);
  EXPECT_EQ(c.image.path, ResizePath::torchvision);
  EXPECT_TRUE(c.video.cap_pixels_per_frame);
  EXPECT_EQ(c.video.fps, 2);
}

TEST_F(ProcessorTest, MissingFilesMeanThePublishedValues) {
  ProcessorConfig c = ProcessorConfig::load(folder_);
  EXPECT_EQ(c.image.budget.max_pixels, 16777216);
  EXPECT_EQ(c.video.budget.max_pixels, 25165824);
  EXPECT_EQ(c.video.max_frames, 768);
  EXPECT_THROW(ProcessorConfig::load(folder_ / "none"), Error);
}

TEST_F(ProcessorTest, FieldsAreRead) {
  put("preprocessor_config.json",
      R"({"size":{"shortest_edge":1024,"longest_edge":4096},"patch_size":14,"merge_size":1,
      "image_mean":[0.1,0.2,0.3],"image_std":[0.4,0.5,0.6],"image_processor_type":"Qwen2VLImageProcessorPil","do_resize":false})");
  put("video_preprocessor_config.json",
      R"({"patch_size":14,"merge_size":1,"fps":4,"num_frames":9,"min_frames":2,"max_frames":50,
      "cap_pixels_per_frame":false,"max_video_tokens":100,"do_sample_frames":false,"min_pixels":77,"max_pixels":777})");
  ProcessorConfig c = ProcessorConfig::load(folder_);
  EXPECT_EQ(c.image.layout.factor(), 14);
  EXPECT_EQ(c.image.layout.mean[2], 0.3f);
  EXPECT_EQ(c.image.layout.std[0], 0.4f);
  EXPECT_EQ(c.image.path, ResizePath::pil);
  EXPECT_FALSE(c.image.do_resize);
  EXPECT_EQ(c.image.budget.min_pixels, 1024);
  EXPECT_EQ(c.video.fps, 4);
  EXPECT_EQ(c.video.num_frames, 9);
  EXPECT_EQ(c.video.max_frames, 50);
  EXPECT_FALSE(c.video.cap_pixels_per_frame);
  EXPECT_FALSE(c.video.do_sample_frames);
  EXPECT_EQ(c.video.budget.min_pixels, 77);
  EXPECT_EQ(c.video.max_video_tokens, 100);
}

TEST_F(ProcessorTest, JointFileWins) {
  put("preprocessor_config.json", R"({"size":{"shortest_edge":1024,"longest_edge":4096}})");
  put("processor_config.json", R"({"image_processor":{"size":{"shortest_edge":2048,"longest_edge":8192}},
      "video_processor":{"fps":3},"processor_class":"Qwen3VLProcessor"})");
  ProcessorConfig c = ProcessorConfig::load(folder_);
  EXPECT_EQ(c.image.budget.min_pixels, 2048);
  EXPECT_EQ(c.video.fps, 3);
}

TEST_F(ProcessorTest, BadFieldsAreNamed) {
  const std::string image = "preprocessor_config.json", video = "video_preprocessor_config.json";
  struct Row {
    std::string file, json, word;
  };
  for (const Row& r : {Row{image, "{", "JSON"},
                       Row{image, "[]", "object"},
                       Row{image, R"({"patch_size":0})", "patch_size"},
                       Row{image, R"({"patch_size":"16"})", "patch_size"},
                       Row{image, R"({"patch_size":1e9})", "patch_size"},
                       Row{image, R"({"merge_size":2.5})", "merge_size"},
                       Row{image, R"({"image_mean":[0.5,0.5]})", "image_mean"},
                       Row{image, R"({"image_std":[0.5,0,0.5]})", "image_std"},
                       Row{image, R"({"image_mean":[1e99,0,0]})", "image_mean"},
                       Row{image, R"({"size":{"height":2}})", "shortest_edge"},
                       Row{image, R"({"size":7})", "size"},
                       Row{image, R"({"size":{"shortest_edge":9,"longest_edge":8}})", "size"},
                       Row{image, R"({"size":{"shortest_edge":-1,"longest_edge":8}})", "shortest_edge"},
                       Row{image, R"({"do_normalize":false})", "do_normalize"},
                       Row{image, R"({"do_resize":1})", "do_resize"},
                       Row{image, R"({"resample":2})", "resample"},
                       Row{image, R"({"rescale_factor":1})", "rescale_factor"},
                       Row{video, R"({"fps":0})", "fps"},
                       Row{video, R"({"fps":"two"})", "fps"},
                       Row{video, R"({"min_frames":10,"max_frames":5})", "min_frames"},
                       Row{video, R"({"num_frames":0})", "num_frames"},
                       Row{video, R"({"cap_pixels_per_frame":"yes"})", "cap_pixels_per_frame"}}) {
    std::string text = error(r.file, r.json);
    EXPECT_NE(text.find(r.word), std::string::npos) << r.json << " gave: " << text;
    fs::remove(folder_ / r.file);
  }
  put(image, R"({"patch_size":14})");
  EXPECT_THROW(ProcessorConfig::load(folder_), Error);  // the video part still has 16
}

}  // namespace
}  // namespace vl8
