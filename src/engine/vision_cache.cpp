#include "engine/vision_cache.h"

namespace vl8 {

int64_t feature_bytes(const VisionFeatures& f) {
  size_t bytes = f.main.tensor.empty() ? 0 : f.main.tensor.bytes();
  for (const Kept& d : f.deepstack) bytes += d.tensor.empty() ? 0 : d.tensor.bytes();
  return int64_t(bytes);
}

FeaturesPtr VisionCache::find(const ContentHash& hash, const std::string& salt) {
  auto it = by_key_.find({hash.low, hash.high, salt});
  if (it == by_key_.end()) return ++misses_, nullptr;
  ++hits_;
  used_.splice(used_.begin(), used_, it->second);
  return it->second->features;
}

void VisionCache::add(const ContentHash& hash, const std::string& salt, FeaturesPtr features) {
  const int64_t bytes = feature_bytes(*features);
  Key key{hash.low, hash.high, salt};
  if (bytes > limit_ || by_key_.count(key)) return;
  used_.push_front({key, std::move(features), bytes});
  by_key_.emplace(std::move(key), used_.begin());
  for (bytes_ += bytes; bytes_ > limit_; used_.pop_back()) {
    bytes_ -= used_.back().bytes;
    by_key_.erase(used_.back().key);
  }
}

}  // namespace vl8
