#include "sparse/frame_gate.h"

#include "core/error.h"
#include "sparse/select.h"

namespace vl8 {

void FrameGateSettings::validate() const {
  if (!(open_share > 0 && open_share <= 1)) fail_usage("open_share {}: above 0 and at most 1", open_share);
  if (!(close_share >= 0 && close_share <= open_share)) fail_usage("close_share {}: from 0 to open_share ({})", close_share, open_share);
  if (!(feature_distance >= 0 && feature_distance <= 2)) fail_usage("feature_distance {}: from 0 to 2", feature_distance);
  if (!(refresh_s >= 0)) fail_usage("refresh_s {}: 0 or more seconds", refresh_s);
  if (quiet_frames < 1) fail_usage("quiet_frames {}: at least 1", quiet_frames);
}

FrameGate::FrameGate(const FrameGateSettings& settings) { set(settings); }

void FrameGate::set(const FrameGateSettings& settings) {
  settings.validate();
  settings_ = settings;
}

FrameVerdict FrameGate::judge(std::span<const float> change, double time_s) {
  int64_t changed = 0;
  for (float c : change) changed += c >= kChangedLevels;
  novelty_ = change.empty() ? 1.0 : double(changed) / double(change.size());
  if (first_ || (settings_.refresh_s > 0 && time_s - last_full_s_ >= settings_.refresh_s)) {
    first_ = false, last_full_s_ = time_s, calm_ = 0;
    return FrameVerdict::refresh;
  }
  if (novelty_ >= settings_.open_share) busy_ = true, calm_ = 0;
  else if (busy_ && novelty_ < settings_.close_share && ++calm_ >= settings_.quiet_frames) busy_ = false;
  return busy_ ? FrameVerdict::look : FrameVerdict::reuse;
}

void FrameGate::looked(double feature_distance) {
  if (feature_distance >= settings_.feature_distance) busy_ = true, calm_ = 0;
  else if (busy_ && novelty_ < settings_.close_share) busy_ = ++calm_ < settings_.quiet_frames;
}

}  // namespace vl8
