// Magnitudes of float32 values by sign-less bits to BF16 precision: the largest value, percentiles and the E4M3 scale of
// least squared error of any number of values in 128 KB.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "quant/format.h"

namespace vl8 {

class MagnitudeHistogram {
 public:
  void add(const float* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) ++counts_[(std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu) >> 16];
    total_ += n;
  }
  void add(const MagnitudeHistogram& o) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += o.counts_[i];
    total_ += o.total_;
  }
  bool finite() const {  // no NaN, no infinity
    for (size_t i = kInfinity; i < counts_.size(); ++i)
      if (counts_[i]) return false;
    return true;
  }
  // An E4M3 scale for all values. Where max is asked for, the scale is a BF16 step (0.4 %) on the safe side, and encoding
  // saturates in any case.
  float e4m3_scale(ScaleRule rule) const {
    float top = value(rule == ScaleRule::percentile ? at_share(0.9999) : at_share(1)) * (1 + 0x1p-7f);
    if (top == 0) return 1;
    const float full = top / 448;
    if (rule != ScaleRule::mse) return full;
    float best = full;
    double least = squared_error(full);
    for (float share = 0.95f; share > 0.2f; share -= 0.05f)
      if (double e = squared_error(full * share); e < least) least = e, best = full * share;
    return best;
  }

 private:
  static constexpr size_t kInfinity = 0x7f80;
  static float value(size_t bin) { return std::bit_cast<float>(uint32_t(bin) << 16); }
  size_t at_share(double share) const {
    const double wanted = share * double(total_);
    int64_t seen = 0;
    size_t last = 0;
    for (size_t i = 0; i < kInfinity; ++i) {
      if (!counts_[i]) continue;
      seen += counts_[i], last = i;
      if (double(seen) >= wanted) break;
    }
    return last;
  }
  double squared_error(float scale) const {
    double sum = 0;
    for (size_t i = 0; i < kInfinity; ++i)
      if (counts_[i]) {
        const double e = double(round_to_code(Coding::e4m3_tensor, value(i), scale)) - double(value(i));
        sum += e * e * double(counts_[i]);
      }
    return sum;
  }
  std::vector<int64_t> counts_ = std::vector<int64_t>(0x8000);
  int64_t total_ = 0;
};

}  // namespace vl8
