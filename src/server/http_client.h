// Fetches one remote picture or clip: GET with redirects, every hop and every address checked against the policy.
#pragma once
#include <string>

#include "server/media_source.h"

namespace vl8 {

inline constexpr int kMaxRedirects = 3;

// Blocks for at most policy.limits.fetch_timeout_s. The address that was checked is the one that is connected to, so that a
// name cannot change its meaning in between. Throws ApiError(400) naming param.
std::string fetch_url(const std::string& url, const std::string& param, size_t max_bytes, const FetchPolicy& policy);

}  // namespace vl8
