// Features of pictures and clips seen before, found by the hash of their pixels and processing options. Bounded in bytes,
// least recently used first out; a feature that a sequence still holds lives on until it lets go.
#pragma once
#include <list>
#include <map>

#include "engine/sequence.h"

namespace vl8 {

class VisionCache {
 public:
  explicit VisionCache(int64_t limit_bytes) : limit_(limit_bytes) {}

  // Null where it is not known. `salt` as in the request: features are never shared across salts.
  FeaturesPtr find(const ContentHash& hash, const std::string& salt);
  void add(const ContentHash& hash, const std::string& salt, FeaturesPtr features);

  int64_t bytes() const { return bytes_; }
  int64_t hits() const { return hits_; }
  int64_t misses() const { return misses_; }
  int64_t entries() const { return int64_t(used_.size()); }

 private:
  using Key = std::tuple<uint64_t, uint64_t, std::string>;
  struct Entry {
    Key key;
    FeaturesPtr features;
    int64_t bytes;
  };
  int64_t limit_, bytes_ = 0, hits_ = 0, misses_ = 0;
  std::list<Entry> used_;  // newest first
  std::map<Key, std::list<Entry>::iterator> by_key_;
};

int64_t feature_bytes(const VisionFeatures& features);

}  // namespace vl8
