// The bytes behind a picture's or clip's URL, by policy: data: always, file: only below the media root, http(s): only from
// allowed hosts and never from addresses that are not public. Bytes are limited while they are read. Contents and
// credentials of URLs never appear in errors or logs.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "server/server_config.h"

namespace vl8 {

struct FetchPolicy {
  MediaLimits limits;
  // Whether a resolved address (as bytes, 4 or 16) may be connected to. Tests replace it to serve from loopback.
  std::function<bool(const unsigned char* address, size_t bytes)> may_connect;
};

// Not loopback, private, link-local, shared (100.64/10), multicast, documentation, reserved, or IPv6 forms of these
// (mapped, 6to4, NAT64): RFC 6890, RFC 4291.
bool is_public_address(const unsigned char* address, size_t bytes);

bool is_remote(const MediaSource& source);  // needs the network

// Throws ApiError(400) naming source.param.
std::string read_media(const MediaSource& source, const FetchPolicy& policy);

bool host_allowed(std::string_view host, const std::vector<std::string>& hosts);
// Accepts padding or none, and white space; false for anything else.
bool base64_decode(std::string_view text, std::string& out);
std::string base64_encode(std::string_view bytes);

}  // namespace vl8
