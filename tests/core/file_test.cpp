#include "core/file.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/mmap.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;

TEST(File, WriteReadAndLimits) {
  fs::path dir = fs::path(::testing::TempDir()) / "vl8_file_test";
  fs::create_directories(dir);
  fs::path f = dir / "a.txt";
  write_file(f, "hello");
  write_file(f, "hello again");
  EXPECT_EQ(read_file(f), "hello again");
  EXPECT_THROW(read_file(f, 4), Error);
  EXPECT_THROW(read_file(dir), Error);
  EXPECT_THROW(read_file(dir / "none"), Error);
  EXPECT_THROW(write_file(dir / "no" / "such" / "folder", "x"), Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir), fs::directory_iterator()), 1) << "a partial file was left";
  MappedFile m(f);
  m.populate(0, m.size());
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(m.data()), m.size()), "hello again");
  EXPECT_THROW(MappedFile(dir / "none"), Error);
  EXPECT_THROW(MappedFile{dir}, Error);
  fs::remove_all(dir);
}

}  // namespace
}  // namespace vl8
