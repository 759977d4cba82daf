// What the server and its decoder processes say to each other over a socket pair, in this order: DecodeRequest, the file's
// bytes; DecodeReply, then pixels or an error text. Both ends are the same program on the same machine.
#pragma once
#include <cstdint>

namespace vl8 {

inline constexpr int kWorkerDescriptor = 3;
inline constexpr uint32_t kDecoderMagic = 0x76386431;
inline constexpr uint64_t kLongestDecodeError = 4096;

struct DecodeRequest {
  uint32_t magic;
  uint64_t max_bytes;
  int64_t max_pixels;
  uint64_t bytes;  // of the file that follows
};

struct DecodeReply {
  uint32_t magic;
  uint32_t ok;
  int32_t width, height;
  uint64_t bytes;  // that follow: width * height * 3 of RGB, or an error text
};

}  // namespace vl8
