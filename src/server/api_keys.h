// Accepted API keys. Only digests are kept; comparing takes the same time whatever is wrong with a key.
#pragma once
#include <array>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace vl8 {

class ApiKeys {
 public:
  ApiKeys() = default;  // no keys: everyone is admitted

  // One key a line; blank lines and lines that begin with # are skipped. Error(input) where there is none, or one is
  // shorter than 8 or longer than 512 bytes (the line is named, the key is not). A failed load leaves the old keys.
  void load(const std::filesystem::path& file);
  bool required() const;
  bool accepts(std::string_view key) const;
  size_t size() const;

 private:
  using Digest = std::array<unsigned char, 32>;  // SHA-256
  mutable std::mutex mutex_;
  std::vector<Digest> digests_;
};

}  // namespace vl8
