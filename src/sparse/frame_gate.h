// The frame gate: whether a frame of a stream needs the model at all. Two thresholds (hysteresis) keep it from flickering,
// a forced refresh bounds how old an answer can get, and slow drift adds up because frames are compared with what was last
// computed, not with the frame before.
#pragma once
#include <cstdint>
#include <span>

namespace vl8 {

struct FrameGateSettings {
  double open_share = 0.002;   // share of groups that must have changed for a quiet stream to wake ...
  double close_share = 0.0005; // ... and below which a busy one falls quiet
  double feature_distance = 0.05;  // 1 - cosine of mean features between looks: this much also wakes it
  double refresh_s = 30;       // at least one full look in this many seconds; 0: never forced
  int quiet_frames = 3;        // frames below close_share before it falls quiet
  void validate() const;       // Error(usage) names the setting
};

enum class FrameVerdict : uint8_t { reuse, look, refresh };  // refresh: a full look because the last one is old

class FrameGate {
 public:
  explicit FrameGate(const FrameGateSettings& settings = {});
  // change: of each group against the last computed state, in grey levels; time in seconds, ascending.
  FrameVerdict judge(std::span<const float> change, double time_s);
  // After a look: how far the features moved. A look that changed nothing lets the gate fall quiet sooner.
  void looked(double feature_distance);
  double novelty() const { return novelty_; }  // of the last frame: share of groups that changed
  bool busy() const { return busy_; }
  void set(const FrameGateSettings& settings);

 private:
  FrameGateSettings settings_;
  bool busy_ = false, first_ = true;
  int calm_ = 0;
  double last_full_s_ = 0, novelty_ = 0;
};

}  // namespace vl8
