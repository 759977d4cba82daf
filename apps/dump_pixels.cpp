#include "dump_pixels.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/safetensors.h"
#include "media/processor.h"
#include "media/video.h"

namespace vl8 {
namespace {

using Tensors = std::vector<std::pair<std::string, Tensor>>;

struct Pictures {
  PixelBatch batch;
  std::vector<int64_t> grids;
};

Pictures read_pictures(const DumpPixelsArguments& a, const ImageSettings& settings) {
  const ImageOverrides overrides{a.min_pixels, a.max_pixels, a.resize, DType::f32};
  std::vector<ImageInput> inputs;
  for (const auto& path : a.images) {
    std::string file = read_image_file(path);
    inputs.push_back(preprocess_encoded(std::as_bytes(std::span(file)), path.string(), settings, overrides));
  }
  std::vector<const ImageInput*> list;
  for (const ImageInput& i : inputs) list.push_back(&i);
  Pictures p{join(list), {}};
  for (const Grid& g : p.batch.grids) p.grids.insert(p.grids.end(), {g.t, g.h, g.w});
  return p;
}

VideoInput read_clip(const DumpPixelsArguments& a, const VideoSettings& settings) {
  auto source = open_clip(a.video, a.source_fps);
  VideoOverrides o;
  o.fps = a.fps, o.num_frames = a.num_frames, o.cap_pixels_per_frame = a.cap;
  o.min_pixels = a.min_pixels, o.max_pixels = a.max_pixels, o.path = a.resize;
  o.max_frames = a.max_frames;
  if (!a.clip.empty()) o.part = parse_clip_part(a.clip);
  return preprocess_frames(*source, settings, o);
}

std::string clip_json(const VideoInput& clip) {
  nlohmann::ordered_json json;
  json["frames_indices"] = clip.frames_indices;
  json["timestamps"] = clip.timestamps;
  json["rendered"] = clip.stamps;
  return json.dump();
}

}  // namespace

std::string dump_pixels(const DumpPixelsArguments& a) {
  if (a.images.empty() && a.video.empty())
    fail_usage("no pictures to dump: name image files, or a folder of frames with --video");
  if (a.out.empty()) fail_usage("--out is missing: the safetensors file to write");
  const ProcessorConfig config = ProcessorConfig::load(a.model);
  Tensors tensors;
  Pictures pictures;
  VideoInput clip;
  int64_t clip_grid[3] = {};
  if (!a.images.empty()) {
    pictures = read_pictures(a, config.image);
    tensors.push_back({"pixel_values", pictures.batch.patches.tensor()});
    tensors.push_back({"image_grid_thw", {pictures.grids.data(), DType::i64, {int64_t(a.images.size()), 3}}});
  }
  if (!a.video.empty()) {
    clip = read_clip(a, config.video);
    clip_grid[0] = clip.grid.t, clip_grid[1] = clip.grid.h, clip_grid[2] = clip.grid.w;
    tensors.push_back({"pixel_values_videos", clip.patches.tensor()});
    tensors.push_back({"video_grid_thw", {clip_grid, DType::i64, {1, 3}}});
  }
  write_safetensors(a.out, tensors);
  return a.video.empty() ? "" : clip_json(clip);
}

}  // namespace vl8
