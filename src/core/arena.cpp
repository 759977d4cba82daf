#include "core/arena.h"

#include <sys/mman.h>

#include <algorithm>

namespace vl8 {

void* Arena::take(size_t bytes) {
  bytes = std::max<size_t>(64, (bytes + 63) & ~size_t(63));
  while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].bytes) ++block_, used_ = 0;
  if (block_ == blocks_.size()) {
    size_t want = (std::max(bytes, block_bytes_) + ((1 << 21) - 1)) & ~size_t((1 << 21) - 1);
    void* p = mmap(nullptr, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) fail(ErrorKind::resource, "out of memory: {} MB for activations could not be had", want >> 20);
    madvise(p, want, MADV_HUGEPAGE);
    blocks_.push_back({static_cast<char*>(p), want});
    used_ = 0;
  }
  void* p = blocks_[block_].data + used_;
  used_ += bytes;
  total_ += bytes;
  high_water_ = std::max(high_water_, total_);
  return p;
}

Tensor Arena::tensor(DType type, Shape shape) {
  return {take(size_t(shape.elements()) * dtype_bytes(type)), type, shape};
}

size_t Arena::reserved_bytes() const {
  size_t n = 0;
  for (const Block& b : blocks_) n += b.bytes;
  return n;
}

Arena::~Arena() {
  for (const Block& b : blocks_) munmap(b.data, b.bytes);
}

}  // namespace vl8
