// Normalised patches in the order of the vision tower (spec 5.3, 5.4), and their owner.
//
// Row of patch (t, y, x) = ((t * gh/m + y/m) * gw/m + x/m) * m*m + (y%m) * m + x%m      (m = merge)
// Column of (c, tau, py, px) = ((c * tp + tau) * p + py) * p + px                         (p = patch, tp =
// temporal) Value = (x - mean*255) / (std*255) in float32, from the uint8 x; bf16 is that value rounded to
// nearest even.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/grid.h"
#include "core/tensor.h"
#include "media/image.h"

namespace vl8 {

struct PatchLayout {
  int patch = 16, temporal = 2, merge = 2;  // pixels, frames, patches
  float mean[3] = {0.5f, 0.5f, 0.5f}, std[3] = {0.5f, 0.5f, 0.5f};
  int factor() const { return patch * merge; }
  int64_t columns() const { return int64_t(3) * temporal * patch * patch; }
};

// Rows of patches, f32 or bf16, 64-byte aligned, in large pages where the system has them. Moves, does not
// copy.
class PatchBuffer {
 public:
  PatchBuffer() = default;
  PatchBuffer(DType dtype, int64_t rows, int64_t columns) { reset(dtype, rows, columns); }
  ~PatchBuffer();
  PatchBuffer(PatchBuffer&& other) noexcept;
  PatchBuffer& operator=(PatchBuffer&& other) noexcept;

  // Contents become undefined; memory is kept when it is large enough. f32 or bf16. Error(resource) without
  // memory.
  void reset(DType dtype, int64_t rows, int64_t columns);
  DType dtype() const { return dtype_; }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  size_t bytes() const { return size_t(rows_) * size_t(columns_) * (dtype_ == DType::f32 ? 4 : 2); }
  void* data() { return data_; }
  const void* data() const { return data_; }
  Tensor tensor() const { return {data_, dtype_, {rows_, columns_}}; }  // [rows, columns], a view

 private:
  void* data_ = nullptr;
  size_t capacity_ = 0;
  DType dtype_ = DType::f32;
  int64_t rows_ = 0, columns_ = 0;
};

// frames: uint8 RGB pictures of one size, height and width multiples of patch*merge. A single frame is an
// image and is repeated; an odd number is padded by the last frame. Returns the grid and fills `out`.
Grid patchify(std::span<const Image* const> frames, const PatchLayout& layout, DType dtype, PatchBuffer& out);
// The plain loop that defines the result; used by tests.
Grid patchify_reference(std::span<const Image* const> frames, const PatchLayout& layout, DType dtype,
                        PatchBuffer& out);

}  // namespace vl8
