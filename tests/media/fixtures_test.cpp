// Every file of the fixtures' manifest: it decodes to the size and the pixels that the manifest names, or
// gives one clear error. Nothing else, whatever is in it.
#include <gtest/gtest.h>
//
#include <cstdio>
//
#include <jpeglib.h>

#include <set>

#include "core/error.h"
#include "media/image.h"
#include "support.h"
#include "support/paths.h"

namespace vl8 {
namespace {

using Json = nlohmann::json;

// The manifest's digests of lossy pictures were made with this release; another may round differently.
#if defined(LIBJPEG_TURBO_VERSION_NUMBER) && LIBJPEG_TURBO_VERSION_NUMBER >= 2001000 && \
    LIBJPEG_TURBO_VERSION_NUMBER < 2002000
constexpr bool kSameJpegLibrary = true;
#else
constexpr bool kSameJpegLibrary = false;
#endif

// Files that end too early: they must be refused, not filled up with grey.
const std::set<std::string> kTruncated = {"generated/header_only.jpg", "generated/truncated_progressive.jpg",
                                          "pillow/truncated_jpeg.jpg", "pillow/truncated_end_chunk.png",
                                          "skimage/truncated.jpg",     "pillow/bmp/b/shortfile.bmp"};

// Pixel data with a wrong checksum, which Pillow does not look at. Damaged is damaged.
const std::set<std::string> kWrongChecksum = {"pngsuite/corrupt/xcsn0g01.png"};

// Pillow knows TIFF and has no limit as low as ours for the other two.
bool must_be_refused(const Json& row) {
  return row["file"] == "generated/huge_20000x20000_1bit.png" || row["file"] == "pillow/bmp/b/badwidth.bmp" ||
         row["file"] == "pillow/bmp/b/reallybig.bmp" || row.value("format", "") == "TIFF" ||
         row.contains("video") || kTruncated.contains(row["file"]) || kWrongChecksum.contains(row["file"]);
}

// Pillow 9.4 misreads these run lengths: it takes an "end of row" at the start of a row for nothing and mixes
// up the halves of 4-bit runs. Ours are compared with their plain twins below.
const std::set<std::string> kPillowIsWrong = {"pillow/bmp/b/badrle.bmp", "pillow/bmp/q/pal4rletrns.bmp",
                                              "pillow/bmp/q/pal8rletrns.bmp", "pillow/bmp/g/pal4rle.bmp"};

struct Outcome {
  bool decoded = false;
  std::string error;
  Image image;
};
Outcome attempt(const std::string& file, const std::string& name, const Limits& limits,
                const DecodeOptions& options) {
  Outcome o;
  try {
    o.image = decode_image(testing::bytes_of(file), name, limits, options);
    o.decoded = true;
  } catch (const Error& e) {
    EXPECT_NE(e.kind(), ErrorKind::internal) << name << ": " << e.what();
    o.error = e.what();
  }
  return o;
}

TEST(Fixtures, EveryFileOfTheManifest) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "no fixtures: set VL8_SHARED";
  auto rows = Json::parse(testing::slurp(*shared / "fixtures/manifest.json"))["files"];
  ASSERT_GE(rows.size(), 300u);
  const DecodeOptions as_pillow{.apply_orientation = false, .alpha_on_white = false, .clip_grey16 = true};
  const Limits limits{.max_aspect = 0};
  int decoded = 0, refused = 0, digests = 0, lossy = 0;
  for (const Json& row : rows) {
    const std::string name = row["file"], file = testing::slurp(*shared / "fixtures" / name);
    Outcome o = attempt(file, name, limits, as_pillow);
    o.decoded ? ++decoded : ++refused;
    if (!o.decoded) {
      EXPECT_EQ(o.error.rfind(name + ": ", 0), 0u) << o.error;
      EXPECT_EQ(o.error.find('\n'), std::string::npos) << o.error;
    }
    const bool pillow_reads = row.value("pillow", "") == "ok";
    if (must_be_refused(row)) {
      EXPECT_FALSE(o.decoded) << name;
    } else if (pillow_reads) {
      EXPECT_TRUE(o.decoded) << name << ": " << o.error;
    }
    if (!o.decoded || !row.contains("size")) continue;
    EXPECT_EQ(o.image.width, row["size"][0]) << name;
    EXPECT_EQ(o.image.height, row["size"][1]) << name;
    if (!row.contains("pillow_rgb_sha256") || kPillowIsWrong.contains(name)) continue;
    const std::string format = row["format"];
    const bool is_lossy =
        format == "JPEG" || format == "MPO" || (format == "WEBP" && name != "generated/lossless.webp");
    if (is_lossy && !kSameJpegLibrary) continue;
    is_lossy ? ++lossy : ++digests;
    EXPECT_EQ(testing::sha256_hex(o.image.rgb.get(), o.image.bytes()), row["pillow_rgb_sha256"])
        << name << " " << row["mode"];
  }
  std::printf("fixtures: %d decoded, %d refused; equal to Pillow: %d lossless, %d lossy compared\n", decoded,
              refused, digests, lossy);
  EXPECT_GE(digests, 200);
}

// The transparent run-length files show the same picture as the plain ones, but for pixels that were passed
// over (they have the first colour of the palette).
TEST(Fixtures, BmpRunLengths) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "no fixtures: set VL8_SHARED";
  const auto folder = *shared / "fixtures/pillow/bmp";
  for (auto [runs, twin] :
       {std::pair{"q/pal8rletrns.bmp", "g/pal8.bmp"}, std::pair{"g/pal8rle.bmp", "g/pal8.bmp"},
        std::pair{"q/pal4rletrns.bmp", "g/pal4rle.bmp"}}) {
    Image a = load_image(folder / runs), b = load_image(folder / twin);
    ASSERT_EQ(a.bytes(), b.bytes());
    int equal = 0, passed_over = 0;
    std::set<std::vector<uint8_t>> colors;  // of ours where the two differ
    for (size_t i = 0; i < a.bytes(); i += 3) {
      bool same = std::memcmp(&a.rgb[i], &b.rgb[i], 3) == 0;
      same ? ++equal : ++passed_over;
      if (!same) colors.insert({a.rgb[i], a.rgb[i + 1], a.rgb[i + 2]});
    }
    EXPECT_LE(colors.size(), 1u) << runs;
    EXPECT_LT(passed_over, equal / 10) << runs;
  }
}

TEST(Fixtures, Orientation) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "no fixtures: set VL8_SHARED";
  auto rows = Json::parse(testing::slurp(*shared / "fixtures/manifest.json"))["files"];
  int checked = 0;
  for (const Json& row : rows) {
    if (!row.contains("exif_orientation") || row["format"] == "TIFF") continue;
    const std::string name = row["file"], file = testing::slurp(*shared / "fixtures" / name);
    ImageInfo info = probe_image(testing::bytes_of(file), name);
    EXPECT_EQ(info.orientation, row["exif_orientation"]) << name;
    ++checked;
    Outcome o = attempt(file, name, {}, {});
    if (!o.decoded) continue;
    const bool swap = info.orientation >= 5;
    EXPECT_EQ(o.image.width, row["size"][swap ? 1 : 0]) << name;
    EXPECT_EQ(o.image.height, row["size"][swap ? 0 : 1]) << name;
  }
  EXPECT_GE(checked, 20);
}

// With the limits as users have them: the same files, default options; a far smaller picture limit.
TEST(Fixtures, SmallLimits) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "no fixtures: set VL8_SHARED";
  auto rows = Json::parse(testing::slurp(*shared / "fixtures/manifest.json"))["files"];
  for (const Json& row : rows) {
    const std::string name = row["file"], file = testing::slurp(*shared / "fixtures" / name);
    attempt(file, name, {}, {});
    Outcome o = attempt(file, name, {.max_pixels = 2000}, {});
    if (o.decoded) {
      EXPECT_LE(o.image.width * o.image.height, 2000) << name;
    }
  }
}

}  // namespace
}  // namespace vl8
