#include "media/axis.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"

namespace vl8::pixel {
namespace {

constexpr double kCubicA = -0.5;
constexpr double kCubicReach = 2;  // samples to each side at scale 1

double cubic(double t) {
  t = std::abs(t);
  if (t < 1) return ((kCubicA + 2) * t - (kCubicA + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * kCubicA;
  return 0;
}

struct Window {
  int64_t first;
  std::vector<double> weight;  // sums to 1
};

Window window_of(int64_t i, int64_t in, double scale) {
  const double stretch = std::max(scale, 1.0), reach = kCubicReach * stretch, inverse = 1.0 / stretch;
  const double center = scale * (double(i) + 0.5);
  const int64_t begin = std::max<int64_t>(int64_t(center - reach + 0.5), 0);
  const int64_t end = std::min<int64_t>(int64_t(center + reach + 0.5), in);
  Window w{begin, {}};
  double sum = 0;
  for (int64_t k = 0; k < end - begin; ++k) {
    w.weight.push_back(cubic((double(k + begin) - center + 0.5) * inverse));
    sum += w.weight.back();
  }
  for (double& v : w.weight) v = sum != 0 ? v / sum : v;
  return w;
}

// The most fraction bits with which the largest weight still fits 16 bits, at most 22.
int int16_precision(double largest) {
  int bits = 0;
  while (bits < 22 && int64_t(0.5 + largest * double(int64_t(1) << (bits + 1))) < (1 << 15)) ++bits;
  return bits;
}

constexpr int kPilPrecision = 22;

}  // namespace

AxisPlan plan_axis(int64_t in, int64_t out, ResizePath path) {
  check(in > 0 && out > 0 && in <= (1 << 24) && out <= (1 << 24), "resize of an axis from {} to {}", in, out);
  AxisPlan plan;
  plan.in = int(in), plan.out = int(out);
  const double scale = double(in) / double(out);
  std::vector<Window> windows;
  double largest = 0;
  size_t most = 0;
  for (int64_t i = 0; i < out; ++i) {
    windows.push_back(window_of(i, in, scale));
    most = std::max(most, windows.back().weight.size());
    for (double v : windows.back().weight) largest = std::max(largest, v);
  }
  plan.taps = int((most + 3) / 4 * 4);
  plan.shift = path == ResizePath::pil ? kPilPrecision : int16_precision(largest);
  plan.weight.assign(size_t(out) * size_t(plan.taps), 0);
  const double one = double(int64_t(1) << plan.shift);
  for (int64_t i = 0; i < out; ++i) {
    const Window& w = windows[size_t(i)];
    // The window is moved so that the zero weights at its end stay inside the row, for kernels that read all
    // taps.
    const int64_t first = std::max<int64_t>(0, std::min<int64_t>(w.first, in - plan.taps));
    plan.first.push_back(int32_t(first));
    plan.count.push_back(int32_t(int64_t(w.weight.size()) + w.first - first));
    int32_t* to = &plan.weight[size_t(i) * size_t(plan.taps) + size_t(w.first - first)];
    for (double v : w.weight) *to++ = int32_t(v < 0 ? v * one - 0.5 : v * one + 0.5);
  }
  for (int32_t v : plan.weight) {
    plan.high.push_back(int16_t(path == ResizePath::pil ? v >> kSplitBits : v));
    if (path == ResizePath::pil) plan.low.push_back(int16_t(v & ((1 << kSplitBits) - 1)));
  }
  return plan;
}

Axis AxisPlan::view() const {
  return {in, out, taps, shift, first.data(), high.data(), low.empty() ? nullptr : low.data()};
}

RowResizer::RowResizer(Size from, Size to, ResizePath path, const Kernels& kernels)
    : x_(plan_axis(from.width, to.width, path)),
      y_(plan_axis(from.height, to.height, path)),
      kernels_(kernels) {
  row_bytes_ = to.width * 3;
  storage_stride_ = (size_t(row_bytes_) + kSlack + 63) / 64 * 64;
  ring_.resize(size_t(y_.taps + kRowsPerPush));
  if (!x_.identity()) storage_.resize(storage_stride_ * ring_.size());
  window_.resize(size_t(y_.taps) + 1);
}

int RowResizer::rows_kept() const {
  return x_.identity() ? int(ring_.size()) : 0;
}

void RowResizer::push(const uint8_t* const* rows, int n) {
  check(n >= 0 && n <= kRowsPerPush && pushed_ + n <= y_.in, "{} more rows after {} of {}", n, pushed_,
        y_.in);
  if (x_.identity()) {
    for (int i = 0; i < n; ++i) *slot(pushed_++) = rows[i];
    return;
  }
  const Kernels& k = x_.in < x_.taps ? kScalarKernels : kernels_;  // a row shorter than the filter
  const Axis axis = x_.view();
  for (int i = 0; i < n; i += kRowsAtOnce) {
    const uint8_t* in[kRowsAtOnce];
    uint8_t* out[kRowsAtOnce];
    for (int r = 0; r < kRowsAtOnce; ++r) {
      int row = std::min(i + r, n - 1);
      in[r] = rows[row];
      out[r] = storage_.data() + size_t((pushed_ + row) % int64_t(ring_.size())) * storage_stride_;
    }
    k.horizontal(in, out, &axis);
  }
  for (int i = 0; i < n; ++i, ++pushed_)
    *slot(pushed_) = storage_.data() + size_t(pushed_ % int64_t(ring_.size())) * storage_stride_;
}

bool RowResizer::wants_rows() const {
  if (pulled_ == y_.out || pushed_ == y_.in) return false;
  if (y_.identity()) return pulled_ >= pushed_;
  return y_.first[size_t(pulled_)] + y_.count[size_t(pulled_)] > pushed_;
}

int RowResizer::pull(uint8_t* out, size_t stride, int max) {
  int done = 0;
  for (; done < max && pulled_ < y_.out && !wants_rows(); ++done, ++pulled_) {
    uint8_t* to = out + size_t(done) * stride;
    if (y_.identity()) {
      std::memcpy(to, *slot(pulled_), size_t(row_bytes_));
      continue;
    }
    int64_t first = y_.first[size_t(pulled_)];
    int count = y_.count[size_t(pulled_)];
    const size_t at = size_t(pulled_) * size_t(y_.taps);
    int skip = 0;  // weights are zero in front where the window was moved
    while (skip + 1 < count && y_.weight[at + size_t(skip)] == 0) ++skip;
    if ((count - skip) % 2) count + 1 <= y_.taps ? ++count : --skip;  // an even number of taps
    for (int k = skip; k < count; ++k) {
      int64_t row =
          std::clamp<int64_t>(first + k, 0, pushed_ - 1);  // a zero weight may lie past the last row
      window_[size_t(k - skip)] = *slot(row);
    }
    const int16_t* low = y_.low.empty() ? nullptr : &y_.low[at + size_t(skip)];
    kernels_.vertical(window_.data(), &y_.high[at + size_t(skip)], low, count - skip, y_.shift, row_bytes_,
                      to);
  }
  return done;
}

}  // namespace vl8::pixel
