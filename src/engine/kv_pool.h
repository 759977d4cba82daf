// Pages of the key/value cache: who uses which. Pure bookkeeping, no memory of its own.
//
// A page is free, used by one or more sequences, or idle: nobody uses it, but its content is kept (PrefixCache knows what
// it is) until the page is needed. Idle pages are taken back in the order in which they became idle.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace vl8 {

class KvPool {
 public:
  KvPool(int64_t pages, int64_t page_tokens);
  int64_t page_tokens() const { return page_tokens_; }
  int64_t pages() const { return int64_t(users_.size()); }
  int64_t free_pages() const { return int64_t(free_.size()) + idle_count_; }  // that grow() can give; idle ones count
  int64_t idle_pages() const { return idle_count_; }
  int64_t pages_for(int64_t tokens) const { return (tokens + page_tokens_ - 1) / page_tokens_; }
  int32_t users(int32_t page) const { return users_[size_t(page)]; }
  bool kept(int32_t page) const { return kept_[size_t(page)]; }

  // Makes `table` long enough for `tokens` tokens. False (and no change) where too few pages are free.
  bool grow(std::vector<int32_t>& table, int64_t tokens);
  // Gives all of its pages back and clears it. Of kept pages the last one becomes idle first: the beginning of a prompt
  // is worth more than its end.
  void release(std::vector<int32_t>& table);
  void share(int32_t page);  // one more user of a used or idle page

  // keep: when its last user leaves, the used page becomes idle, not free. on_evict is told before an idle page is taken.
  void keep(int32_t page);
  void on_evict(std::function<void(int32_t page)> f) { evicted_ = std::move(f); }

 private:
  int32_t take();
  void link(int32_t page);    // to the newest end of the idle list
  void unlink(int32_t page);

  int64_t page_tokens_, idle_count_ = 0;
  std::vector<int32_t> free_, users_;
  std::vector<bool> kept_;
  std::vector<int32_t> older_, newer_;  // the idle list; -1 ends it
  int32_t oldest_ = -1, newest_ = -1;
  std::function<void(int32_t)> evicted_;
};

}  // namespace vl8
