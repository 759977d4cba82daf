// Pictures and clips to patches: target size, then strips (strips.h).
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "media/processor.h"
#include "media/strips.h"

namespace vl8 {
namespace {

// Above this many bytes patches go around the cache: they would push everything else out and be gone before
// use.
constexpr size_t kStreamBytes = size_t(8) << 20;

// Mixed into the hash in front of the pixels.
struct HashHead {
  int64_t t, h, w;
  int32_t patch, temporal, merge, reserved;
  float mean[3], std[3];
};

void begin_hash(pixel::Hasher& hash, const Grid& grid, const PatchLayout& layout) {
  HashHead head{grid.t, grid.h, grid.w, layout.patch, layout.temporal, layout.merge, 0, {}, {}};
  std::copy(layout.mean, layout.mean + 3, head.mean);
  std::copy(layout.std, layout.std + 3, head.std);
  hash.add(&head, sizeof head);
}

ContentHash end_hash(const pixel::Hasher& hash) {
  XXH128_hash_t h = XXH3_128bits_digest(hash.state.get());
  return {h.low64, h.high64};
}

PixelBudget with_overrides(PixelBudget budget, std::optional<int64_t> min_pixels,
                           std::optional<int64_t> max_pixels) {
  // One limit given alone moves the other out of its way.
  if (min_pixels) budget.min_pixels = *min_pixels;
  if (max_pixels) budget.max_pixels = *max_pixels;
  if (max_pixels && !min_pixels) budget.min_pixels = std::min(budget.min_pixels, budget.max_pixels);
  if (min_pixels && !max_pixels) budget.max_pixels = std::max(budget.min_pixels, budget.max_pixels);
  return budget;
}

void check_whole_blocks(Size size, const PatchLayout& layout) {
  if (size.height % layout.factor() || size.width % layout.factor())
    fail_input("{}x{} pixels: with do_resize false both sides must be multiples of {}", size.width,
               size.height, layout.factor());
}

void run_image(pixel::RowSource& source, Size from, const ImageSettings& settings,
               const ImageOverrides& overrides, ImageInput& out) {
  const PatchLayout& layout = settings.layout;
  out.original = from;
  out.resized = resized_size(from, settings, overrides);
  out.grid = {1, out.resized.height / layout.patch, out.resized.width / layout.patch};
  out.patches.reset(overrides.dtype, out.grid.patches(), layout.columns());
  const pixel::NormTable norm(layout);
  pixel::StripTarget target{layout,
                            norm,
                            overrides.dtype,
                            out.patches.data(),
                            {0, layout.temporal},
                            out.patches.bytes() > kStreamBytes};
  pixel::Hasher hash;
  begin_hash(hash, out.grid, layout);
  pixel::run_strips(source, from, out.resized, overrides.path.value_or(settings.path), target, &hash,
                    pixel::kernels());
  out.hash = end_hash(hash);
}

}  // namespace

ContentHash hash_bytes(std::span<const std::byte> data) {
  XXH128_hash_t h = XXH3_128bits(data.data(), data.size());
  return {h.low64, h.high64};
}

Size resized_size(Size original, const ImageSettings& settings, const ImageOverrides& overrides) {
  if (!settings.do_resize) {
    check_whole_blocks(original, settings.layout);
    return original;
  }
  return smart_resize(original, settings.layout.factor(),
                      with_overrides(settings.budget, overrides.min_pixels, overrides.max_pixels));
}

void preprocess_image(const Image& image, const ImageSettings& settings, const ImageOverrides& overrides,
                      ImageInput& out) {
  pixel::ImageRows rows(image);
  run_image(rows, {image.height, image.width}, settings, overrides, out);
}

ImageInput preprocess_image(const Image& image, const ImageSettings& settings,
                            const ImageOverrides& overrides) {
  ImageInput out;
  preprocess_image(image, settings, overrides, out);
  return out;
}

void preprocess_encoded(std::span<const std::byte> data, std::string_view name, const ImageSettings& settings,
                        const ImageOverrides& overrides, const Limits& limits, ImageInput& out) {
  ImageInfo info = probe_image(data, name, limits);
  if (info.format != ImageFormat::jpeg || info.orientation != 1)
    return preprocess_image(decode_image(data, name, limits), settings, overrides, out);
  codec::Input in{data, name, limits};
  codec::JpegReader reader(in);
  reader.start();
  pixel::JpegRows rows(reader);
  run_image(rows, {reader.height(), reader.width()}, settings, overrides, out);
}

ImageInput preprocess_encoded(std::span<const std::byte> data, std::string_view name,
                              const ImageSettings& settings, const ImageOverrides& overrides,
                              const Limits& limits) {
  ImageInput out;
  preprocess_encoded(data, name, settings, overrides, limits, out);
  return out;
}

namespace {

Size clip_size(int64_t frames, Size original, const VideoSettings& s, const VideoOverrides& o) {
  if (!s.do_resize) {
    check_whole_blocks(original, s.layout);
    return original;
  }
  PixelBudget budget = with_overrides(s.budget, o.min_pixels, o.max_pixels);
  if (o.cap_pixels_per_frame.value_or(s.cap_pixels_per_frame))
    budget = cap_per_frame(budget, frames, s.layout.factor(), s.max_video_tokens);
  return smart_resize_clip(frames, original, s.layout.factor(), s.layout.temporal, budget, s.rule);
}

std::vector<int64_t> choose_frames(const FrameSource& source, double source_fps, const VideoSettings& s,
                                   const VideoOverrides& o) {
  const FrameRange range = o.part ? frames_between(source, o.part->begin_s, o.part->end_s) : FrameRange{0, source.count()};
  const bool asked = o.fps || o.num_frames || o.max_frames || o.part;
  std::vector<int64_t> chosen;
  if (s.do_sample_frames || asked) {
    const double fps = o.fps.value_or(o.part ? std::max(kPartFps, s.fps) : s.fps);
    FrameSampling sampling{fps, o.num_frames, s.min_frames, o.max_frames.value_or(s.max_frames), o.max_frames.has_value()};
    if (!asked) sampling.num_frames = s.num_frames;
    chosen = sample_frames(range.end - range.first, source_fps, sampling);
  } else {
    chosen.resize(size_t(range.end - range.first));
    for (size_t i = 0; i < chosen.size(); ++i) chosen[i] = int64_t(i);
  }
  for (int64_t& i : chosen) i += range.first;
  return chosen;
}

}  // namespace

ClipPart parse_clip_part(const std::string& text) {
  auto number = [&](const std::string& part) {
    char* end = nullptr;
    const double v = std::strtod(part.c_str(), &end);
    if (part.empty() || *end || !(v >= 0 && v < 1e9))
      fail_usage("'{}' is no part of a clip: write two seconds, as in 40-50, or one, as in 45", text);
    return v;
  };
  const size_t dash = text.find('-');
  if (dash == std::string::npos) return {std::max(0.0, number(text) - 2), number(text) + 2};
  const ClipPart part{number(text.substr(0, dash)), number(text.substr(dash + 1))};
  if (part.end_s < part.begin_s) fail_usage("the part {} ends before it begins", text);
  return part;
}

VideoInput preprocess_frames(FrameSource& source, const VideoSettings& settings,
                             const VideoOverrides& overrides) {
  if (source.count() < 1) fail_input("{}: no frames", source.name());
  const double source_fps = source.fps().value_or(kDefaultSourceFps);
  const PatchLayout& layout = settings.layout;
  VideoInput out;
  out.frames_indices = choose_frames(source, source_fps, settings, overrides);
  const std::vector<int64_t> taken = out.frames_indices;
  out.timestamps = group_timestamps(out.frames_indices, layout.temporal, [&](int64_t i) { return source.time(i); });
  for (double t : out.timestamps) out.stamps.push_back(stamp_text(t));

  const pixel::NormTable norm(layout);
  pixel::Hasher hash;
  Image frame;
  size_t group_bytes = 0;
  for (size_t i = 0; i < taken.size(); ++i) {
    if (i == 0 || taken[i] != taken[i - 1]) frame = source.frame(taken[i]);
    const Size size{frame.height, frame.width};
    if (i == 0) {
      out.original = size;
      out.resized = clip_size(int64_t(taken.size()), size, settings, overrides);
      out.grid = {int64_t(out.timestamps.size()), out.resized.height / layout.patch,
                  out.resized.width / layout.patch};
      out.patches.reset(overrides.dtype, out.grid.patches(), layout.columns());
      group_bytes = out.patches.bytes() / size_t(out.grid.t);
      begin_hash(hash, out.grid, layout);
    }
    if (size != out.original)
      fail_input("{}: {}x{} pixels, but the first frame has {}x{}; all frames of a clip must have one size",
                 source.frame_name(taken[i]), size.width, size.height, out.original.width,
                 out.original.height);
    const int slot = int(i % size_t(layout.temporal));
    const bool last = i + 1 == taken.size();
    pixel::StripTarget target{
        layout,
        norm,
        overrides.dtype,
        static_cast<char*>(out.patches.data()) + i / size_t(layout.temporal) * group_bytes,
        {slot, last ? layout.temporal : slot + 1},
        out.patches.bytes() > kStreamBytes};
    pixel::ImageRows rows(frame);
    pixel::run_strips(rows, size, out.resized, overrides.path.value_or(settings.path), target, &hash,
                      pixel::kernels());
  }
  out.hash = end_hash(hash);
  return out;
}

PixelBatch join(std::span<const ImageInput* const> images) {
  check(!images.empty(), "no pictures to join");
  const PatchBuffer& first = images[0]->patches;
  PixelBatch batch;
  int64_t rows = 0;
  for (const ImageInput* i : images) {
    check(i->patches.dtype() == first.dtype() && i->patches.columns() == first.columns(),
          "pictures of {} and {}", dtype_name(i->patches.dtype()), dtype_name(first.dtype()));
    batch.grids.push_back(i->grid);
    rows += i->grid.patches();
  }
  batch.patches.reset(first.dtype(), rows, first.columns());
  char* to = static_cast<char*>(batch.patches.data());
  for (const ImageInput* i : images) {
    std::memcpy(to, i->patches.data(), i->patches.bytes());
    to += i->patches.bytes();
  }
  return batch;
}

}  // namespace vl8
