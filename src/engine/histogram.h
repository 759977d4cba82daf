// A histogram with fixed upper bounds (Prometheus style: counts are per bucket here, cumulative when exported).
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace vl8 {

class Histogram {
 public:
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds.begin(), bounds.end()), counts_(bounds.size() + 1) {}
  void add(double value) {
    ++counts_[size_t(std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin())];
    ++count_, sum_ += value, worst_ = std::max(worst_, value);
  }
  const std::vector<double>& bounds() const { return bounds_; }   // ascending; the last bucket has no bound
  const std::vector<int64_t>& counts() const { return counts_; }  // [bounds + 1]: value <= bound, not cumulative
  int64_t count() const { return count_; }
  double sum() const { return sum_; }
  double worst() const { return worst_; }  // the largest value ever added

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;
  int64_t count_ = 0;
  double sum_ = 0, worst_ = 0;
};

}  // namespace vl8
