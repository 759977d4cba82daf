// Inside media only: the filter weights of one axis of a resize (spec 5.2), and a resizer that works row by
// row.
#pragma once
#include <functional>
#include <vector>

#include "media/isa.h"
#include "media/resize.h"

namespace vl8::pixel {

// Weights as integers. Row i has count[i] of them; the rest up to `taps` is zero.
struct AxisPlan {
  int in = 0, out = 0, taps = 0, shift = 0;
  std::vector<int32_t> first, count;  // [out]: first input sample, real number of weights
  std::vector<int32_t> weight;        // [out][taps]
  std::vector<int16_t> high,
      low;  // the same split for the kernels (kernels.h); low only for the 22-bit weights
  bool identity() const { return in == out; }
  Axis view() const;
};
AxisPlan plan_axis(int64_t in, int64_t out, ResizePath path);

// Rows in from the top, resized rows out from the top. Bit for bit what resize_reference gives.
class RowResizer {
 public:
  RowResizer(Size from, Size to, ResizePath path, const Kernels& kernels);

  int rows_per_push() const { return kRowsPerPush; }
  // How many of the rows pushed last must stay valid where the horizontal axis is unchanged; elsewhere none.
  int rows_kept() const;
  // The next n <= rows_per_push() source rows, each with kSlack readable bytes behind it.
  void push(const uint8_t* const* rows, int n);
  bool wants_rows() const;  // the next output row needs rows that were not pushed
  // Writes output rows until `max` are written or rows are wanted; returns how many.
  int pull(uint8_t* out, size_t stride, int max);

 private:
  static constexpr int kRowsPerPush = 16;
  const uint8_t** slot(int64_t row) { return &ring_[size_t(row % int64_t(ring_.size()))]; }

  AxisPlan x_, y_;
  const Kernels& kernels_;
  int64_t row_bytes_;  // of an output row
  size_t storage_stride_;
  std::vector<uint8_t> storage_;      // rows after the horizontal pass
  std::vector<const uint8_t*> ring_;  // source row -> where it lies
  std::vector<const uint8_t*> window_;
  int64_t pushed_ = 0, pulled_ = 0;
};

}  // namespace vl8::pixel
