#include "sparse/patch_scores.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace vl8 {
namespace {
constexpr float kLevels = 127.5f;  // grey levels of one unit of a normalised pixel
}

GroupSketch::GroupSketch(const float* patches, int64_t rows, const PatchShape& s) {
  check(rows % s.rows_per_group == 0 && s.patch % kCell == 0, "{} patches of {} pixels in groups of {}", rows, s.patch, s.rows_per_group);
  const int64_t side = s.patch / kCell, per_patch = side * side, area = s.patch * s.patch, planes = s.channels * s.temporal;
  groups_ = rows / s.rows_per_group, cells_ = per_patch * s.rows_per_group;
  mean_.resize(size_t(groups_ * cells_)), fine_.resize(size_t(groups_));
  std::vector<float> grey(static_cast<size_t>(area));
  for (int64_t r = 0; r < rows; ++r) {
    const float* p = patches + r * s.columns();
    std::fill(grey.begin(), grey.end(), 0.0f);
    for (int64_t plane = 0; plane < planes; ++plane)
      for (int64_t i = 0; i < area; ++i) grey[size_t(i)] += p[plane * area + i];
    float* to = mean_.data() + r * per_patch;
    std::fill_n(to, per_patch, 0.0f);
    const float scale = kLevels / float(planes);
    for (int64_t y = 0; y < s.patch; ++y)
      for (int64_t x = 0; x < s.patch; ++x)
        to[(y / kCell) * side + x / kCell] += grey[size_t(y * s.patch + x)] * scale / float(kCell * kCell);
    float fine = 0;
    for (int64_t y = 0; y < s.patch; ++y)
      for (int64_t x = 0; x < s.patch; ++x)
        fine += std::fabs(grey[size_t(y * s.patch + x)] * scale - to[(y / kCell) * side + x / kCell]);
    fine_[size_t(r / s.rows_per_group)] += fine / float(area * s.rows_per_group);
  }
}

GroupSketch GroupSketch::of_image(const uint8_t* rgb, int width, int height) {
  constexpr int kBlock = 32, kSide = kBlock / kCell;
  GroupSketch s;
  const int across = width / kBlock, down = height / kBlock;
  s.groups_ = int64_t(across) * down, s.cells_ = kSide * kSide;
  s.mean_.assign(size_t(s.groups_ * s.cells_), 0.0f), s.fine_.assign(size_t(s.groups_), 0.0f);
  for (int y = 0; y < down * kBlock; ++y) {
    const uint8_t* row = rgb + size_t(y) * size_t(width) * 3;
    for (int x = 0; x < across * kBlock; ++x) {
      const int64_t group = int64_t(y / kBlock) * across + x / kBlock;
      const int cell = (y % kBlock) / kCell * kSide + (x % kBlock) / kCell;
      s.mean_[size_t(group * s.cells_ + cell)] += float(row[3 * x] + row[3 * x + 1] + row[3 * x + 2]) / float(3 * kCell * kCell);
    }
  }
  return s;
}

std::vector<float> GroupSketch::detail() const {
  std::vector<float> out(static_cast<size_t>(groups_));
  for (int64_t g = 0; g < groups_; ++g) {
    const float* m = mean_.data() + g * cells_;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < cells_; ++i) sum += m[i], squares += double(m[i]) * m[i];
    const double mean = sum / double(cells_);
    out[size_t(g)] = float(std::sqrt(std::max(0.0, squares / double(cells_) - mean * mean))) + fine_[size_t(g)];
  }
  return out;
}

float GroupSketch::difference(const float* a, const float* b) const {
  float sum = 0;
  for (int64_t i = 0; i < cells_; ++i) sum += std::fabs(a[i] - b[i]);
  return sum / float(cells_);
}

std::vector<float> GroupSketch::change(const GroupSketch& reference) const {
  check(reference.groups_ == groups_ && reference.cells_ == cells_, "{} groups against {}", groups_, reference.groups_);
  std::vector<float> out(static_cast<size_t>(groups_));
  for (int64_t g = 0; g < groups_; ++g) out[size_t(g)] = difference(mean_.data() + g * cells_, reference.mean_.data() + g * cells_);
  return out;
}

std::vector<float> GroupSketch::change_in_clip(int64_t per_frame) const {
  check(per_frame > 0 && groups_ % per_frame == 0, "{} groups in frames of {}", groups_, per_frame);
  std::vector<float> out(size_t(groups_), 255.0f);
  for (int64_t g = per_frame; g < groups_; ++g)
    out[size_t(g)] = difference(mean_.data() + g * cells_, mean_.data() + (g - per_frame) * cells_);
  return out;
}

void GroupSketch::update(const GroupSketch& from, std::span<const int32_t> groups) {
  check(from.groups_ == groups_ && from.cells_ == cells_, "{} groups against {}", groups_, from.groups_);
  for (int32_t g : groups) {
    std::copy_n(from.mean_.data() + g * cells_, cells_, mean_.data() + g * cells_);
    fine_[size_t(g)] = from.fine_[size_t(g)];
  }
}

}  // namespace vl8
