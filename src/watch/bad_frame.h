// Frames that must not reach the model: a covered or blinded camera, a picture out of focus, one that stands still, one torn
// by lost packets. Every check is cheap (a grey picture of at most 256 pixels a side) and none needs the model.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "media/image.h"

namespace vl8::watch {

struct BadFrameSettings {
  double dark_level = 16;     // mean grey level below which a flat picture counts as covered
  double flat_spread = 6;     // standard deviation in grey levels below which a picture has nothing in it
  double bright_share = 0.6;  // of pixels at 250 or more: over-exposed
  double blur_ratio = 0.25;   // sharpness against the median of the last good frames; 0: not checked
  double frozen_s = 10;       // the same picture bit for bit for so long; 0: not checked
  double tear_ratio = 12;     // a row's step against the median step, over most of its width, where the last good frame had none
};

enum class FrameFault : uint8_t { none, covered, over_exposed, blurred, frozen, torn };
std::string_view fault_name(FrameFault fault);

// One camera's judge: remembers how sharp its good frames are.
class FrameJudge {
 public:
  explicit FrameJudge(const BadFrameSettings& settings = {}) : settings_(settings) {}
  FrameFault judge(const Image& frame, double time_s);

 private:
  BadFrameSettings settings_;
  std::vector<double> sharpness_;  // of the last good frames
  std::vector<double> steps_;      // from row to row of the last good frame
  uint64_t last_hash_ = 0;
  double same_since_s_ = 0;
  bool any_ = false;
};

}  // namespace vl8::watch
