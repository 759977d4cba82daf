// One golden case: its inputs as a Prompt, and what the reference made of it.
#pragma once
#include <algorithm>

#include "engine/prompt.h"
#include "io/safetensors.h"
#include "support/paths.h"

namespace vl8::testing {

struct GoldenCase {
  // FP8 folders leave out pixels: `pixels` is the case of the same name that has them.
  GoldenCase(const fs::path& file, const fs::path& pixels) : expected(file), pixels_file(pixels) {}

  Prompt prompt(const ModelConfig& config) const {
    std::vector<int32_t> ids;
    for (int64_t id : expected.read_i64("input_ids")) ids.push_back(int32_t(id));
    return prompt_from_ids(ids, visuals("pixel_values", "image_grid_thw", config), visuals("pixel_values_videos", "video_grid_thw", config),
                           config);
  }
  std::vector<int32_t> greedy() const {
    std::vector<int32_t> ids;
    for (int64_t id : expected.read_i64("greedy_ids")) ids.push_back(int32_t(id));
    return ids;
  }

  SafetensorsFile expected, pixels_file;

 private:
  std::vector<VisualInput> visuals(const char* key, const char* grid_key, const ModelConfig& config) const {
    std::vector<VisualInput> out;
    if (!expected.find(grid_key)) return out;
    std::vector<int64_t> thw = expected.read_i64(grid_key);
    std::vector<float> pixels = (expected.find(key) ? expected : pixels_file).read_f32(key);
    const int64_t columns = config.vision.patch_features();
    const float* at = pixels.data();
    for (size_t i = 0; i < thw.size(); i += 3) {
      Grid g{thw[i], thw[i + 1], thw[i + 2]};
      auto buffer = std::make_shared<PatchBuffer>(DType::f32, g.patches(), columns);
      std::copy_n(at, g.patches() * columns, static_cast<float*>(buffer->data()));
      at += g.patches() * columns;
      out.push_back({buffer, g, {}});
    }
    return out;
  }
};

}  // namespace vl8::testing
