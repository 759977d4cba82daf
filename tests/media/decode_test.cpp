// Decoders on pictures that the test makes itself; the awkward files of others are in fixtures_test.cpp.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "encoders.h"
#include "media/draw.h"
#include "media/processor.h"
#include "support.h"

namespace vl8 {
namespace {

using testing::bytes_of;
using testing::JpegSpec;
using testing::random_image;
namespace fs = std::filesystem;

Image decode(const std::string& file, const DecodeOptions& options = {}, const Limits& limits = {}) {
  return decode_image(bytes_of(file), "test picture", limits, options);
}

bool same(const Image& a, const Image& b) {
  return a.width == b.width && a.height == b.height && std::memcmp(a.rgb.get(), b.rgb.get(), a.bytes()) == 0;
}

// The message of the error that f throws; "" when it throws none.
template <typename F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_NE(e.kind(), ErrorKind::internal) << e.what();
    return e.what();
  }
  return "";
}

Image smooth_image(int width, int height) {
  Image image(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      image.row(y)[3 * x] = uint8_t(60 + 120 * x / width);
      image.row(y)[3 * x + 1] = uint8_t(40 + 150 * y / height);
      image.row(y)[3 * x + 2] = uint8_t(90 + 60 * (x + y) / (width + height));
    }
  return image;
}

int largest_difference(const Image& a, const Image& b) {
  int d = 0;
  for (size_t i = 0; i < a.bytes(); ++i) d = std::max(d, std::abs(int(a.rgb[i]) - int(b.rgb[i])));
  return d;
}

TEST(Decode, LosslessFormatsGiveTheSamePixels) {
  std::mt19937 rng(1);
  for (auto [w, h] : {std::pair{1, 1}, std::pair{17, 5}, std::pair{64, 33}}) {
    Image image = random_image(rng, w, h);
    EXPECT_TRUE(same(decode(encode_png(image)), image));
    EXPECT_TRUE(same(decode(testing::encode_webp(image, testing::WebpKind::lossless)), image));
    std::string ppm = fmt::format("P6\n# a comment\n{} {}\n255\n", w, h);
    ppm.append(reinterpret_cast<const char*>(image.rgb.get()), image.bytes());
    EXPECT_TRUE(same(decode(ppm), image));
    std::string text = fmt::format("P3 {} {} 255 ", w, h);
    for (size_t i = 0; i < image.bytes(); ++i) text += std::to_string(image.rgb[i]) + "\n";
    EXPECT_TRUE(same(decode(text), image));
  }
}

TEST(Decode, LossyFormatsAreNear) {
  Image image = smooth_image(83, 61);
  for (auto [h, v] : {std::pair{1, 1}, std::pair{2, 1}, std::pair{1, 2}, std::pair{2, 2}, std::pair{4, 1}})
    for (bool progressive : {false, true}) {
      JpegSpec spec{.quality = 95, .h = h, .v = v, .progressive = progressive};
      EXPECT_LE(largest_difference(decode(testing::encode_jpeg(image, spec)), image), 8)
          << h << v << progressive;
    }
  EXPECT_LE(largest_difference(decode(testing::encode_jpeg(image, {.quality = 98, .channels = 4})), image), 8)
      << "CMYK";
  EXPECT_LE(largest_difference(decode(testing::encode_webp(image, testing::WebpKind::lossy)), image), 40);
  Image grey = decode(testing::encode_jpeg(image, {.quality = 98, .channels = 1}));
  for (int i = 0; i < grey.width * grey.height; ++i) {
    ASSERT_EQ(grey.rgb[size_t(3 * i)], grey.rgb[size_t(3 * i + 2)]);
    ASSERT_LE(std::abs(grey.rgb[size_t(3 * i)] - image.rgb[size_t(3 * i)]),
              4);  // the encoder took the red channel
  }
}

// What is seen, as the index of stored pixels, for each EXIF value; stored is 0 1 / 2 3 / 4 5.
TEST(Decode, AllOrientations) {
  struct Row {
    int width, height;
    std::vector<int> seen;
  };
  const Row rows[] = {{2, 3, {0, 1, 2, 3, 4, 5}}, {2, 3, {1, 0, 3, 2, 5, 4}}, {2, 3, {5, 4, 3, 2, 1, 0}},
                      {2, 3, {4, 5, 2, 3, 0, 1}}, {3, 2, {0, 2, 4, 1, 3, 5}}, {3, 2, {4, 2, 0, 5, 3, 1}},
                      {3, 2, {5, 3, 1, 4, 2, 0}}, {3, 2, {1, 3, 5, 0, 2, 4}}};
  Image stored(2, 3);
  for (int i = 0; i < 6; ++i)
    for (int c = 0; c < 3; ++c) stored.rgb[size_t(3 * i + c)] = uint8_t(40 * i + c);
  for (int o = 1; o <= 8; ++o)
    for (bool big_endian : {false, true}) {
      std::string file =
          testing::png_with_chunk(encode_png(stored), "eXIf", testing::exif_block(o, big_endian));
      EXPECT_EQ(probe_image(bytes_of(file), "x").orientation, o);
      Image seen = decode(file);
      const Row& row = rows[o - 1];
      ASSERT_EQ(seen.width, row.width) << o;
      ASSERT_EQ(seen.height, row.height);
      EXPECT_EQ(seen.stored_width, 2);
      EXPECT_EQ(seen.orientation, o);
      for (size_t i = 0; i < 6; ++i)
        EXPECT_EQ(seen.rgb[3 * i] / 40, row.seen[i]) << "orientation " << o << " pixel " << i;
      EXPECT_TRUE(same(decode(file, {.apply_orientation = false}), stored));
    }
  // JPEG carries it in a marker.
  Image photo = smooth_image(40, 24);
  Image upright = decode(testing::encode_jpeg(photo, {}));
  for (int o = 2; o <= 8; ++o)
    EXPECT_TRUE(same(decode(testing::encode_jpeg(photo, {.orientation = o})), orient(upright.clone(), o)))
        << o;
}

TEST(Decode, BrokenExifMeansUpright) {
  Image image = smooth_image(5, 4);
  std::string good = testing::exif_block(6, true);
  for (size_t keep = 0; keep < good.size() - 8; ++keep) {  // without the end of the second entry
    std::string file = testing::png_with_chunk(encode_png(image), "eXIf", good.substr(0, keep));
    EXPECT_EQ(decode(file).orientation, 1) << keep;
  }
  std::string wild = good;
  wild[7] = '\xff', wild[4] = '\xff';  // a directory far outside
  EXPECT_EQ(decode(testing::png_with_chunk(encode_png(image), "eXIf", wild)).orientation, 1);
  EXPECT_EQ(
      decode(testing::png_with_chunk(encode_png(image), "eXIf", testing::exif_block(9, true))).orientation,
      1);
}

TEST(Decode, AlphaOnWhite) {
  std::vector<uint8_t> rgba;
  for (int a = 0; a < 256; ++a)
    for (int v : {0, 100, 255}) rgba.insert(rgba.end(), {uint8_t(v), uint8_t(255 - v), 7, uint8_t(a)});
  std::string file = testing::encode_png_rgba(3, 256, rgba);
  Limits wide{.max_aspect = 0};
  Image white = decode(file, {}, wide), dropped = decode(file, {.alpha_on_white = false}, wide);
  for (size_t i = 0; i < 768; ++i)
    for (size_t c = 0; c < 3; ++c) {
      double a = rgba[4 * i + 3] / 255.0;
      ASSERT_EQ(white.rgb[3 * i + c], std::lround(a * rgba[4 * i + c] + (1 - a) * 255)) << i;
      ASSERT_EQ(dropped.rgb[3 * i + c], rgba[4 * i + c]);
    }
}

TEST(Decode, GifFrameOnItsCanvas) {
  std::vector<uint8_t> index;
  for (int i = 0; i < 5 * 9; ++i) index.push_back(uint8_t(i * 7 % 8));
  for (bool interlaced : {false, true})
    for (int transparent : {-1, 3}) {
      Image image = decode(testing::encode_gif(9, 14, 2, 3, 5, 9, index, interlaced, transparent));
      ASSERT_EQ(image.width, 9);
      ASSERT_EQ(image.height, 14);
      for (int y = 0; y < 14; ++y)
        for (int x = 0; x < 9; ++x) {
          bool inside = x >= 2 && x < 7 && y >= 3 && y < 12;
          int i = inside ? index[size_t((y - 3) * 5 + x - 2)] : transparent >= 0 ? transparent : 0;
          uint8_t red = uint8_t(i == transparent ? 255 : 30 * i);
          ASSERT_EQ(image.row(y)[3 * x], red) << x << "," << y;
        }
    }
}

std::string bmp_rle8(const std::string& runs, int width, int height) {
  auto little = [](uint64_t v, int n) {
    std::string s;
    for (int i = 0; i < n; ++i) s += char(v >> 8 * i);
    return s;
  };
  std::string palette;
  for (int i = 0; i < 4; ++i) palette += little(uint32_t(i * 0x010203), 4);
  std::string head = "BM" + little(0, 4) + little(0, 4) + little(14 + 40 + 16, 4);
  head += little(40, 4) + little(uint32_t(width), 4) + little(uint32_t(height), 4) + little(1, 2) +
          little(8, 2) + little(1, 4);
  head += little(0, 4) + little(0, 8) + little(4, 4) + little(0, 4);
  return head + palette + runs;
}

TEST(Decode, BmpRunLengths) {
  using namespace std::string_literals;
  // Bottom row: 3 x colour 1. Next: move right 1, one literal run (2, 3, pad). End of picture before the top
  // row.
  Image image = decode(bmp_rle8("\3\1\0\0\0\2\1\0\0\3\2\3\1\0\0\1"s, 4, 3));
  const int expected[3][4] = {{0, 0, 0, 0}, {0, 2, 3, 1}, {1, 1, 1, 0}};
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 4; ++x) EXPECT_EQ(image.row(y)[3 * x + 2], expected[y][x] * 3) << x << "," << y;
  EXPECT_NE(error_of([] { decode(bmp_rle8("\3\1\0\0\0\2\1"s, 4, 3)); }), "");      // cut off
  EXPECT_NO_THROW(decode(bmp_rle8("\xff\1\xff\1\0\2\xff\xff\xff\1\0\1"s, 4, 3)));  // runs far outside
}

TEST(Decode, OneClearErrorForWhatIsNoPicture) {
  auto message = [](const std::string& file) { return error_of([&] { decode(file); }); };
  EXPECT_NE(message("").find("test picture: the file is empty"), std::string::npos);
  EXPECT_NE(message("hello world\n").find("not a picture but text"), std::string::npos);
  EXPECT_NE(message(std::string("\0\1\2\3", 4)).find("not a picture"), std::string::npos);
  EXPECT_NE(message(std::string("II*\0....", 8)).find("TIFF"), std::string::npos);
  EXPECT_NE(message("....ftypavif....").find("AVIF"), std::string::npos);
  EXPECT_NE(message("....ftypheic....").find("HEIF"), std::string::npos);
  EXPECT_NE(message("....ftypisom....").find("video"), std::string::npos);
  EXPECT_NE(message("%PDF-1.7").find("PDF"), std::string::npos);
  EXPECT_NE(message("\x89PNG\r\n\x1a\n").find("damaged PNG"), std::string::npos);
  EXPECT_NE(message("\xff\xd8\xff\xe0").find("damaged JPEG"), std::string::npos);
}

TEST(Decode, FoldersAndMissingFiles) {
  fs::path folder = fs::temp_directory_path() / fmt::format("vl8_image_{}", getpid());
  fs::create_directories(folder);
  EXPECT_NE(error_of([&] { load_image(folder); }).find("folder"), std::string::npos);
  EXPECT_NE(error_of([&] { load_image(folder / "none.png"); }).find("none.png"), std::string::npos);
  std::ofstream(folder / "empty.jpg").close();
  EXPECT_NE(error_of([&] { load_image(folder / "empty.jpg"); }).find("empty"), std::string::npos);
  write_png(folder / "picture.jpg", smooth_image(6, 5));  // by content, not by name
  EXPECT_EQ(load_image(folder / "picture.jpg").width, 6);
  EXPECT_NE(error_of([&] { load_image(folder / "picture.jpg", {.max_bytes = 50}); }).find("50 bytes"),
            std::string::npos);
  fs::remove_all(folder);
}

TEST(Decode, LimitsComeFromTheHeader) {
  std::string ppm = "P6 100000 100000 255\n";  // 30 GB, with no pixel behind it
  EXPECT_NE(error_of([&] { decode(ppm); }).find("limit"), std::string::npos);
  Image image = smooth_image(30, 20);
  EXPECT_NE(error_of([&] { decode(encode_png(image), {}, {.max_pixels = 599}); }).find("30x20"),
            std::string::npos);
  EXPECT_NO_THROW(decode(encode_png(image), {}, {.max_pixels = 600}));
  std::mt19937 rng(2);
  EXPECT_NE(error_of([&] { decode(encode_png(random_image(rng, 201, 1))); }).find("200 times"),
            std::string::npos);
  EXPECT_NO_THROW(decode(encode_png(random_image(rng, 200, 1))));
  EXPECT_NO_THROW(decode(encode_png(random_image(rng, 201, 1)), {}, {.max_aspect = 0}));
  // Every format checks before it allocates.
  for (const std::string& file :
       {testing::encode_jpeg(image, {}), testing::encode_webp(image, testing::WebpKind::lossy),
        testing::encode_gif(30, 20, 0, 0, 2, 2, {0, 1, 2, 3}, false, -1), bmp_rle8("", 30, 20)})
    EXPECT_NE(error_of([&] { decode(file, {}, {.max_pixels = 599}); }).find("limit"), std::string::npos);
}

TEST(Decode, CutOffFilesAreErrors) {
  std::mt19937 rng(8);
  Image image = random_image(rng, 48, 40);
  const std::string files[] = {testing::encode_jpeg(image, {}),
                               testing::encode_jpeg(image, {.progressive = true}), encode_png(image),
                               testing::encode_webp(image, testing::WebpKind::lossy),
                               testing::encode_webp(image, testing::WebpKind::lossless)};
  for (const std::string& file : files)
    for (size_t keep : {file.size() / 2, file.size() * 9 / 10, file.size() - 40})
      EXPECT_NE(error_of([&] { decode(file.substr(0, keep)); }), "")
          << file.substr(0, 4) << " " << keep << "/" << file.size();
}

// Random damage never crashes, hangs or leaks (run under the sanitizers); it either decodes or gives an
// Error.
TEST(Decode, DamagedFiles) {
  std::mt19937 rng(std::random_device{}());
  Image image = random_image(rng, 37, 29);
  std::vector<uint8_t> index(37 * 29);
  for (auto& i : index) i = uint8_t(rng() % 8);
  std::string ppm = "P5 37 29 65535\n" + std::string(37 * 29 * 2, '\7');
  const std::string files[] = {testing::encode_jpeg(image, {.orientation = 5}),
                               testing::encode_jpeg(image, {.progressive = true, .channels = 4}),
                               encode_png(image),
                               testing::encode_webp(image, testing::WebpKind::lossy),
                               testing::encode_webp(image, testing::WebpKind::lossless),
                               testing::encode_gif(37, 29, 0, 0, 37, 29, index, true, 2),
                               bmp_rle8(std::string(400, '\5'), 37, 29),
                               ppm};
  const Limits limits{.max_pixels = 1 << 20};
  int decoded = 0, refused = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string file = files[size_t(round) % std::size(files)];
    for (int n = 1 + int(rng() % 6); n > 0; --n) {
      size_t at = rng() % (rng() % 2 ? file.size() : std::min<size_t>(file.size(), 80));
      file[at] = char(rng());
    }
    if (rng() % 4 == 0) file.resize(rng() % file.size());
    error_of([&] { decode(file, {}, limits); }).empty() ? ++decoded : ++refused;
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(decoded, 0);
}

TEST(Preprocess, JpegInStripsEqualsTheWholePicture) {
  std::mt19937 rng(std::random_device{}());
  for (int round = 0; round < 14; ++round) {
    const int w = 20 + int(rng() % 700), h = 20 + int(rng() % 500);
    Image image = random_image(rng, w, h);
    JpegSpec spec{.quality = 40 + int(rng() % 60),
                  .h = 1 + int(rng() % 2),
                  .v = 1 + int(rng() % 2),
                  .progressive = rng() % 3 == 0,
                  .channels = round % 5 == 4   ? 1
                              : round % 7 == 6 ? 4
                                               : 3,
                  .orientation = round % 4 == 3 ? 6 : 0};
    std::string file = testing::encode_jpeg(image, spec);
    for (DType dtype : {DType::f32, DType::bf16}) {
      ImageOverrides o{.max_pixels = round % 2 ? std::optional<int64_t>(90000) : std::nullopt,
                       .dtype = dtype};
      ImageInput a = preprocess_encoded(bytes_of(file), "x", {}, o),
                 b = preprocess_image(decode(file), {}, o);
      ASSERT_EQ(a.grid, b.grid);
      EXPECT_EQ(a.original, b.original);
      EXPECT_EQ(a.hash, b.hash);
      EXPECT_EQ(std::memcmp(a.patches.data(), b.patches.data(), b.patches.bytes()), 0) << w << "x" << h;
    }
  }
  std::string cut = testing::encode_jpeg(random_image(rng, 300, 200), {});
  cut.resize(cut.size() / 2);
  EXPECT_NE(error_of([&] { preprocess_encoded(bytes_of(cut), "cut.jpg", {}); }).find("cut.jpg"),
            std::string::npos);
}

TEST(Preprocess, BufferIsReused) {
  std::mt19937 rng(4);
  std::string big = testing::encode_jpeg(random_image(rng, 900, 700), {}),
              small = encode_png(random_image(rng, 300, 300));
  ImageInput reused;
  preprocess_encoded(bytes_of(big), "big", {}, {}, {}, reused);
  const void* memory = reused.patches.data();
  preprocess_encoded(bytes_of(small), "small", {}, {}, {}, reused);
  EXPECT_EQ(reused.patches.data(), memory);
  ImageInput fresh = preprocess_encoded(bytes_of(small), "small", {});
  ASSERT_EQ(reused.patches.bytes(), fresh.patches.bytes());
  EXPECT_EQ(std::memcmp(reused.patches.data(), fresh.patches.data(), fresh.patches.bytes()), 0);
}

}  // namespace
}  // namespace vl8
