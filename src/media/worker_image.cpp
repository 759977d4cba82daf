#include "media/worker_image.h"

#include <cstring>

#include "core/error.h"

namespace vl8::worker {

nlohmann::json image_head(const Image& i) {
  return {{"width", i.width}, {"height", i.height}, {"stored_width", i.stored_width}, {"stored_height", i.stored_height},
          {"orientation", i.orientation}};
}

Image image_from_reply(const Worker::Reply& r, std::string_view name) {
  auto number = [&](const char* key) {
    auto it = r.head.find(key);
    int64_t v = it != r.head.end() && it->is_number_integer() ? it->get<int64_t>() : 0;
    if (v < 1 || v > (1 << 24)) fail_input("{}: the decoder gave a picture without a sound {}", name, key);
    return int(v);
  };
  const int width = number("width"), height = number("height");
  if (r.bytes.size() != size_t(width) * size_t(height) * 3)
    fail_input("{}: the decoder gave {} bytes for {}x{} pixels", name, r.bytes.size(), width, height);
  Image image(width, height);
  image.stored_width = number("stored_width"), image.stored_height = number("stored_height");
  image.orientation = number("orientation");
  std::memcpy(image.rgb.get(), r.bytes.data(), r.bytes.size());
  return image;
}

}  // namespace vl8::worker
