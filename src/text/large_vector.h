// A vector for tables of megabytes that are read in no order: its memory asks for huge pages. Without them,
// loading a vocabulary spends a third of its time in page faults.
#pragma once
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace vl8 {

template <typename T>
struct LargeAllocator {
  using value_type = T;
  static constexpr size_t kHugePage = size_t(2) << 20;

  LargeAllocator() = default;
  template <typename U>
  LargeAllocator(const LargeAllocator<U>&) {}

  T* allocate(size_t n) {
    size_t bytes = n * sizeof(T);
    if (n > SIZE_MAX / sizeof(T) - kHugePage) throw std::bad_alloc();
    bool large = bytes >= kHugePage / 2;
    size_t align = large ? kHugePage : std::max<size_t>(64, alignof(T));
    void* p = std::aligned_alloc(align, (bytes + align - 1) / align * align);
    if (!p) throw std::bad_alloc();
    if (large)
      madvise(p, (bytes + align - 1) / align * align, MADV_HUGEPAGE);  // a hint; small pages do as well
    return static_cast<T*>(p);
  }
  void deallocate(T* p, size_t) { std::free(p); }
  template <typename U>
  bool operator==(const LargeAllocator<U>&) const {
    return true;
  }
};

template <typename T>
using LargeVector = std::vector<T, LargeAllocator<T>>;

}  // namespace vl8
