// Pages of the key/value cache: who owns which. Pure bookkeeping, no memory of its own.
#pragma once
#include <cstdint>
#include <vector>

namespace vl8 {

class KvPool {
 public:
  KvPool(int64_t pages, int64_t page_tokens);
  int64_t page_tokens() const { return page_tokens_; }
  int64_t pages() const { return pages_; }
  int64_t free_pages() const { return int64_t(free_.size()); }
  int64_t pages_for(int64_t tokens) const { return (tokens + page_tokens_ - 1) / page_tokens_; }

  // Makes `table` long enough for `tokens` tokens. False (and no change) where too few pages are free.
  bool grow(std::vector<int32_t>& table, int64_t tokens);
  void release(std::vector<int32_t>& table);  // gives all of its pages back and clears it

 private:
  int64_t pages_, page_tokens_;
  std::vector<int32_t> free_;
};

}  // namespace vl8
