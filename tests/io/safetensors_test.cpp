#include "io/safetensors.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>

#include "files.h"

namespace vl8 {
namespace {
using testing::error_of;
using ::testing::HasSubstr;
using testing::TempFolder;
using testing::write_raw;
using testing::write_text;

std::string open_error(const std::filesystem::path& path) {
  return error_of([&] { SafetensorsFile f(path); });
}

TEST(Safetensors, WritesAndReadsBack) {
  TempFolder dir;
  std::vector<float> a(6);
  std::iota(a.begin(), a.end(), -2.5f);
  std::vector<uint16_t> b{0x3f80, 0xbf80, 0x7f80};
  std::vector<uint8_t> c{0x38, 0x7e};
  std::vector<int64_t> d{-5, int64_t(1) << 40};
  std::vector<uint8_t> none;
  std::vector<std::pair<std::string, Tensor>> tensors{
      {"c", {c.data(), DType::e4m3, {2}}},
      {"a \"quoted\"/\\ \xc3\xa9", {a.data(), DType::f32, {2, 3}}},
      {"b", {b.data(), DType::bf16, {3}}},
      {"d", {d.data(), DType::i64, {2}}},
      {"empty", {none.data(), DType::f32, {0, 7}}},
      {"scalar", {a.data(), DType::f32, {}}}};
  write_safetensors(dir / "x.safetensors", tensors, {{"format", "pt"}, {"who", "test"}});

  SafetensorsFile f(dir / "x.safetensors");
  EXPECT_EQ(f.tensors().size(), 6u);
  EXPECT_EQ(f.metadata().at("who"), "test");
  EXPECT_EQ(f.tensors()[0].name, "d") << "larger types come first";
  EXPECT_EQ((f.at("d").offset) % 8, 0u);
  EXPECT_EQ(f.view("a \"quoted\"/\\ \xc3\xa9").f32()[5], 2.5f);
  EXPECT_EQ(f.read_f32("b")[1], -1.0f);
  EXPECT_TRUE(std::isinf(f.read_f32("b")[2]));
  EXPECT_EQ(f.read_f32("c"), (std::vector<float>{1.0f, 448.0f}));
  EXPECT_EQ(f.read_i64("d"), d);
  EXPECT_EQ(f.at("scalar").shape.rank, 0);
  EXPECT_EQ(f.read_f32("scalar"), std::vector<float>{-2.5f});
  EXPECT_EQ(f.at("empty").bytes, 0u);
  EXPECT_THAT(error_of([&] { f.at("nope"); }), HasSubstr("nope"));
  EXPECT_THAT(error_of([&] { f.read_f32("d"); }), HasSubstr("not a float"));
  EXPECT_THAT(error_of([&] { f.read_i64("b"); }), HasSubstr("not an integer"));

  SafetensorsFile moved = std::move(f);
  EXPECT_EQ(moved.read_f32("c")[0], 1.0f);
}

TEST(Safetensors, WriterLeavesNothingWithoutCommit) {
  TempFolder dir;
  {
    SafetensorsWriter w(dir / "x.safetensors", {{"a", DType::u8, {4}}});
    std::byte data[4] = {};
    w.write(0, 0, data);
    EXPECT_FALSE(std::filesystem::exists(dir / "x.safetensors"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  SafetensorsWriter w(dir / "x.safetensors", {{"a", DType::u8, {4}}});
  std::byte data[3] = {};
  w.write(0, 0, data);
  EXPECT_THAT(error_of([&] { w.commit(); }), HasSubstr("1 bytes were not written"));
  EXPECT_THAT(error_of([&] { w.write(0, 2, data); }), HasSubstr("write"));
  EXPECT_THAT(error_of([&] { SafetensorsWriter(dir / "y", {{"a", DType::u8, {1}}, {"a", DType::u8, {1}}}); }),
              HasSubstr("twice"));
  EXPECT_THAT(error_of([&] { SafetensorsWriter(dir / "no" / "y", {{"a", DType::u8, {1}}}); }),
              HasSubstr("cannot write"));
}

// header, bytes of data, what the error says
struct Hostile {
  const char* header;
  uint64_t data;
  const char* says;
};
const Hostile kHostile[] = {
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, nullptr},  // the sound one
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   )", 8, nullptr},
    {R"({})", 0, nullptr},
    {R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", 0, nullptr},
    {R"({"a":{"dtype":"F32","shape":[4611686018427387904,0,4611686018427387904],"data_offsets":[0,0]}})", 0,
     nullptr},
    {R"({"__metadata__":{"a":"b"},"a":{"dtype":"BOOL","shape":[],"data_offsets":[0,1]}})", 1, nullptr},
    {R"([1])", 0, "does not begin with"},
    {R"({"a":)", 0, "not valid JSON"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x)", 8, "not valid JSON"},
    {"{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "not valid JSON"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7, "incomplete"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9, "1 bytes at the end"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})", 16, "8 bytes before it"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
     12, "overlap"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
     8, "overlap"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
     16, "twice"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "backwards"},
    {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "takes 12 bytes"},
    {R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8, "unknown dtype 'F31'"},
    {R"({"a":{"dtype":3,"shape":[2],"data_offsets":[0,8]}})", 8, "dtype is not a string"},
    {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "not a size"},
    {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8, "not a size"},
    {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8, "not a size"},
    {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, "too large"},
    {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "too large"},
    {R"({"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}})", 8,
     "reach past"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615]}})", 8,
     "reach past"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", 8, "not a pair"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8, "not a pair"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,"8"]}})", 8, "not a pair"},
    {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,2],"data_offsets":[0,8]}})", 8, "dimensions"},
    {R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8, "shape is not an array"},
    {R"({"a":{"dtype":"F32","shape":[2]}})", 0, "data_offsets is missing"},
    {R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8, "dtype is missing"},
    {R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, "there twice"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8, "unknown field"},
    {R"({"a":5})", 0, "not an object"},
    {R"({"__metadata__":{"a":1}})", 0, "not a string"},
    {R"({"__metadata__":[]})", 0, "not an object"},
    {R"({"__metadata__":{"a":"b","a":"c"}})", 0, "twice"},
};

TEST(Safetensors, EveryFaultOfAHeaderIsNamed) {
  TempFolder dir;
  for (const Hostile& h : kHostile) {
    auto path = dir / "x.safetensors";
    write_raw(path, h.header, h.data);
    std::string error = open_error(path);
    if (!h.says)
      EXPECT_EQ(error, "") << h.header;
    else {
      EXPECT_THAT(error, HasSubstr(h.says)) << h.header;
      EXPECT_THAT(error, HasSubstr("x.safetensors")) << h.header;
    }
  }
}

TEST(Safetensors, WrongFilesAndLengths) {
  TempFolder dir;
  auto path = dir / "x.safetensors";
  EXPECT_THAT(open_error(path), HasSubstr("cannot open"));
  EXPECT_THAT(open_error(dir.path()), HasSubstr("not a regular file"));
  write_text(path, "");
  EXPECT_THAT(open_error(path), HasSubstr("incomplete"));
  write_text(path, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n");
  EXPECT_THAT(open_error(path), HasSubstr("Git LFS pointer"));
  write_text(path, "This is a text file, not weights.");
  EXPECT_THAT(open_error(path), HasSubstr("not a safetensors file"));
  for (uint64_t length : {uint64_t(0), uint64_t(1), uint64_t(200), uint64_t(99'999'999),
                          uint64_t(100'000'001), uint64_t(1) << 63, ~uint64_t(0), ~uint64_t(0) - 7}) {
    std::string head(reinterpret_cast<const char*>(&length), 8);
    write_text(path, head + R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})" + "x");
    EXPECT_NE(open_error(path), "") << length;
  }
  // a header that is one byte shorter or longer than it says
  std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  write_raw(path, header, 1, -1);
  EXPECT_NE(open_error(path), "");
  write_raw(path, header, 1, 1);
  EXPECT_NE(open_error(path), "");
}

TEST(Safetensors, UnalignedTensorsAreReadButNotViewed) {
  TempFolder dir;
  auto path = dir / "x.safetensors";
  std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
  write_raw(path, header, 5);
  SafetensorsFile f(path);
  EXPECT_EQ(f.read_f32("b"), std::vector<float>{0.0f});
  EXPECT_THAT(error_of([&] { f.view("b"); }), HasSubstr("aligned"));
}

}  // namespace
}  // namespace vl8
