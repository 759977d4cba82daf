// SHA-256 (FIPS 180-4), to compare pixels with the digests of the fixtures' manifest.
#include <array>
#include <bit>

#include "support.h"

namespace vl8::testing {
namespace {

// First 32 bits of the fractional parts of the cube roots of the first 64 primes (square roots for the
// start), by integer root: floor(cbrt(p * 2^96)) mod 2^32.
uint32_t root_bits(unsigned prime, int degree) {
  __extension__ using Wide = unsigned __int128;
  uint64_t low = 0, high = uint64_t(1) << 36;  // root * 2^32
  auto too_big = [&](uint64_t r) {
    return (degree == 2 ? Wide(r) * r : Wide(r) * r * r) > Wide(prime) << (32 * degree);  // at most 108 bits
  };
  while (high - low > 1) {
    uint64_t middle = (low + high) / 2;
    (too_big(middle) ? high : low) = middle;
  }
  return uint32_t(low);
}

struct Tables {
  std::array<uint32_t, 64> k;
  std::array<uint32_t, 8> start;
  Tables() {
    size_t n = 0;
    for (unsigned p = 2; n < 64; ++p) {
      bool prime = true;
      for (unsigned d = 2; d * d <= p; ++d) prime &= p % d != 0;
      if (!prime) continue;
      if (n < 8) start[n] = root_bits(p, 2);
      k[n++] = root_bits(p, 3);
    }
  }
};

void mix(std::array<uint32_t, 8>& state, const uint8_t* block, const Tables& t) {
  std::array<uint32_t, 64> w;
  for (size_t i = 0; i < 16; ++i)
    w[i] = uint32_t(block[4 * i]) << 24 | uint32_t(block[4 * i + 1]) << 16 | uint32_t(block[4 * i + 2]) << 8 |
           block[4 * i + 3];
  for (size_t i = 16; i < 64; ++i) {
    uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + w[i - 7] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
  }
  auto s = state;
  for (size_t i = 0; i < 64; ++i) {
    uint32_t a = s[0], e = s[4];
    uint32_t x = s[7] + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & s[5]) ^ (~e & s[6])) +
                 t.k[i] + w[i];
    uint32_t y =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    s = {x + y, s[0], s[1], s[2], s[3] + x, s[4], s[5], s[6]};
  }
  for (size_t i = 0; i < 8; ++i) state[i] += s[i];
}

}  // namespace

std::string sha256_hex(const void* data, size_t bytes) {
  static const Tables tables;
  auto state = tables.start;
  const auto* p = static_cast<const uint8_t*>(data);
  size_t whole = bytes / 64 * 64;
  for (size_t at = 0; at < whole; at += 64) mix(state, p + at, tables);
  std::array<uint8_t, 128> tail{};
  size_t rest = bytes - whole, size = rest < 56 ? 64 : 128;
  if (rest) std::memcpy(tail.data(), p + whole, rest);
  tail[rest] = 0x80;
  for (size_t i = 0; i < 8; ++i) tail[size - 1 - i] = uint8_t(uint64_t(bytes) * 8 >> 8 * i);
  for (size_t at = 0; at < size; at += 64) mix(state, tail.data() + at, tables);
  std::string hex;
  for (uint32_t v : state)
    for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[v >> shift & 15];
  return hex;
}

}  // namespace vl8::testing
