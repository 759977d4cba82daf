#include "media/patchify.h"

#include <sys/mman.h>

#include <cstring>
#include <utility>

#include "core/error.h"
#include "media/strips.h"

namespace vl8 {
namespace {

constexpr size_t kHugePage = size_t(2) << 20;

// Page-aligned memory that asks for large pages: a 1080p picture touches 6000 small pages (25 MB in bf16),
// and taking their faults costs as much as writing them.
void* map_bytes(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) fail(ErrorKind::resource, "no memory for {} bytes of patches", bytes);
  if (bytes >= kHugePage) madvise(p, bytes, MADV_HUGEPAGE);  // a wish; without it the pages are small
  return p;
}

void check_frames(std::span<const Image* const> frames, const PatchLayout& layout, DType dtype) {
  check(!frames.empty(), "no frames to make patches of");
  check(dtype == DType::f32 || dtype == DType::bf16, "patches as {}", dtype_name(dtype));
  const Image& first = *frames[0];
  check(first.width % layout.factor() == 0 && first.height % layout.factor() == 0,
        "{}x{} pixels are not whole blocks of {}", first.width, first.height, layout.factor());
  for (const Image* f : frames)
    check(f->width == first.width && f->height == first.height, "frames of {}x{} and {}x{} pixels",
          first.width, first.height, f->width, f->height);
}

Grid grid_of(std::span<const Image* const> frames, const PatchLayout& layout) {
  return {(int64_t(frames.size()) + layout.temporal - 1) / layout.temporal, frames[0]->height / layout.patch,
          frames[0]->width / layout.patch};
}

}  // namespace

PatchBuffer::~PatchBuffer() {
  if (data_) munmap(data_, capacity_);
}
PatchBuffer::PatchBuffer(PatchBuffer&& other) noexcept {
  *this = std::move(other);
}
PatchBuffer& PatchBuffer::operator=(PatchBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(capacity_, other.capacity_);
  std::swap(dtype_, other.dtype_);
  std::swap(rows_, other.rows_);
  std::swap(columns_, other.columns_);
  return *this;
}

void PatchBuffer::reset(DType dtype, int64_t rows, int64_t columns) {
  check(dtype == DType::f32 || dtype == DType::bf16, "patches as {}", dtype_name(dtype));
  check(rows >= 0 && columns > 0 && rows <= (int64_t(1) << 40) / columns, "{} patches of {} values", rows,
        columns);
  dtype_ = dtype, rows_ = rows, columns_ = columns;
  if (bytes() <= capacity_) return;
  if (data_) munmap(data_, capacity_);
  data_ = nullptr, capacity_ = 0;
  size_t wanted = bytes() < kHugePage ? (bytes() + 4095) / 4096 * 4096
                                      : (bytes() + kHugePage - 1) / kHugePage * kHugePage;
  data_ = map_bytes(wanted);
  capacity_ = wanted;
}

Grid patchify(std::span<const Image* const> frames, const PatchLayout& layout, DType dtype,
              PatchBuffer& out) {
  check_frames(frames, layout, dtype);
  const Grid grid = grid_of(frames, layout);
  out.reset(dtype, grid.patches(), layout.columns());
  const pixel::NormTable norm(layout);
  const Size size{frames[0]->height, frames[0]->width};
  const size_t group_bytes = out.bytes() / size_t(grid.t);
  for (size_t i = 0; i < frames.size(); ++i) {
    const int slot = int(i) % layout.temporal;
    const bool last = i + 1 == frames.size();
    pixel::StripTarget target{layout,
                              norm,
                              dtype,
                              static_cast<char*>(out.data()) + i / size_t(layout.temporal) * group_bytes,
                              {slot, last ? layout.temporal : slot + 1},
                              false};
    pixel::ImageRows rows(*frames[i]);
    pixel::run_strips(rows, size, size, ResizePath::torchvision, target, nullptr, pixel::kernels());
  }
  return grid;
}

Grid patchify_reference(std::span<const Image* const> frames, const PatchLayout& layout, DType dtype,
                        PatchBuffer& out) {
  check_frames(frames, layout, dtype);
  const Grid g = grid_of(frames, layout);
  out.reset(dtype, g.patches(), layout.columns());
  const int p = layout.patch, m = layout.merge;
  for (int64_t t = 0; t < g.t; ++t)
    for (int64_t y = 0; y < g.h; ++y)
      for (int64_t x = 0; x < g.w; ++x)
        for (int c = 0; c < 3; ++c)
          for (int tau = 0; tau < layout.temporal; ++tau)
            for (int py = 0; py < p; ++py)
              for (int px = 0; px < p; ++px) {
                const int64_t row =
                    ((t * (g.h / m) + y / m) * (g.w / m) + x / m) * m * m + (y % m) * m + x % m;
                const int64_t column = ((int64_t(c) * layout.temporal + tau) * p + py) * p + px;
                const size_t frame = std::min(size_t(t * layout.temporal + tau), frames.size() - 1);
                const float v = float(frames[frame]->row(int(y * p + py))[(x * p + px) * 3 + c]);
                const float out_v = (v - layout.mean[c] * 255.0f) / (layout.std[c] * 255.0f);
                const size_t at = size_t(row * layout.columns() + column);
                if (dtype == DType::f32)
                  static_cast<float*>(out.data())[at] = out_v;
                else
                  static_cast<uint16_t*>(out.data())[at] = f32_to_bf16(out_v);
              }
  return g;
}

}  // namespace vl8
