// Pictures or a clip as the reference's processor gives them to the model, in a file that other programs can
// read.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "media/resize.h"

namespace vl8 {

struct DumpPixelsArguments {
  std::filesystem::path model;  // folder; only the processor's settings are read
  std::filesystem::path out;
  std::vector<std::filesystem::path> images;
  std::filesystem::path video;  // a video file or a folder of frames; empty: none
  std::optional<double> source_fps, fps;
  std::optional<int64_t> num_frames, max_frames, min_pixels, max_pixels;
  std::string clip;  // part of the clip, as in parse_clip_part; empty: all of it
  std::optional<bool> cap;
  std::optional<ResizePath> resize;
};

// Writes pixel_values [N, columns] F32 and image_grid_thw [images, 3] I64 for the pictures, in their order,
// and pixel_values_videos and video_grid_thw for the clip. Returns {"frames_indices", "timestamps",
// "rendered"} as one line of JSON for a clip, else "".
std::string dump_pixels(const DumpPixelsArguments& arguments);

CommandBody setup_dump_pixels(CLI::App& app, std::shared_ptr<DumpPixelsArguments> arguments);

}  // namespace vl8
