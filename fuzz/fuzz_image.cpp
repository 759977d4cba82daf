// Every picture decoder, by the signature of the bytes, under small limits.
#include "fuzz.h"
#include "media/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vl8;
  return fuzz::answer([&] {
    Limits limits;
    limits.max_pixels = 1 << 18;
    limits.max_bytes = 1 << 20;
    const auto bytes = std::as_bytes(std::span(data, size));
    const ImageInfo info = probe_image(bytes, "fuzz", limits);
    DecodeOptions options;
    options.apply_orientation = size % 2;
    options.alpha_on_white = size % 3;
    const Image image = decode_image(bytes, "fuzz", limits, options);
    if (image.width <= 0 || image.height <= 0 || int64_t(image.width) * image.height > limits.max_pixels) std::abort();
    const bool turned = options.apply_orientation && info.orientation >= 5;
    if (image.width != (turned ? info.height : info.width)) std::abort();
  });
}
