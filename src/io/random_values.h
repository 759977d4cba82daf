// Random numbers by position: element i of a tensor depends on the seed, the tensor's name and i alone, so
// any thread may make any part.
#pragma once
#include <cstdint>
#include <string_view>

namespace vl8 {

class RandomValues {
 public:
  static constexpr float kE4m3Deviation =
      120;  // of the codes as numbers; the largest code is then near 2.9 deviations

  RandomValues(uint64_t seed, std::string_view name);
  // Elements [begin, begin + count) of normal values. `begin` is a multiple of 8.
  void e4m3(uint8_t* out, int64_t begin, int64_t count) const;  // deviation kE4m3Deviation
  void bf16(uint16_t* out, int64_t begin, int64_t count, float mean, float deviation) const;
  void bytes(uint8_t* out, int64_t begin, int64_t count) const;  // every byte alike; begin a multiple of 8
  float normal(int64_t i) const;   // deviation 1
  float uniform(int64_t i) const;  // 0..1

 private:
  uint64_t bits(int64_t i) const;
  uint64_t key_;
};

}  // namespace vl8
