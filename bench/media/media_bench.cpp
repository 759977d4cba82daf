// Times of the way from a JPEG to patches on one core, stage by stage, against its floor: what libjpeg-turbo
// alone needs for the pixels plus what the memory needs to take the patches.
//   bench_media [PICTURE [WIDTH HEIGHT]]    default: a photo of the fixtures as 1920x1080, quality 90, 4:2:0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>

#include "core/error.h"
#include "media/encoders.h"
#include "media/isa.h"
#include "media/processor.h"
#include "media/strips.h"
#include "support/paths.h"

namespace vl8 {
namespace {

struct Times {
  double best_ms, median_ms;
};
template <typename F>
Times measure(F f) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> ms;
  const auto begin = Clock::now();
  while (ms.size() < 5 || (ms.size() < 60 && Clock::now() - begin < std::chrono::milliseconds(1200))) {
    auto start = Clock::now();
    f();
    ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::sort(ms.begin(), ms.end());
  return {ms.front(), ms[ms.size() / 2]};
}

void row(const char* what, Times t, double floor_ms = 0) {
  fmt::print("{:<46} {:>8.2f} {:>8.2f}", what, t.best_ms, t.median_ms);
  if (floor_ms > 0) fmt::print(" {:>7.0f} %", 100 * floor_ms / t.best_ms);
  fmt::print("\n");
}

Image synthetic(int width, int height) {  // smooth shapes with fine grain: near the bits per pixel of a photo
  std::mt19937 rng(1);
  Image image(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c) {
        double v = 128 + 60 * std::sin(x * 0.011 + c) * std::cos(y * 0.017) +
                   30 * std::sin(x * y * 0.00003 * (c + 1));
        image.row(y)[3 * x + c] = uint8_t(std::clamp(v + double(rng() % 17) - 8, 0.0, 255.0));
      }
  return image;
}

Image source_picture(int argc, char** argv, Size size) {
  Image image;
  if (argc > 1) {
    image = load_image(argv[1]);
  } else if (auto shared = testing::shared_dir()) {
    image = load_image(*shared / "fixtures/exif_orientation/Landscape_6.jpg");
  } else {
    return synthetic(int(size.width), int(size.height));
  }
  return resize(image, size);
}

// All rows of a JPEG, into a buffer that stays in the cache.
void decode_only(const std::string& file) {
  const Limits limits;
  codec::Input in{std::as_bytes(std::span(file)), "bench", limits};
  codec::JpegReader reader(in);
  reader.start();
  std::vector<uint8_t> rows(size_t(reader.width()) * 3 * 16);
  while (reader.read(rows.data(), size_t(reader.width()) * 3, 16) > 0) {
  }
}

void resize_only(const Image& image, Size to, ResizePath path) {
  pixel::ImageRows rows(image);
  pixel::RowResizer resizer({image.height, image.width}, to, path, pixel::kernels());
  std::vector<uint8_t> strip(size_t(to.width) * 3 * 32);
  for (int64_t done = 0; done < to.height;) {
    done += resizer.pull(strip.data(), size_t(to.width) * 3, int(std::min<int64_t>(32, to.height - done)));
    if (done < to.height && resizer.wants_rows()) rows.feed(resizer);
  }
}

void bench_way(const std::string& file, DType dtype) {
  const auto data = std::as_bytes(std::span(file));
  ImageInput reused;
  const ImageOverrides o{.dtype = dtype};
  preprocess_encoded(data, "bench", {}, o, {}, reused);
  const Image image = decode_image(data, "bench");
  std::vector<char> from(reused.patches.bytes());
  const Times decode = measure([&] { decode_only(file); });
  const Times write = measure([&] { std::memset(reused.patches.data(), 7, reused.patches.bytes()); });
  const double floor_ms = decode.best_ms + write.best_ms;
  fmt::print("\npatches as {}: {} rows of {}, {:.1f} MB; {}\n", dtype_name(dtype), reused.patches.rows(),
             reused.patches.columns(), double(reused.patches.bytes()) / 1e6, pixel::kernels().name);
  fmt::print("{:<46} {:>8} {:>8} {:>9}\n", "stage", "best ms", "median", "of floor");
  row("decode alone, rows dropped (floor)", decode);
  row("filling the patches by memset (floor)", write);
  row("copying as many bytes (memcpy)",
      measure([&] { std::memcpy(reused.patches.data(), from.data(), from.size()); }));
  row("resize alone, torchvision",
      measure([&] { resize_only(image, reused.resized, ResizePath::torchvision); }));
  row("resize alone, pil", measure([&] { resize_only(image, reused.resized, ResizePath::pil); }));
  row("pixels to patches (resize, patches, hash)", measure([&] { preprocess_image(image, {}, o, reused); }));
  row("JPEG to patches, memory kept", measure([&] { preprocess_encoded(data, "bench", {}, o, {}, reused); }),
      floor_ms);
  row("JPEG to patches, fresh memory", measure([&] { preprocess_encoded(data, "bench", {}, o); }), floor_ms);
}

void bench_resize(const Image& image) {
  fmt::print("\nresize of {}x{}, ms\n{:<14}", image.width, image.height, "to");
  for (const char* head : {"plain", "scalar", "avx2", "avx512"}) fmt::print("{:>10}", head);
  fmt::print("{:>14}\n", "path");
  for (Size to : {Size{576, 1024}, Size{320, 448}, Size{1088, 1920}, Size{1440, 2560}})
    for (ResizePath path : {ResizePath::torchvision, ResizePath::pil}) {
      fmt::print("{:<14}", fmt::format("{}x{}", to.width, to.height));
      fmt::print("{:>10.1f}", measure([&] { resize_reference(image, to, path); }).best_ms);
      for (const pixel::Kernels* k : pixel::supported_kernels()) {
        Image out(int(to.width), int(to.height));
        fmt::print("{:>10.2f}", measure([&] {
                                  pixel::ImageRows rows(image);
                                  pixel::RowResizer r({image.height, image.width}, to, path, *k);
                                  for (int done = 0; done < out.height;) {
                                    done += r.pull(out.row(done), out.stride(), out.height - done);
                                    if (done < out.height) rows.feed(r);
                                  }
                                }).best_ms);
      }
      fmt::print("{:>14}\n", resize_path_name(path));
    }
}

}  // namespace
}  // namespace vl8

int main(int argc, char** argv) {
  using namespace vl8;
  try {
    Size size{argc > 3 ? std::atoi(argv[3]) : 1080, argc > 3 ? std::atoi(argv[2]) : 1920};
    Image image = source_picture(argc, argv, size);
    std::string file = testing::encode_jpeg(image, {.quality = 90});
    fmt::print("JPEG {}x{}, quality 90, 4:2:0, {} bytes = {:.2f} bits per pixel, one thread\n", image.width,
               image.height, file.size(), double(file.size()) * 8 / (double(image.width) * image.height));
    bench_way(file, DType::bf16);
    bench_way(file, DType::f32);
    bench_resize(image);
  } catch (const Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
