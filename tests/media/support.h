// For the tests of media: golden tensors, digests, random pictures.
#pragma once
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "media/image.h"

namespace vl8::testing {

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline std::span<const std::byte> bytes_of(const std::string& s) {
  return std::as_bytes(std::span(s));
}

struct GoldenTensor {
  std::vector<int64_t> shape;
  std::string dtype, data;
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data.data());
  }
};

// All tensors of a safetensors file made for the tests: the shortest reader, for trusted files only.
inline std::map<std::string, GoldenTensor> read_golden(const std::filesystem::path& path) {
  std::string file = slurp(path);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  std::map<std::string, GoldenTensor> tensors;
  const nlohmann::json head = nlohmann::json::parse(file.substr(8, length));
  for (auto& [name, entry] : head.items()) {
    if (name == "__metadata__") continue;
    size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    tensors[name] = {entry["shape"].get<std::vector<int64_t>>(), entry["dtype"],
                     file.substr(8 + length + begin, end - begin)};
  }
  return tensors;
}

inline Image random_image(std::mt19937& rng, int width, int height) {
  Image image(width, height);
  // Blocks, ramps and noise, with both extremes, so that filters overshoot.
  std::uniform_int_distribution<int> byte(0, 255);
  int block = 1 + int(rng() % 7);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c)
        image.row(y)[3 * x + c] =
            uint8_t((x / block + y / block) % 3 == 0 ? 255 * ((x / block) & 1) : byte(rng));
  return image;
}

inline Image crop(const Image& image, int left, int top, int width, int height) {
  Image out(width, height);
  for (int y = 0; y < height; ++y) std::memcpy(out.row(y), image.row(top + y) + 3 * left, out.stride());
  return out;
}

std::string sha256_hex(const void* data, size_t bytes);

}  // namespace vl8::testing
