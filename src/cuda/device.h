// The device: which one, what it can do, its memory. Every failure of the driver reaches the user as one sentence that
// says what to do.
#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/gemm.h"

namespace vl8::cuda {

struct Device {
  int ordinal = 0;
  int sm = 0;        // compute capability * 10
  int sm_count = 0;
  std::string name;
  size_t total_bytes = 0, free_bytes = 0;
  size_t l2_bytes = 0;
};

// Makes device `ordinal` current. Throws Error(unsupported) where there is no driver, one that is too old, no device of
// that number, or an architecture without kernels in this build.
Device open_device(int ordinal);

// Device memory in large pieces with a tag each, for the arithmetic of an out-of-memory message. Freed by the destructor.
class DeviceHeap {
 public:
  explicit DeviceHeap(size_t limit_bytes) : limit_(limit_bytes) {}
  ~DeviceHeap();
  DeviceHeap(const DeviceHeap&) = delete;
  DeviceHeap& operator=(const DeviceHeap&) = delete;

  void* allocate(size_t bytes, std::string_view tag);  // Error(resource) with what is taken by which tag
  void release(void* p);                               // a piece of allocate
  bool owns(const void* p) const;                      // p points into a piece
  size_t used_bytes() const { return used_; }
  size_t limit_bytes() const { return limit_; }
  const std::map<std::string, size_t, std::less<>>& by_tag() const { return by_tag_; }
  std::string summary() const;  // "weights 8.9 GB, key/value cache 2.1 GB"

 private:
  struct Piece {
    size_t bytes;
    std::string tag;
  };
  std::map<char*, Piece> pieces_;
  std::map<std::string, size_t, std::less<>> by_tag_;
  size_t limit_, used_ = 0;
};

// A bump allocator over the heap, as core/arena.h on the host: blocks are chained and never moved.
class DeviceArena {
 public:
  DeviceArena(DeviceHeap& heap, size_t block_bytes, std::string tag) : heap_(heap), block_bytes_(block_bytes), tag_(std::move(tag)) {}
  void* take(size_t bytes);  // 256-byte aligned
  void reset() { block_ = used_ = 0; }
  size_t reserved_bytes() const;

 private:
  struct Block {
    char* data;
    size_t bytes;
  };
  DeviceHeap& heap_;
  std::vector<Block> blocks_;
  size_t block_bytes_, block_ = 0, used_ = 0;
  std::string tag_;
};

// Page-locked host memory; freed by the destructor.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& o) noexcept;
  PinnedBuffer& operator=(PinnedBuffer&& o) noexcept;
  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  char* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace vl8::cuda
