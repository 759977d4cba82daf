// A bump allocator for activations: no allocation on the hot path after the first step. A scope gives back all
// that was taken inside it. Blocks are chained, never moved, so views stay valid until their scope ends.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "core/tensor.h"

namespace vl8 {

class Arena {
 public:
  explicit Arena(size_t block_bytes = size_t(16) << 20) : block_bytes_(block_bytes) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void* take(size_t bytes);  // 64-byte aligned, not zeroed; throws Error(resource) when the machine has no more
  Tensor tensor(DType type, Shape shape);
  template <typename T>
  T* array(int64_t count) { return static_cast<T*>(take(size_t(count) * sizeof(T))); }

  size_t high_water_bytes() const { return high_water_; }  // most bytes in use at once since construction
  size_t reserved_bytes() const;

  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), block_(arena.block_), used_(arena.used_), total_(arena.total_) {}
    ~Scope() { arena_.block_ = block_, arena_.used_ = used_, arena_.total_ = total_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t block_, used_, total_;
  };

 private:
  struct Block {
    char* data;
    size_t bytes;
  };
  std::vector<Block> blocks_;
  size_t block_bytes_, block_ = 0, used_ = 0, total_ = 0, high_water_ = 0;
};

}  // namespace vl8
