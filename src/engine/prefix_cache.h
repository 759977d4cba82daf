// Which pages hold the keys and values of which beginning of a prompt, so that requests that begin alike share pages.
//
// A page is found by its content and by the page before it. Content is everything that its keys and values depend on, and
// it is compared in full, never by a hash of tokens: the ids, their rotary positions, and behind every placeholder the hash
// of the pixels and processing options (VisualInput::hash, 128 bits) with the rows used. The first page also holds the
// request's salt. Pages belong to the KvPool; idle ones are evicted there, least recently used first.
#pragma once
#include <string>
#include <unordered_map>

#include "engine/kv_pool.h"
#include "engine/sequence.h"

namespace vl8 {

// A sequence's way through the cache.
struct PrefixPath {
  std::string salt;
  int64_t least_chunk = 0;             // as StepLimits: so many tokens of the prompt are left to compute, and pages with
                                       // tokens after the prompt match only where the same ones come after it
  std::vector<uint64_t> prompt_hashes;  // of the whole pages of the prompt, each over all before it: to compare requests quickly
  std::vector<uint64_t> serials;       // of the pages known to the cache so far, from the first
};

class PrefixCache {
 public:
  explicit PrefixCache(KvPool& pool);

  // Fills prompt_hashes. Visuals without a hash get one here, from their patches.
  static void prepare(Sequence& sequence, PrefixPath& path, int64_t page_tokens);

  struct Match {
    std::vector<int32_t> pages;
    int64_t idle = 0;  // of these, nobody uses now
  };
  // The longest known beginning that leaves at least one token to compute. Changes nothing.
  Match find(const Sequence& sequence, const PrefixPath& path) const;
  // The same, and gives the pages to the sequence (which has none): its `cached` moves on.
  int64_t take(Sequence& sequence, PrefixPath& path);

  // Makes the sequence's full pages known that are not yet. Call after each step.
  void add(const Sequence& sequence, PrefixPath& path);

  int64_t entries() const { return int64_t(by_content_.size()); }

 private:
  struct Entry {
    int32_t page;
    uint64_t serial;  // never used again, so that entries whose predecessor was evicted can never be found
  };
  std::string key(const Sequence& sequence, const PrefixPath& path, int64_t page, uint64_t before) const;
  std::vector<Entry> longest(const Sequence& sequence, const PrefixPath& path) const;

  KvPool& pool_;
  std::unordered_map<std::string, Entry> by_content_;
  std::vector<const std::string*> content_of_;  // of each page; null: unknown
  uint64_t next_serial_ = 1;
};

}  // namespace vl8
