// The decoding process under attack: whatever happens to it costs one Error, and the next one works.
#include "media/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "media/image.h"
#include "support.h"

namespace vl8 {
namespace {

class WorkerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { set_worker_program(std::filesystem::path(VL8_BINARY_DIR) / "vl8"); }

  static std::string failure(const char* how, const WorkerLimits& limits) {
    Worker w("fault", limits);
    try {
      w.call("bad.mp4", {{"how", how}});
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::input) << e.what();
      return e.what();
    }
    return "no error";
  }
};

TEST_F(WorkerTest, AFaultIsOneErrorThatNamesTheFile) {
  EXPECT_THAT(failure("crash", {}), ::testing::HasSubstr("bad.mp4: the decoder died of signal 6"));
  WorkerLimits quick;
  quick.cpu_seconds = 1;
  EXPECT_THAT(failure("spin", quick), ::testing::HasSubstr("used up its limit of 1 seconds"));
  WorkerLimits patient;
  patient.call_seconds = 0.2;
  EXPECT_THAT(failure("hang", patient), ::testing::HasSubstr("more than 0.2 seconds"));
#if !defined(__SANITIZE_ADDRESS__)
  WorkerLimits small;
  small.memory_bytes = size_t(512) << 20;
  EXPECT_THAT(failure("memory", small), ::testing::HasSubstr("more memory than the decoder may use"));
#endif
}

TEST_F(WorkerTest, CannotOpenFilesOrConnections) {
  Worker w("fault");
  EXPECT_FALSE(w.call("x", {{"how", "open"}}).head.value("opened", true));
  EXPECT_FALSE(w.call("x", {{"how", "connect"}}).head.value("opened", true));
}

TEST_F(WorkerTest, ADeadWorkerStaysDead) {
  Worker w("fault");
  EXPECT_THROW(w.call("x", {{"how", "crash"}}), Error);
  EXPECT_FALSE(w.alive());
}

TEST_F(WorkerTest, AWrongProgramIsNamed) {
  set_worker_program("/bin/true");
  EXPECT_THAT([] { Worker("image").call("a.png", {}); }, ::testing::ThrowsMessage<Error>(::testing::HasSubstr("/bin/true")));
  set_worker_program("/nowhere/vl8");
  EXPECT_THAT([] { Worker("image"); }, ::testing::ThrowsMessage<Error>(::testing::HasSubstr("/nowhere/vl8")));
  set_worker_program(std::filesystem::path(VL8_BINARY_DIR) / "vl8");
}

TEST_F(WorkerTest, PicturesAreTheSameAsInThisProcess) {
  const std::string file = testing::slurp(std::filesystem::path(VL8_SOURCE_DIR) / "assets/demo/label.png");
  Image here = decode_image(testing::bytes_of(file), "label.png"), there = decode_image_isolated(testing::bytes_of(file), "label.png");
  ASSERT_EQ(here.width, there.width);
  ASSERT_EQ(here.height, there.height);
  EXPECT_EQ(std::memcmp(here.rgb.get(), there.rgb.get(), here.bytes()), 0);
  Limits tiny;
  tiny.max_pixels = 10;
  std::string a, b;
  try { decode_image(testing::bytes_of(file), "label.png", tiny); } catch (const Error& e) { a = e.what(); }
  try { decode_image_isolated(testing::bytes_of(file), "label.png", tiny); } catch (const Error& e) { b = e.what(); }
  EXPECT_FALSE(a.empty());
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace vl8
