// A run that is killed at any point is taken up by the next one, whose result is the same bytes; what the disk lost is
// noticed; two runs do not write one folder.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "core/file.h"
#include "quant/quantizer.h"
#include "tiny_model.h"

namespace vl8 {
namespace {
using namespace testing;
using ::testing::HasSubstr;

struct Source {
  TempFolder dir;
  Source() {
    fs::create_directory(dir / "src");
    write_model(dir / "src", tiny_config(), tiny_tensors(parse_model_config(tiny_config(), "c"), DType::bf16, 3));
  }
  QuantizeReport run(const char* to, std::function<bool()> cancelled = {}, const char* recipe = "fp8-block128") {
    ThreadPool pool(2);
    QuantizeOptions options{.recipe = recipe, .show_progress = false, .cancelled = std::move(cancelled)};
    return quantize(dir / "src", dir / to, options, pool);
  }
  // A child that dies by SIGKILL after so many questions.
  void killed(const char* to, int after) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      std::atomic<int> asked{0};
      try {
        run(to, [&] {
          if (++asked >= after) raise(SIGKILL);
          return false;
        });
      } catch (...) {
      }
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it was to be killed";
  }
};

TEST(Resume, TheSameBytesAfterAKillAnywhere) {
  Source s;
  std::atomic<int> asked{0};
  s.run("whole", [&] { return ++asked, false; });
  const std::string want = read_file(s.dir / "whole/model.safetensors");
  int64_t most = 0;
  for (int part = 1; part < 8; ++part) {
    const std::string to = "dst" + std::to_string(part);
    s.killed(to.c_str(), std::max(1, asked.load() * part / 8));
    ASSERT_FALSE(fs::exists(s.dir / to)) << "it appears whole or not at all";
    ASSERT_TRUE(fs::exists(s.dir / (to + ".partial")));
    QuantizeReport r = s.run(to.c_str());
    most = std::max(most, r.resumed_jobs);
    EXPECT_EQ(read_file(s.dir / to / "model.safetensors"), want);
    EXPECT_FALSE(fs::exists(s.dir / to / "journal"));
    EXPECT_FALSE(fs::exists(s.dir / (to + ".partial")));
    EXPECT_EQ(r.quantised_tensors, 14) << "the report covers what the first run did";
  }
  EXPECT_GT(most, 10) << "something was taken over";
}

TEST(Resume, AnotherRecipeStartsAnew) {
  Source s;
  s.killed("dst", 60);
  QuantizeReport r = s.run("dst", {}, "fp8-rowwise");
  EXPECT_EQ(r.resumed_jobs, 0);
  s.run("whole", {}, "fp8-rowwise");
  EXPECT_EQ(read_file(s.dir / "dst/model.safetensors"), read_file(s.dir / "whole/model.safetensors"));
}

TEST(Resume, WhatTheDiskLostIsNoticed) {
  Source s;
  std::atomic<int> asked{0};
  s.run("whole", [&] { return ++asked, false; });
  s.killed("dst", asked.load() * 7 / 8);
  const fs::path file = s.dir / "dst.partial/model.safetensors.partial";
  std::string bytes = read_file(file);
  bytes[bytes.size() / 4] ^= 1;
  write_file(file, bytes);
  EXPECT_THAT(error_of([&] { s.run("dst"); }), HasSubstr("gives back other bytes"));
  s.run("dst");  // the failed run left nothing behind
  EXPECT_EQ(read_file(s.dir / "dst/model.safetensors"), read_file(s.dir / "whole/model.safetensors"));
}

TEST(Resume, TwoRunsDoNotWriteOneFolder) {
  Source s;
  bool tried = false;
  s.run("dst", [&] {
    if (!tried) {
      tried = true;
      EXPECT_THAT(error_of([&] { s.run("dst"); }), HasSubstr("is being written by another process"));
    }
    return false;
  });
  EXPECT_TRUE(tried);
  EXPECT_TRUE(fs::exists(s.dir / "dst/model.safetensors"));
}

TEST(Resume, AFullDiskIsRefusedBeforeAnythingIsWritten) {
  TempFolder dir;
  EXPECT_THAT(error_of([&] { require_disk_space(dir.path(), uint64_t(1) << 60); }), HasSubstr("MB free"));
}

}  // namespace
}  // namespace vl8
