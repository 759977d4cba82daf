#include "engine/kv_pool.h"

#include "core/error.h"

namespace vl8 {

KvPool::KvPool(int64_t pages, int64_t page_tokens)
    : page_tokens_(page_tokens), users_(size_t(pages)), kept_(size_t(pages)), older_(size_t(pages), -1), newer_(size_t(pages), -1) {
  check(pages > 0 && page_tokens > 0 && pages <= INT32_MAX, "a pool of {} pages of {} tokens", pages, page_tokens);
  free_.reserve(size_t(pages));
  for (int64_t p = pages; p-- > 0;) free_.push_back(int32_t(p));
}

void KvPool::link(int32_t page) {
  older_[size_t(page)] = newest_, newer_[size_t(page)] = -1;
  (newest_ < 0 ? oldest_ : newer_[size_t(newest_)]) = page;
  newest_ = page;
  ++idle_count_;
}

void KvPool::unlink(int32_t page) {
  const int32_t before = older_[size_t(page)], after = newer_[size_t(page)];
  (before < 0 ? oldest_ : newer_[size_t(before)]) = after;
  (after < 0 ? newest_ : older_[size_t(after)]) = before;
  --idle_count_;
}

int32_t KvPool::take() {
  int32_t page;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else {
    page = oldest_;
    unlink(page);
    kept_[size_t(page)] = false;
    if (evicted_) evicted_(page);
  }
  users_[size_t(page)] = 1;
  return page;
}

bool KvPool::grow(std::vector<int32_t>& table, int64_t tokens) {
  int64_t more = pages_for(tokens) - int64_t(table.size());
  if (more > free_pages()) return false;
  for (; more > 0; --more) table.push_back(take());
  return true;
}

void KvPool::release(std::vector<int32_t>& table) {
  for (auto it = table.rbegin(); it != table.rend(); ++it) {
    check(users_[size_t(*it)] > 0, "page {} is given back, but nobody uses it", *it);
    if (--users_[size_t(*it)] > 0) continue;
    if (kept_[size_t(*it)]) link(*it);
    else free_.push_back(*it);
  }
  table.clear();
}

void KvPool::share(int32_t page) {
  if (users_[size_t(page)] == 0) {
    check(kept_[size_t(page)], "page {} is shared, but it is free", page);
    unlink(page);
  }
  ++users_[size_t(page)];
}

void KvPool::keep(int32_t page) {
  check(users_[size_t(page)] > 0, "page {} is kept, but nobody uses it", page);
  kept_[size_t(page)] = true;
}

}  // namespace vl8
