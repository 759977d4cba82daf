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

  void reset() { block_ = used_ = total_ = 0; }  // gives back everything; views taken before are dead
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

// The arenas of one step of a model. What is taken between begin_step and the first next_layer lives for the whole
// step; what is taken in a layer lives until the end of the layer after it, which is as long as the residual stream
// needs it. So a forward pass takes two layers' worth of memory, and no result is ever copied to keep it.
class StepArena {
 public:
  Arena& current() { return at_ < 0 ? step_ : layer_[at_]; }
  void begin_step() {
    step_.reset(), layer_[0].reset(), layer_[1].reset();
    at_ = -1;
  }
  void next_layer() {
    at_ = at_ == 0 ? 1 : 0;
    layer_[at_].reset();
  }
  size_t high_water_bytes() const {
    return step_.high_water_bytes() + layer_[0].high_water_bytes() + layer_[1].high_water_bytes();
  }

 private:
  Arena step_, layer_[2];
  int at_ = -1;
};

}  // namespace vl8
