// From scores to indices: which groups of one frame are kept.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "sparse/policy.h"

namespace vl8 {

// Of the h x w groups of one frame, row by row; an empty list counts as all zero. change and detail are in grey levels,
// saliency and agreement any scale: each is divided by its 95th percentile and cut to 0..1 before it is weighed.
struct GroupScores {
  std::vector<float> change, detail, saliency, agreement;
};

// Below these a group counts as unchanged, or as flat. Sensor noise of +-8 levels stays below both.
inline constexpr float kChangedLevels = 3.0f;
inline constexpr float kFlatLevels = 2.5f;

// Which `keep` groups of h x w: ascending indices. The best by weighted score (a neighbour's score counts half, so that
// the borders of things are kept), then `background` of the budget spread evenly. Deterministic: ties go to the lower index.
std::vector<int32_t> select_groups(const GroupScores& scores, int64_t h, int64_t w, int64_t keep, const GatePolicy& policy);

// Share of a frame worth keeping: groups that changed or are not flat, a tenth of the rest, within the bounds of `sparsity`.
double automatic_share(const GroupScores& scores, const Sparsity& sparsity);

// Groups whose change is at least `levels`, widened by one group to every side. Ascending.
std::vector<int32_t> changed_groups(std::span<const float> change, int64_t h, int64_t w, float levels = kChangedLevels);

// features [n, c]: 1 - cosine to their mean, [n].
std::vector<float> saliency_scores(const float* features, int64_t n, int64_t c);
// The best cosine of each feature with any of `words` [m, c] after both means were taken away, at least 0: [n].
std::vector<float> agreement_scores(const float* features, int64_t n, const float* words, int64_t m, int64_t c);

}  // namespace vl8
