// From a picture or a list of frames to what the vision tower eats, by the settings of a model folder.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "media/frames.h"
#include "media/image.h"
#include "media/patchify.h"
#include "media/resize.h"

namespace vl8 {

struct ImageSettings {
  PatchLayout layout;
  PixelBudget budget{65536, 16777216};
  ResizePath path = ResizePath::torchvision;
  bool do_resize = true;  // false: sizes must already be multiples of patch * merge
};

struct VideoSettings {
  PatchLayout layout;
  PixelBudget budget{4096, 25165824};
  ResizePath path = ResizePath::torchvision;
  bool do_resize = true, do_sample_frames = true;
  double fps = 2;                     // frames taken per second of the source
  std::optional<int64_t> num_frames;  // when set it wins over fps
  int64_t min_frames = 4, max_frames = 768;
  bool cap_pixels_per_frame = true;
  int64_t max_video_tokens = 768;  // per frame, for the cap
  ClipRule rule = ClipRule::c;
};

struct ProcessorConfig {
  ImageSettings image;
  VideoSettings video;

  // Reads preprocessor_config.json and video_preprocessor_config.json (or the one processor_config.json that
  // newer releases write, whose sections win). A missing file means the published values (spec 1.6) and a
  // line in the log. Error(input | unsupported) names the file and the field.
  static ProcessorConfig load(const std::filesystem::path& model_folder);
};

struct ContentHash {  // XXH3, 128 bits, over the resized pixels, the grid and the normalisation
  uint64_t low = 0, high = 0;
  bool operator==(const ContentHash&) const = default;
};
ContentHash hash_bytes(std::span<const std::byte> data);  // of an encoded file: to find it before decoding

struct ImageOverrides {
  std::optional<int64_t> min_pixels, max_pixels;
  std::optional<ResizePath> path;
  DType dtype = DType::f32;  // of the patches: f32 or bf16
};

struct ImageInput {
  PatchBuffer patches;  // [grid.patches(), layout.columns()]
  Grid grid;            // t = 1
  Size original;        // upright pixels of the picture
  Size resized;
  ContentHash hash;
};

// The second forms reuse the memory of `out`. preprocess_encoded gives bit for bit what decode_image followed
// by preprocess_image gives; a JPEG goes through in strips, so that pixels stay in the cache.
ImageInput preprocess_image(const Image& image, const ImageSettings& settings,
                            const ImageOverrides& overrides = {});
void preprocess_image(const Image& image, const ImageSettings& settings, const ImageOverrides& overrides,
                      ImageInput& out);
ImageInput preprocess_encoded(std::span<const std::byte> data, std::string_view name,
                              const ImageSettings& settings, const ImageOverrides& overrides = {},
                              const Limits& limits = {});
void preprocess_encoded(std::span<const std::byte> data, std::string_view name, const ImageSettings& settings,
                        const ImageOverrides& overrides, const Limits& limits, ImageInput& out);

// Size after the resize, without touching pixels: what a picture will cost.
Size resized_size(Size original, const ImageSettings& settings, const ImageOverrides& overrides = {});

struct ClipPart {
  double begin_s = 0, end_s = 0;  // both included
};

// fps, num_frames and max_frames may be given together; FrameSampling (media/frames.h) has the precedence.
struct VideoOverrides {
  std::optional<double> fps;          // target rate
  std::optional<int64_t> num_frames;  // wins over fps
  std::optional<int64_t> max_frames;  // caps both
  // Only the frames of this part, at kPartFps unless a rate or number is given. Timestamps stay those of the whole clip.
  std::optional<ClipPart> part;
  std::optional<bool> cap_pixels_per_frame;
  std::optional<int64_t> min_pixels, max_pixels;  // of the whole clip
  std::optional<ResizePath> path;
  DType dtype = DType::f32;
};

inline constexpr double kPartFps = 4;  // of a part of a clip: twice the default rate of a whole one

struct VideoInput {
  PatchBuffer patches;  // [grid.patches(), layout.columns()]
  Grid grid;            // t = temporal groups
  Size original, resized;
  std::vector<int64_t>
      frames_indices;               // source frames taken, padded with the last to a whole number of groups
  std::vector<double> timestamps;   // seconds, one per group: the mean of its first and last frame
  std::vector<std::string> stamps;  // "<0.3 seconds>", one per group
  ContentHash hash;                 // pixels only: stamps are text
};

// "40-50" or "45" (two seconds to either side) as a part. Error(usage) shows the form.
ClipPart parse_clip_part(const std::string& text);

// Error(input) when frames differ in size (names the frame) or there are none.
VideoInput preprocess_frames(FrameSource& source, const VideoSettings& settings,
                             const VideoOverrides& overrides = {});

struct PixelBatch {
  PatchBuffer patches;      // [N, columns]
  std::vector<Grid> grids;  // N = sum of their patches
};
PixelBatch join(std::span<const ImageInput* const> images);  // all of one dtype

}  // namespace vl8
