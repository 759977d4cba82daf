// Target sizes, both resamplers and the patch order: against golden data, then every instruction set against
// the plain loops on ragged sizes and random pictures.
#include "media/resize.h"

#include <gtest/gtest.h>

#include "media/axis.h"
#include "media/isa.h"
#include "media/patchify.h"
#include "media/processor.h"
#include "media/strips.h"
#include "support.h"
#include "support/paths.h"

namespace vl8 {
namespace {

using testing::random_image;
constexpr PixelBudget kPublished{65536, 16777216};

TEST(SmartResize, TableOfTheSpec) {
  struct Row {
    Size in, out;
  };
  for (Row r : {Row{{37, 53}, {224, 320}}, Row{{224, 224}, {256, 256}}, Row{{300, 533}, {288, 544}},
                Row{{336, 336}, {320, 320}}, Row{{480, 640}, {480, 640}}, Row{{60, 1000}, {64, 1056}},
                Row{{719, 1283}, {704, 1280}}, Row{{33, 31}, {288, 256}}, Row{{512, 96}, {608, 128}},
                Row{{1, 150}, {32, 3136}}, Row{{1080, 1920}, {1088, 1920}}, Row{{2160, 3840}, {2176, 3840}},
                Row{{4320, 7680}, {3072, 5440}}, Row{{4096, 4096}, {4096, 4096}}}) {
    Size out = smart_resize(r.in, 32, kPublished);
    EXPECT_EQ(out, r.out) << r.in.height << "x" << r.in.width << " gave " << out.height << "x" << out.width;
  }
  EXPECT_THROW(smart_resize({1, 201}, 32, kPublished), Error);
  EXPECT_NO_THROW(smart_resize({1, 200}, 32, kPublished));
}

TEST(SmartResize, GoldenRows) {
  auto golden = testing::golden_dir();
  if (!golden) GTEST_SKIP() << "no golden data: set VL8_GOLDEN";
  auto rows = nlohmann::json::parse(
      testing::slurp(*golden / "io/images.json"))["smart_resize_factor32_min65536_max16777216"];
  ASSERT_EQ(rows.size(), 400u);
  for (auto& r : rows) {
    Size in{r[0], r[1]};
    if (r[2].is_null()) {
      EXPECT_THROW(smart_resize(in, 32, kPublished), Error) << r;
    } else {
      EXPECT_EQ(smart_resize(in, 32, kPublished), (Size{r[2], r[3]})) << r;
    }
  }
}

TEST(SmartResize, Clips) {
  const PixelBudget budget{4096, 25165824};
  auto clip = [&](int64_t n, Size s, ClipRule rule) { return smart_resize_clip(n, s, 32, 2, budget, rule); };
  for (ClipRule rule : {ClipRule::a, ClipRule::b, ClipRule::c}) {
    EXPECT_EQ(clip(4, {96, 128}, rule), (Size{96, 128}));
    EXPECT_EQ(clip(16, {720, 1280}, rule), (Size{704, 1280}));
    EXPECT_EQ(clip(60, {720, 1280}, rule), (Size{480, 832}));
    EXPECT_EQ(clip(64, {1080, 1920}, rule), (Size{448, 832}));
    EXPECT_EQ(clip(300, {360, 640}, rule), (Size{192, 384}));
    EXPECT_EQ(clip(768, {1080, 1920}, rule), (Size{128, 224}));
  }
  EXPECT_THROW(clip(1, {96, 128}, ClipRule::a), Error);
  EXPECT_THROW(clip(1, {96, 128}, ClipRule::c), Error);
  EXPECT_NO_THROW(clip(1, {96, 128}, ClipRule::b));
  EXPECT_THROW(clip(4, {31, 64}, ClipRule::a), Error);
  EXPECT_EQ(clip(4, {16, 64}, ClipRule::c), (Size{32, 128}));  // both sides doubled first
  // Five frames count as four, but in version b as six: the budget lies between.
  const PixelBudget tight{0, 5 * 64 * 64};
  EXPECT_EQ(smart_resize_clip(5, {64, 64}, 32, 2, tight, ClipRule::c), (Size{64, 64}));
  EXPECT_EQ(smart_resize_clip(5, {64, 64}, 32, 2, tight, ClipRule::b), (Size{64, 64}));
  EXPECT_EQ(smart_resize_clip(5, {96, 96}, 32, 2, tight, ClipRule::b), (Size{64, 64}));
}

TEST(SmartResize, CapPerFrame) {
  const PixelBudget budget{4096, 25165824};
  EXPECT_EQ(cap_per_frame(budget, 4, 32).max_pixels, 4 * 768 * 1024);          // 768 tokens a frame
  EXPECT_EQ(cap_per_frame(budget, 64, 32).max_pixels, 64 * (25165824 / 64));   // the even share
  EXPECT_EQ(cap_per_frame({100000, 100000}, 10, 32).max_pixels, 10 * 105000);  // not below 1.05 * min
  EXPECT_EQ(cap_per_frame(budget, 4, 32, 100).max_pixels, 4 * 100 * 1024);
  EXPECT_EQ(cap_per_frame(budget, 4, 32).min_pixels, 4096);
  EXPECT_EQ(smart_resize_clip(4, {1080, 1920}, 32, 2, cap_per_frame(budget, 4, 32)), (Size{640, 1152}));
}

struct Difference {
  int largest = 0;
  double mean = 0;
};
Difference compare_planes(const Image& image, const testing::GoldenTensor& planes) {  // [3, H, W]
  Difference d;
  const int64_t area = int64_t(image.width) * image.height;
  for (int64_t i = 0; i < area; ++i)
    for (int64_t c = 0; c < 3; ++c) {
      int e = std::abs(int(image.rgb[size_t(3 * i + c)]) - int(planes.as<uint8_t>()[c * area + i]));
      d.largest = std::max(d.largest, e);
      d.mean += double(e) / double(3 * area);
    }
  return d;
}

TEST(Resize, GoldenPixels) {
  auto golden = testing::golden_dir();
  if (!golden) GTEST_SKIP() << "no golden data: set VL8_GOLDEN";
  auto cases = nlohmann::json::parse(testing::slurp(*golden / "io/images.json"))["cases"];
  auto tensors = testing::read_golden(*golden / "io/images.safetensors");
  ASSERT_GE(cases.size(), 7u);
  for (auto& c : cases) {
    std::string file = c["file"];
    Image image = load_image(*golden / "io" / file);
    EXPECT_EQ(image.height, c["height"]);
    Size to = smart_resize({image.height, image.width}, 32, kPublished);
    EXPECT_EQ(to.height / 16, c["grid_thw"][1]) << file;
    EXPECT_EQ(to.width / 16, c["grid_thw"][2]) << file;
    for (auto [path, key] :
         {std::pair{ResizePath::torchvision, ".fast_u8"}, std::pair{ResizePath::pil, ".pil_u8"}}) {
      for (bool plain : {true, false}) {
        Image out = plain ? resize_reference(image, to, path) : resize(image, to, path);
        Difference d = compare_planes(out, tensors.at(file + key));
        EXPECT_EQ(d.largest, 0) << file << key << " mean " << d.mean;
      }
    }
  }
}

TEST(Patchify, GoldenPixelValues) {
  auto golden = testing::golden_dir();
  if (!golden) GTEST_SKIP() << "no golden data: set VL8_GOLDEN";
  auto cases = nlohmann::json::parse(testing::slurp(*golden / "io/images.json"))["cases"];
  auto tensors = testing::read_golden(*golden / "io/images.safetensors");
  for (auto& c : cases) {
    std::string file = c["file"];
    ImageInput input = preprocess_image(load_image(*golden / "io" / file), {});
    ASSERT_EQ(input.grid.patches(), c["n_patches"]);
    const float* values = static_cast<const float*>(input.patches.data());
    const int64_t count = input.grid.patches() * 1536;
    double sum = 0, absolute = 0;
    for (int64_t i = 0; i < count; ++i) sum += values[i], absolute += std::abs(values[i]);
    EXPECT_NEAR(sum / double(count), c["fast_mean"].get<double>(), 1e-6) << file;
    EXPECT_NEAR(absolute / double(count), c["fast_abs_mean"].get<double>(), 1e-6) << file;
    auto rows = tensors.find(file + ".pixel_values");
    if (rows == tensors.end()) continue;
    EXPECT_EQ(std::memcmp(values, rows->second.data.data(), rows->second.data.size()), 0) << file;
  }
}

bool same(const Image& a, const Image& b) {
  return a.width == b.width && a.height == b.height && std::memcmp(a.rgb.get(), b.rgb.get(), a.bytes()) == 0;
}

Image resize_with(const Image& image, Size to, ResizePath path, const pixel::Kernels& kernels) {
  Image out(int(to.width), int(to.height));
  pixel::ImageRows rows(image);
  pixel::RowResizer resizer({image.height, image.width}, to, path, kernels);
  for (int done = 0; done < out.height;) {
    done += resizer.pull(out.row(done), out.stride(), std::min(5, out.height - done));
    if (done < out.height && resizer.wants_rows()) rows.feed(resizer);
  }
  return out;
}

TEST(Resize, EveryInstructionSetEqualsThePlainLoop) {
  std::mt19937 rng(std::random_device{}());
  std::uniform_int_distribution<int> side(1, 180);
  for (int round = 0; round < 60; ++round) {
    Image image = random_image(rng, side(rng), side(rng));
    Size to{side(rng), side(rng)};
    if (round % 5 == 0) to.width = image.width;
    if (round % 7 == 0) to.height = image.height;
    if (round % 11 == 0) to = {to.height % 4 + 1, to.width % 3 + 1};
    for (ResizePath path : {ResizePath::torchvision, ResizePath::pil}) {
      Image expected = resize_reference(image, to, path);
      for (const pixel::Kernels* k : pixel::supported_kernels())
        EXPECT_TRUE(same(resize_with(image, to, path, *k), expected))
            << k->name << " " << resize_path_name(path) << " " << image.width << "x" << image.height << " -> "
            << to.width << "x" << to.height;
    }
  }
}

TEST(Resize, ExtremeRatios) {
  std::mt19937 rng(3);
  for (auto [w, h, to] : {std::tuple{2000, 3, Size{32, 32}}, std::tuple{3, 2000, Size{32, 32}},
                          std::tuple{1, 1, Size{64, 96}}, std::tuple{5, 7, Size{700, 500}}}) {
    Image image = random_image(rng, w, h);
    for (ResizePath path : {ResizePath::torchvision, ResizePath::pil})
      for (const pixel::Kernels* k : pixel::supported_kernels())
        EXPECT_TRUE(same(resize_with(image, to, path, *k), resize_reference(image, to, path)))
            << k->name << w << "x" << h;
  }
}

TEST(Resize, FlatPictureStaysFlat) {
  Image image(70, 50);
  for (int value : {0, 1, 127, 254, 255}) {
    std::memset(image.rgb.get(), value, image.bytes());
    for (ResizePath path : {ResizePath::torchvision, ResizePath::pil}) {
      Image out = resize(image, {96, 33}, path);
      for (size_t i = 0; i < out.bytes(); ++i) ASSERT_EQ(out.rgb[i], value);
    }
  }
}

TEST(Patchify, RowOrderOfTheSpec) {
  // A 4x6 grid whose pixels name their patch: (y, x) in row order.
  Image image(6 * 16, 4 * 16);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      image.row(y)[3 * x] = uint8_t(y / 16), image.row(y)[3 * x + 1] = uint8_t(x / 16),
                       image.row(y)[3 * x + 2] = 0;
  const Image* frames[] = {&image};
  PatchBuffer out;
  Grid grid = patchify(frames, {}, DType::f32, out);
  EXPECT_EQ(grid, (Grid{1, 4, 6}));
  const int order[][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3},
                          {0, 4}, {0, 5}, {1, 4}, {1, 5}, {2, 0}, {2, 1}, {3, 0}, {3, 1}};
  for (int row = 0; row < 16; ++row) {
    const float* values = static_cast<const float*>(out.data()) + row * 1536;
    for (int i = 0; i < 512; ++i) {
      ASSERT_EQ(values[i], (float(order[row][0]) - 127.5f) / 127.5f) << row;
      ASSERT_EQ(values[512 + i], (float(order[row][1]) - 127.5f) / 127.5f) << row;
      ASSERT_EQ(values[1024 + i], -1.0f);
    }
  }
}

// Patches through the strips with a given table; frames as in patchify.
void patchify_with(std::span<const Image* const> frames, const PatchLayout& layout, DType dtype, bool stream,
                   const pixel::Kernels& kernels, PatchBuffer& out) {
  const Image& f = *frames[0];
  const int64_t groups = (int64_t(frames.size()) + layout.temporal - 1) / layout.temporal;
  out.reset(dtype, groups * (f.height / layout.patch) * (f.width / layout.patch), layout.columns());
  std::memset(out.data(), 0x55, out.bytes());
  pixel::NormTable norm(layout);
  for (size_t i = 0; i < frames.size(); ++i) {
    int slot = int(i) % layout.temporal;
    pixel::StripTarget target{
        layout,
        norm,
        dtype,
        static_cast<char*>(out.data()) + i / size_t(layout.temporal) * (out.bytes() / size_t(groups)),
        {slot, i + 1 == frames.size() ? layout.temporal : slot + 1},
        stream};
    pixel::ImageRows rows(*frames[i]);
    pixel::run_strips(rows, {f.height, f.width}, {f.height, f.width}, ResizePath::torchvision, target,
                      nullptr, kernels);
  }
}

TEST(Patchify, EveryInstructionSetEqualsThePlainLoop) {
  std::mt19937 rng(std::random_device{}());
  PatchLayout usual, odd_norm, small, tall;
  for (int c = 0; c < 3; ++c)
    odd_norm.mean[c] = 0.48145466f - 0.03f * float(c), odd_norm.std[c] = 0.26862954f + 0.01f * float(c);
  small.patch = 14;
  tall.temporal = 3, tall.merge = 1;
  for (const PatchLayout& layout : {usual, odd_norm, small, tall})
    for (size_t count : {size_t(1), size_t(2), size_t(3), size_t(5)}) {
      const int w = layout.factor() * (1 + int(rng() % 4)), h = layout.factor() * (1 + int(rng() % 3));
      std::vector<Image> images;
      std::vector<const Image*> frames;
      for (size_t i = 0; i < count; ++i) images.push_back(random_image(rng, w, h));
      for (Image& i : images) frames.push_back(&i);
      for (DType dtype : {DType::f32, DType::bf16}) {
        PatchBuffer expected, out;
        Grid grid = patchify_reference(frames, layout, dtype, expected);
        EXPECT_EQ(patchify(frames, layout, dtype, out), grid);
        EXPECT_EQ(std::memcmp(out.data(), expected.data(), expected.bytes()), 0);
        for (const pixel::Kernels* k : pixel::supported_kernels())
          for (bool stream : {false, true}) {
            patchify_with(frames, layout, dtype, stream, *k, out);
            ASSERT_EQ(out.bytes(), expected.bytes());
            EXPECT_EQ(std::memcmp(out.data(), expected.data(), expected.bytes()), 0)
                << k->name << " " << dtype_name(dtype) << " patch " << layout.patch << " frames " << count;
          }
      }
    }
}

TEST(Patchify, NormalisationOfAllBytes) {
  pixel::NormTable table{PatchLayout{}};
  EXPECT_TRUE(table.kernels_exact);
  EXPECT_EQ(table.exact[0], -1.0f);
  EXPECT_EQ(table.exact[255], 1.0f);
  EXPECT_EQ(table.exact[128], 0.003921569f);
}

TEST(Preprocess, HashFollowsPixelsAndSize) {
  std::mt19937 rng(11);
  Image image = random_image(rng, 320, 256);
  auto hash = [&](const Image& i, const ImageOverrides& o = {}) { return preprocess_image(i, {}, o).hash; };
  ContentHash base = hash(image);
  EXPECT_EQ(base, hash(image.clone()));
  EXPECT_EQ(base, hash(image, {.dtype = DType::bf16}));
  EXPECT_FALSE(base == hash(image, {.max_pixels = 40000}));
  Image other = image.clone();
  other.rgb[1000] ^= 1;
  EXPECT_FALSE(base == hash(other));
}

TEST(Preprocess, Overrides) {
  std::mt19937 rng(5);
  Image image = random_image(rng, 640, 480);
  ImageInput input = preprocess_image(image, {}, {.min_pixels = {}, .max_pixels = 128 * 128});
  EXPECT_LE(input.resized.height * input.resized.width, 128 * 128);
  EXPECT_EQ(input.original, (Size{480, 640}));
  input = preprocess_image(image, {}, {.min_pixels = 2000 * 2000});
  EXPECT_GE(input.resized.height * input.resized.width, 2000 * 2000);
  EXPECT_THROW(preprocess_image(image, {}, {.min_pixels = 100, .max_pixels = 50}), Error);
  ImageSettings fixed;
  fixed.do_resize = false;
  EXPECT_EQ(preprocess_image(image, fixed).resized, (Size{480, 640}));
  EXPECT_THROW(preprocess_image(random_image(rng, 639, 480), fixed), Error);
}

TEST(Preprocess, JoinKeepsOrder) {
  std::mt19937 rng(6);
  ImageInput a = preprocess_image(random_image(rng, 256, 256), {}),
             b = preprocess_image(random_image(rng, 320, 256), {});
  const ImageInput* both[] = {&a, &b};
  PixelBatch batch = join(both);
  ASSERT_EQ(batch.grids.size(), 2u);
  EXPECT_EQ(batch.patches.rows(), a.grid.patches() + b.grid.patches());
  const char* data = static_cast<const char*>(batch.patches.data());
  EXPECT_EQ(std::memcmp(data, a.patches.data(), a.patches.bytes()), 0);
  EXPECT_EQ(std::memcmp(data + a.patches.bytes(), b.patches.data(), b.patches.bytes()), 0);
}

}  // namespace
}  // namespace vl8
