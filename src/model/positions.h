// Rotary positions of a prompt on the axes T, H, W (spec 7.2). Text counts up on all three axes; a picture of merged
// size a x b stands at one T, spreads over H and W, and moves the count on by max(a, b). A clip is one such picture per
// frame group, with its timestamp text between them.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "ops/ops.h"

namespace vl8 {

struct Positions {
  std::vector<int32_t> axes;  // [3, T]
  int32_t next = 0;           // position of the first token after the prompt, on all axes
};

// A run of placeholder tokens: `begin` is its first index in the prompt, `h` x `w` its merged grid.
struct VisualRun {
  int64_t begin = 0, h = 0, w = 0;
  std::vector<int32_t> kept;  // which of the h x w are there, row by row, ascending; empty: all
  int64_t tokens() const { return kept.empty() ? h * w : int64_t(kept.size()); }
};

// Runs are ascending and do not overlap. Throws Error(internal) otherwise.
Positions prompt_positions(int64_t tokens, std::span<const VisualRun> runs);

// A picture or clip: its grid in patches and which of its merged patches have placeholders (counted over all its frame
// groups, ascending, at least one in each; empty: all).
struct VisualShape {
  Grid grid;
  std::span<const int32_t> kept;
};
std::vector<VisualRun> find_kept_runs(std::span<const int32_t> ids, int32_t image_id, int32_t video_id,
                                      std::span<const VisualShape> images, std::span<const VisualShape> videos, int64_t merge);

// Finds the runs of placeholders in token ids: pictures and clips are taken in the order of their placeholders. Throws
// Error(input) where the counts do not match the grids (grids in patches; a clip's grid is one run per t).
std::vector<VisualRun> find_visual_runs(std::span<const int32_t> ids, int32_t image_id, int32_t video_id,
                                        std::span<const Grid> images, std::span<const Grid> videos, int64_t merge);

}  // namespace vl8
