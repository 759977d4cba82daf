// Target sizes (spec 5.1, 5.6) and the two resamplers of the reference processors (spec 5.2), bit for bit.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "media/image.h"

namespace vl8 {

struct Size {
  int64_t height = 0, width = 0;
  bool operator==(const Size&) const = default;
};

// Pixel-count limits ("edge" in the JSON files is a misnomer). For clips: frames * height * width.
struct PixelBudget {
  int64_t min_pixels = 65536, max_pixels = 16777216;
};

// Spec 5.1. `factor` = patch * merge. Error(input) when the longer side is more than 200 times the shorter.
Size smart_resize(Size size, int64_t factor, const PixelBudget& budget);

// Spec 5.6; the reference changed between releases. a = transformers 4.57, b = 5.0 previews, c = 5.10 and
// later.
enum class ClipRule { a, b, c };
Size smart_resize_clip(int64_t frames, Size size, int64_t factor, int64_t temporal_factor,
                       const PixelBudget& budget, ClipRule rule = ClipRule::c);

// The cap on each frame that qwen-vl-utils has and transformers calls cap_pixels_per_frame: a frame may have
// max_video_tokens * factor^2 pixels or an even share of the clip's budget, whichever is less, but not less
// than 1.05 times the smallest clip. Returns the budget with max_pixels = that * frames.
PixelBudget cap_per_frame(PixelBudget budget, int64_t frames, int64_t factor, int64_t max_video_tokens = 768);

// Bicubic with antialias, a = -0.5, uint8 between the passes, horizontal first, an unchanged axis skipped.
enum class ResizePath {
  torchvision,  // int16 weights with as many fraction bits as the largest weight allows: the published
                // processor
  pil,          // 22 fraction bits
};
std::string_view resize_path_name(ResizePath path);       // "torchvision", "pil"
ResizePath resize_path_from_name(std::string_view name);  // Error(usage) lists the names

Image resize(const Image& image, Size to, ResizePath path = ResizePath::torchvision);
// The plain loop that defines the result; used by tests.
Image resize_reference(const Image& image, Size to, ResizePath path);

}  // namespace vl8
