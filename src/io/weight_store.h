// Owner of everything that weights point to: the mapped files of a checkpoint and the buffers made while
// loading (F32 norms and scales, experts turned to rows). Outlives the views; not movable, kept in a
// shared_ptr.
#pragma once
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "io/checkpoint.h"

namespace vl8 {

class WeightStore {
 public:
  WeightStore();  // no files: weights made in memory
  explicit WeightStore(Checkpoint checkpoint);
  ~WeightStore();
  WeightStore(const WeightStore&) = delete;
  WeightStore& operator=(const WeightStore&) = delete;

  const Checkpoint& checkpoint() const { return checkpoint_; }

  // Zeroed memory that lives as long as the store, 64-byte aligned; pages are taken when first touched.
  // Throws Error(resource). From any thread.
  std::byte* allocate(size_t bytes);
  size_t allocated_bytes() const { return allocated_; }

  struct Range {
    size_t file = 0, offset = 0, bytes = 0;
  };
  // Reads ranges into memory in this order, in pieces, on two threads, and returns at once. `wait` waits for
  // them. One read-ahead at a time; the destructor stops it.
  void start_read_ahead(std::vector<Range> ranges, bool show_progress);
  void wait();
  // Rows of this range are used here and there: a fault reads its page and not megabytes around it.
  void expect_random(const Range& range) const;

 private:
  struct ReadAhead;
  struct Block {
    void* data;
    size_t bytes;
  };
  Checkpoint checkpoint_;
  std::mutex mutex_;
  std::vector<Block> large_, small_;
  size_t small_used_ = 0;
  std::atomic<size_t> allocated_{0};
  std::unique_ptr<ReadAhead> read_ahead_;
};

// What the kernel says new allocations may still take (MemAvailable).
uint64_t available_memory_bytes();
// Throws Error(resource) with both figures when `what` ("the experts") does not fit.
void require_memory(uint64_t bytes, std::string_view what);

}  // namespace vl8
