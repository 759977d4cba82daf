#include "media/strips.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"

namespace vl8::pixel {
namespace {

constexpr int kKernelPatch = 16;

// One patch of any size by the table.
template <typename T>
void patch_plain(const uint8_t* rgb, size_t stride, const PatchLayout& layout, const NormTable& norm,
                 Slots slots, T* row) {
  const size_t p = size_t(layout.patch), area = p * p;
  for (size_t c = 0; c < 3; ++c)
    for (size_t slot = size_t(slots.begin); slot < size_t(slots.end); ++slot)
      for (size_t y = 0; y < p; ++y)
        for (size_t x = 0; x < p; ++x) {
          float v = norm.exact[c * 256 + rgb[y * stride + 3 * x + c]];
          T& out = row[(c * size_t(layout.temporal) + slot) * area + y * p + x];
          if constexpr (sizeof(T) == 2)
            out = f32_to_bf16(v);
          else
            out = v;
        }
}

template <typename T>
void write_patch(const uint8_t* rgb, size_t stride, const StripTarget& t, const Kernels& kernels, T* row) {
  if (t.layout.patch != kKernelPatch) return patch_plain(rgb, stride, t.layout, t.norm, t.slots, row);
  const Kernels& k = t.norm.kernels_exact ? kernels : kScalarKernels;
  constexpr size_t kArea = kKernelPatch * kKernelPatch;
  const size_t plane = size_t(t.layout.temporal) * kArea;
  T* out = row + size_t(t.slots.begin) * kArea;
  const int copies = t.slots.end - t.slots.begin;
  if constexpr (sizeof(T) == 2)
    k.patch_bf16(rgb, stride, &t.norm.norm, plane, copies, t.stream, out);
  else
    k.patch_f32(rgb, stride, &t.norm.norm, plane, copies, t.stream, out);
}

// A strip of patch * merge rows: its patches follow one another in the output.
template <typename T>
void write_strip(const uint8_t* rgb, size_t stride, int64_t blocks, const StripTarget& t,
                 const Kernels& kernels, T* out) {
  const int patch = t.layout.patch, merge = t.layout.merge;
  const size_t columns = size_t(t.layout.columns());
  for (int64_t block = 0; block < blocks; ++block)
    for (int y = 0; y < merge; ++y)
      for (int x = 0; x < merge; ++x, out += columns)
        write_patch(rgb + size_t(y * patch) * stride + size_t((block * merge + x) * patch) * 3, stride, t,
                    kernels, out);
}

}  // namespace

void ImageRows::feed(RowResizer& resizer) {
  const uint8_t* rows[64];
  int n = std::min({resizer.rows_per_push(), 64, image_.height - next_});
  check(n > 0, "no rows left of a picture of {}", image_.height);
  for (int i = 0; i < n; ++i) rows[i] = image_.row(next_ + i);
  next_ += n;
  resizer.push(rows, n);
}

void JpegRows::feed(RowResizer& resizer) {
  const int batch = resizer.rows_per_push();
  if (ring_.empty()) {
    capacity_ =
        (resizer.rows_kept() / batch + 2) * batch;  // whole batches; the oldest is free when one is added
    stride_ = (size_t(reader_.width()) * 3 + kSlack + 63) / 64 * 64;
    ring_.resize(stride_ * size_t(capacity_));
  }
  uint8_t* place = ring_.data() + size_t(at_) * stride_;
  int n = reader_.read(place, stride_, batch);
  check(n > 0, "no rows left of a JPEG of {}", reader_.height());
  const uint8_t* rows[64];
  for (int i = 0; i < n; ++i) rows[i] = place + size_t(i) * stride_;
  at_ = (at_ + batch) % capacity_;
  resizer.push(rows, n);
}

NormTable::NormTable(const PatchLayout& layout) : exact(3 * 256), kernels_exact(true) {
  for (size_t c = 0; c < 3; ++c) {
    norm.mean[c] = layout.mean[c] * 255.0f, norm.std[c] = layout.std[c] * 255.0f;
    norm.inverse[c] = 1.0f / norm.std[c];
    for (int x = 0; x < 256; ++x) {
      float d = float(x) - norm.mean[c], v = d / norm.std[c];
      float q = d * norm.inverse[c], corrected = std::fma(std::fma(-q, norm.std[c], d), norm.inverse[c], q);
      exact[c * 256 + size_t(x)] = v;
      kernels_exact = kernels_exact && v == corrected && std::signbit(v) == std::signbit(corrected);
    }
  }
  norm.exact = exact.data();
}

Hasher::Hasher() : state(XXH3_createState(), XXH3_freeState) {
  if (!state) fail(ErrorKind::resource, "no memory for a hash");
  XXH3_128bits_reset(state.get());
}

void run_strips(RowSource& source, Size from, Size to, ResizePath path, const StripTarget& target,
                Hasher* hash, const Kernels& kernels) {
  const int rows = target.layout.factor();
  check(to.height % rows == 0 && to.width % rows == 0, "{}x{} pixels are not whole blocks of {}", to.width,
        to.height, rows);
  RowResizer resizer(from, to, path, kernels);
  const size_t stride = size_t(to.width) * 3;
  std::vector<uint8_t> strip(stride * size_t(rows) + kSlack);
  const int64_t blocks = to.width / rows;
  const int64_t patches = blocks * target.layout.merge * target.layout.merge;  // of a strip
  for (int64_t y = 0; y < to.height; y += rows) {
    for (int done = 0; done < rows;) {
      done += resizer.pull(strip.data() + size_t(done) * stride, stride, rows - done);
      if (done < rows) source.feed(resizer);
    }
    if (hash) hash->add(strip.data(), stride * size_t(rows));
    const size_t at = size_t(y / rows * patches * target.layout.columns());
    if (target.dtype == DType::bf16)
      write_strip(strip.data(), stride, blocks, target, kernels, static_cast<uint16_t*>(target.patches) + at);
    else
      write_strip(strip.data(), stride, blocks, target, kernels, static_cast<float*>(target.patches) + at);
  }
  if (target.stream) kernels.fence();
}

}  // namespace vl8::pixel
