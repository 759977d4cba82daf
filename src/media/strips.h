// Inside media only: source rows -> resize -> patches, a strip at a time, so that pixels stay in the cache.
#pragma once
#include <xxhash.h>

#include <memory>
#include <vector>

#include "media/axis.h"
#include "media/jpeg.h"
#include "media/patchify.h"

namespace vl8::pixel {

class RowSource {
 public:
  virtual ~RowSource() = default;
  virtual void feed(RowResizer& resizer) = 0;  // pushes the next rows, at least one
};

class ImageRows : public RowSource {
 public:
  explicit ImageRows(const Image& image) : image_(image) {}
  void feed(RowResizer& resizer) override;

 private:
  const Image& image_;
  int next_ = 0;
};

class JpegRows : public RowSource {
 public:
  explicit JpegRows(codec::JpegReader& reader) : reader_(reader) {}
  void feed(RowResizer& resizer) override;

 private:
  codec::JpegReader& reader_;
  size_t stride_ = 0;
  int capacity_ = 0, at_ = 0;  // rows of the ring; where the next ones go
  std::vector<uint8_t> ring_;
};

// Normalisation of one PatchLayout, ready for the kernels.
struct NormTable {
  std::vector<float> exact;  // [3][256]
  Norm norm;
  bool kernels_exact;  // the corrected product of the vector kernels equals the division for all bytes
  explicit NormTable(const PatchLayout& layout);
};

// Which of the `temporal` slots of a patch one picture fills: [begin, end).
struct Slots {
  int begin = 0, end = 1;
};

struct StripTarget {
  const PatchLayout& layout;
  const NormTable& norm;
  DType dtype;
  void* patches;  // first row of the picture's patches
  Slots slots;
  bool stream;  // write around the cache
};

struct Hasher {
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state;
  Hasher();
  void add(const void* data, size_t bytes) { XXH3_128bits_update(state.get(), data, bytes); }
};

// The whole way of one picture. `hash` (may be null) sees the resized rows.
void run_strips(RowSource& source, Size from, Size to, ResizePath path, const StripTarget& target,
                Hasher* hash, const Kernels& kernels);

}  // namespace vl8::pixel
