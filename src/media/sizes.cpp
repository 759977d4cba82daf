// Target sizes: spec 5.1 and 5.6, in float64 as the reference computes them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "media/resize.h"

namespace vl8 {
namespace {

constexpr double kMaxAspect = 200;
constexpr int64_t kMaxSide = int64_t(1) << 24;  // keeps every product below far from overflow
constexpr int64_t kMaxFrames = int64_t(1) << 24;

double round_half_even(double x) {
  double down = std::floor(x), rest = x - down;
  if (rest != 0.5) return rest < 0.5 ? down : down + 1;
  return std::fmod(down, 2) == 0 ? down : down + 1;
}

int64_t nearest_multiple(int64_t n, int64_t factor) {
  return int64_t(round_half_even(double(n) / double(factor))) * factor;
}

void check_arguments(Size size, int64_t factor, const PixelBudget& budget) {
  check(factor > 0 && factor <= 4096, "resize factor {}", factor);
  check(size.height > 0 && size.width > 0 && size.height <= kMaxSide && size.width <= kMaxSide, "size {}x{}",
        size.height, size.width);
  if (budget.min_pixels < 0 || budget.max_pixels <= 0 || budget.min_pixels > budget.max_pixels)
    fail_usage("pixel limits: min_pixels {} and max_pixels {} must be 0 <= min <= max", budget.min_pixels,
               budget.max_pixels);
}

void check_aspect(Size size) {
  double ratio = double(std::max(size.height, size.width)) / double(std::min(size.height, size.width));
  if (ratio > kMaxAspect)
    fail_input("{}x{} pixels: one side is more than {} times the other, the model's limit: crop it first",
               size.width, size.height, kMaxAspect);
}

Size round_size(Size size, int64_t factor) {
  return {nearest_multiple(size.height, factor), nearest_multiple(size.width, factor)};
}

// Both sides divided by beta and rounded down, but at least one factor.
Size shrink(Size size, double beta, int64_t factor) {
  auto side = [&](int64_t n) {
    return std::max(factor, int64_t(std::floor(double(n) / beta / double(factor))) * factor);
  };
  return {side(size.height), side(size.width)};
}
Size grow(Size size, double beta, int64_t factor) {
  auto side = [&](int64_t n) { return int64_t(std::ceil(double(n) * beta / double(factor))) * factor; };
  return {side(size.height), side(size.width)};
}

// frames_rounded decides whether the clip is in the budget, `frames` by how much it is scaled.
Size fit(int64_t frames, int64_t frames_rounded, Size size, int64_t factor, const PixelBudget& budget) {
  Size to = round_size(size, factor);
  const double pixels = double(frames) * double(size.height) * double(size.width);
  const double rounded = double(frames_rounded) * double(to.height) * double(to.width);
  if (rounded > double(budget.max_pixels))
    return shrink(size, std::sqrt(pixels / double(budget.max_pixels)), factor);
  if (rounded < double(budget.min_pixels))
    return grow(size, std::sqrt(double(budget.min_pixels) / pixels), factor);
  return to;
}

}  // namespace

Size smart_resize(Size size, int64_t factor, const PixelBudget& budget) {
  check_arguments(size, factor, budget);
  check_aspect(size);
  return fit(1, 1, size, factor, budget);
}

Size smart_resize_clip(int64_t frames, Size size, int64_t factor, int64_t temporal_factor,
                       const PixelBudget& budget, ClipRule rule) {
  check_arguments(size, factor, budget);
  check(temporal_factor > 0 && frames > 0 && frames <= kMaxFrames, "{} frames in groups of {}", frames,
        temporal_factor);
  if (rule != ClipRule::b && frames < temporal_factor)
    fail_input("a clip of {} frame(s): the model takes {} frames at a time, give at least {}", frames,
               temporal_factor, temporal_factor);
  if (std::min(size.height, size.width) < factor) {
    if (rule == ClipRule::a)
      fail_input("frames of {}x{} pixels: both sides must have at least {}", size.width, size.height, factor);
    if (rule == ClipRule::c) {
      double scale = std::max(double(factor) / double(size.height), double(factor) / double(size.width));
      size = {int64_t(double(size.height) * scale), int64_t(double(size.width) * scale)};
    }
  }
  check_aspect(size);
  int64_t rounded = rule == ClipRule::b ? (frames + temporal_factor - 1) / temporal_factor * temporal_factor
                                        : nearest_multiple(frames, temporal_factor);
  return fit(frames, rounded, size, factor, budget);
}

PixelBudget cap_per_frame(PixelBudget budget, int64_t frames, int64_t factor, int64_t max_video_tokens) {
  check(frames > 0 && frames <= kMaxFrames && factor > 0 && factor <= 4096, "{} frames, factor {}", frames,
        factor);
  if (max_video_tokens < 1 || max_video_tokens > (int64_t(1) << 30))
    fail_usage("max_video_tokens {}: at least 1 and at most 2^30", max_video_tokens);
  int64_t share = std::min(max_video_tokens * factor * factor, budget.max_pixels / frames);
  int64_t least = int64_t(double(budget.min_pixels) * 1.05);
  budget.max_pixels = std::max(share, least) * frames;
  return budget;
}

std::string_view resize_path_name(ResizePath path) {
  return path == ResizePath::pil ? "pil" : "torchvision";
}

ResizePath resize_path_from_name(std::string_view name) {
  for (ResizePath path : {ResizePath::torchvision, ResizePath::pil})
    if (name == resize_path_name(path)) return path;
  fail_usage("resize path '{}': it is one of torchvision, pil", name);
}

}  // namespace vl8
