#include "engine/kv_pool.h"

#include "core/error.h"

namespace vl8 {

KvPool::KvPool(int64_t pages, int64_t page_tokens) : pages_(pages), page_tokens_(page_tokens) {
  check(pages >= 0 && pages < INT32_MAX && page_tokens > 0, "kv pool of {} pages of {} tokens", pages, page_tokens);
  for (int64_t p = pages; p-- > 0;) free_.push_back(int32_t(p));  // the lowest page is handed out first
}

bool KvPool::grow(std::vector<int32_t>& table, int64_t tokens) {
  int64_t more = pages_for(tokens) - int64_t(table.size());
  if (more > free_pages()) return false;
  for (; more > 0; --more) {
    table.push_back(free_.back());
    free_.pop_back();
  }
  return true;
}

void KvPool::release(std::vector<int32_t>& table) {
  for (auto it = table.rbegin(); it != table.rend(); ++it) free_.push_back(*it);
  table.clear();
}

}  // namespace vl8
