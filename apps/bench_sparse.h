// vl8 bench sparse: what gated visual work saves, on any model or shape. Frames are drawn: a textured scene with sensor noise.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "engine/loaded_model.h"

namespace vl8 {

struct SparseBench {
  int64_t frames = 20;         // of the stream
  double anomalous = 0.1;      // share of frames in which something new lies in the scene
  int64_t size = 1024;         // pixels of a side
  int64_t images = 16;         // of the single prompt
  int64_t image_size = 448;
  double share = 0.5;          // kept of the single prompt
  int64_t text_tokens = 32;
};

// {"stream": dense_ms, gated_ms (mean), quiet_ms, anomalous_ms, speedup, anomalous_slowdown, activation, looks},
// {"every_frame": the same with the frame gate held open}, {"prompt": dense_ms, gated_ms, speedup, activation}
nlohmann::ordered_json bench_sparse(LoadedModel& model, const EngineOptions& engine, const SparseBench& options);

}  // namespace vl8
