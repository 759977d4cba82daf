#include "media/resize.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "media/axis.h"
#include "media/strips.h"

namespace vl8 {
namespace {

using pixel::AxisPlan;

uint8_t clamp_byte(int64_t v) {
  return uint8_t(std::clamp<int64_t>(v, 0, 255));
}

// One pass over any axis: `step` is the distance of two samples of it in bytes.
uint8_t filtered(const AxisPlan& axis, int64_t i, const uint8_t* in, int64_t step) {
  int64_t sum = int64_t(1) << (axis.shift - 1);
  for (int k = 0; k < axis.count[size_t(i)]; ++k)
    sum += int64_t(axis.weight[size_t(i) * size_t(axis.taps) + size_t(k)]) *
           in[(axis.first[size_t(i)] + k) * step];
  return clamp_byte(sum >> axis.shift);
}

void check_target(Size to) {
  check(to.height > 0 && to.width > 0 && to.height <= INT32_MAX / 4 && to.width <= INT32_MAX / 4,
        "resize to {}x{} pixels", to.width, to.height);
}

void keep_origin(const Image& from, Image& to) {
  to.stored_width = from.stored_width, to.stored_height = from.stored_height,
  to.orientation = from.orientation;
}

}  // namespace

Image resize_reference(const Image& image, Size to, ResizePath path) {
  check_target(to);
  AxisPlan x = pixel::plan_axis(image.width, to.width, path),
           y = pixel::plan_axis(image.height, to.height, path);
  Image wide = image.clone();
  if (!x.identity()) {
    wide = Image(int(to.width), image.height);
    for (int row = 0; row < wide.height; ++row)
      for (int i = 0; i < wide.width; ++i)
        for (int c = 0; c < 3; ++c) wide.row(row)[3 * i + c] = filtered(x, i, image.row(row) + c, 3);
  }
  Image out = wide.clone();
  if (!y.identity()) {
    out = Image(int(to.width), int(to.height));
    for (int row = 0; row < out.height; ++row)
      for (int64_t i = 0; i < int64_t(out.stride()); ++i)
        out.row(row)[i] = filtered(y, row, wide.rgb.get() + i, int64_t(wide.stride()));
  }
  keep_origin(image, out);
  return out;
}

Image resize(const Image& image, Size to, ResizePath path) {
  check_target(to);
  Image out(int(to.width), int(to.height));
  pixel::ImageRows rows(image);
  pixel::RowResizer resizer({image.height, image.width}, to, path, pixel::kernels());
  for (int done = 0; done < out.height;) {
    done += resizer.pull(out.row(done), out.stride(), out.height - done);
    if (done < out.height) rows.feed(resizer);
  }
  keep_origin(image, out);
  return out;
}

}  // namespace vl8
