#include "engine/prefix_cache.h"

#include <xxhash.h>

#include <algorithm>

namespace vl8 {
namespace {

template <typename T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Everything that the keys and values of tokens [begin, end) depend on, apart from the tokens before them.
std::string page_content(const Sequence& s, const PrefixPath& path, int64_t begin, int64_t end) {
  std::string out;
  out.reserve(size_t(end - begin) * 4 + 64);
  out.append(reinterpret_cast<const char*>(s.tokens.data() + begin), size_t(end - begin) * 4);
  std::vector<int32_t> positions;
  for (int64_t axis = 0; axis < 3; ++axis)
    for (int64_t i = begin; i < end; ++i) positions.push_back(position_of(s.prompt, axis, i));
  append(out, XXH3_128bits(positions.data(), positions.size() * sizeof(int32_t)));
  for (size_t r = 0; r < s.prompt.runs.size(); ++r) {
    const VisualRun& run = s.prompt.runs[r];
    if (run.begin >= end || run.begin + run.tokens() <= begin) continue;
    const Prompt::RunSource& source = s.prompt.sources[r];
    append(out, s.prompt.visuals[source.visual].hash);
    append(out, source.first_row + begin - run.begin);
  }
  if (path.least_chunk > 0 && end > s.prompt_tokens()) append(out, std::max(begin, s.prompt_tokens()));
  if (begin == 0) out += path.salt;
  return out;
}

ContentHash patches_hash(const VisualInput& v) {
  const XXH128_hash_t h = XXH3_128bits_withSeed(v.patches->data(), v.patches->bytes(), uint64_t(v.grid.t * 1000003 + v.grid.h * 1009 + v.grid.w));
  return {h.low64, h.high64};
}

}  // namespace

PrefixCache::PrefixCache(KvPool& pool) : pool_(pool), content_of_(size_t(pool.pages())) {
  pool_.on_evict([this](int32_t page) {
    if (const std::string* content = std::exchange(content_of_[size_t(page)], nullptr)) by_content_.erase(by_content_.find(*content));
  });
}

void PrefixCache::prepare(Sequence& s, PrefixPath& path, int64_t page_tokens) {
  for (VisualInput& v : s.prompt.visuals)
    if (v.hash == ContentHash{} && v.patches) v.hash = patches_hash(v);
  uint64_t hash = 0;
  for (int64_t end = page_tokens; end <= s.prompt_tokens(); end += page_tokens) {
    const std::string content = page_content(s, path, end - page_tokens, end);
    path.prompt_hashes.push_back(hash = XXH3_64bits_withSeed(content.data(), content.size(), hash));
  }
}

std::string PrefixCache::key(const Sequence& s, const PrefixPath& path, int64_t page, uint64_t before) const {
  std::string out = page_content(s, path, page * pool_.page_tokens(), (page + 1) * pool_.page_tokens());
  append(out, before);
  return out;
}

std::vector<PrefixCache::Entry> PrefixCache::longest(const Sequence& s, const PrefixPath& path) const {
  std::vector<Entry> out;
  const int64_t page_tokens = pool_.page_tokens(), pages = (int64_t(s.tokens.size()) - 1) / page_tokens;
  for (int64_t p = 0; p < pages; ++p) {
    auto it = by_content_.find(key(s, path, p, out.empty() ? 0 : out.back().serial));
    if (it == by_content_.end()) break;
    out.push_back(it->second);
  }
  auto too_near = [&](int64_t cached) { return cached < s.prompt_tokens() && s.prompt_tokens() - cached < path.least_chunk; };
  while (!out.empty() && too_near(int64_t(out.size()) * page_tokens)) out.pop_back();
  return out;
}

PrefixCache::Match PrefixCache::find(const Sequence& s, const PrefixPath& path) const {
  Match m;
  for (const Entry& e : longest(s, path)) {
    m.pages.push_back(e.page);
    m.idle += pool_.users(e.page) == 0;
  }
  return m;
}

int64_t PrefixCache::take(Sequence& s, PrefixPath& path) {
  check(s.pages.empty() && s.cached == 0, "a sequence with {} pages asks for cached ones", s.pages.size());
  path.serials.clear();
  for (const Entry& e : longest(s, path)) {
    pool_.share(e.page);
    s.pages.push_back(e.page);
    path.serials.push_back(e.serial);
  }
  return s.cached = int64_t(s.pages.size()) * pool_.page_tokens();
}

void PrefixCache::add(const Sequence& s, PrefixPath& path) {
  for (int64_t p = int64_t(path.serials.size()); (p + 1) * pool_.page_tokens() <= s.cached; ++p) {
    const int32_t page = s.pages[size_t(p)];
    auto [it, is_new] = by_content_.try_emplace(key(s, path, p, p ? path.serials.back() : 0), Entry{page, next_serial_});
    if (is_new) {
      ++next_serial_;
      content_of_[size_t(page)] = &it->first;
      pool_.keep(page);
    }
    path.serials.push_back(it->second.serial);
  }
}

}  // namespace vl8
