// Scores of 2x2 patch groups from the patches themselves (spec 5.4: rows in merge-block order, four rows a group), before
// any of them has been through the tower. All in grey levels 0..255.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace vl8 {

struct PatchShape {
  int64_t patch = 16, temporal = 2, channels = 3, rows_per_group = 4;
  int64_t columns() const { return channels * temporal * patch * patch; }
};

// What of a group is compared and weighed: means of cells of 4x4 pixels over channels and frames, and how far pixels lie
// from the mean of their cell. Cells forget sensor noise (a tenth of its amplitude is left), edges stay.
class GroupSketch {
 public:
  static constexpr int kCell = 4;
  // patches: F32 [N, columns], normalised to -1..1.
  GroupSketch(const float* patches, int64_t rows, const PatchShape& shape);
  // The same of a whole picture in blocks of 32x32 pixels (RGB, rows packed); what is left over at the right and the bottom
  // belongs to no block.
  static GroupSketch of_image(const uint8_t* rgb, int width, int height);
  GroupSketch() = default;
  int64_t groups() const { return groups_; }
  int64_t cells() const { return cells_; }
  std::vector<float> detail() const;                                  // [groups]: spread of cells plus fine structure
  std::vector<float> change(const GroupSketch& reference) const;      // [groups]: mean difference of cells. Same size
  // Of a clip: each group against the same place one frame group earlier; the first frame group counts as all new (255).
  std::vector<float> change_in_clip(int64_t groups_per_frame) const;
  // Takes over the cells of these groups, so that slow drift is measured against what was last computed.
  void update(const GroupSketch& from, std::span<const int32_t> groups);

 private:
  float difference(const float* a, const float* b) const;
  int64_t groups_ = 0, cells_ = 0;
  std::vector<float> mean_;  // [groups, cells]
  std::vector<float> fine_;  // [groups]
};

}  // namespace vl8
