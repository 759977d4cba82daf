#include "server/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "core/error.h"
#include "core/file.h"

namespace vl8 {

void ApiKeys::load(const std::filesystem::path& file) {
  const std::string text = read_file(file, size_t(1) << 20);
  std::vector<Digest> fresh;
  size_t line = 0;
  for (size_t pos = 0; pos < text.size();) {
    ++line;
    const size_t end = std::min(text.find('\n', pos), text.size());
    std::string_view key = std::string_view(text).substr(pos, end - pos);
    pos = end + 1;
    while (!key.empty() && std::isspace(static_cast<unsigned char>(key.back()))) key.remove_suffix(1);
    while (!key.empty() && std::isspace(static_cast<unsigned char>(key.front()))) key.remove_prefix(1);
    if (key.empty() || key.front() == '#') continue;
    if (key.size() < 8 || key.size() > 512) fail_input("{}:{}: a key must have 8 to 512 bytes, not {}", file.string(), line, key.size());
    Digest d;
    SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), d.data());
    fresh.push_back(d);
  }
  if (fresh.empty()) fail_input("{}: there is no key in this file; write one on each line", file.string());
  std::lock_guard lock(mutex_);
  digests_ = std::move(fresh);
}

bool ApiKeys::required() const {
  std::lock_guard lock(mutex_);
  return !digests_.empty();
}

size_t ApiKeys::size() const {
  std::lock_guard lock(mutex_);
  return digests_.size();
}

bool ApiKeys::accepts(std::string_view key) const {
  Digest d;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), d.data());
  std::lock_guard lock(mutex_);
  int found = digests_.empty();
  for (const Digest& known : digests_) found |= CRYPTO_memcmp(known.data(), d.data(), d.size()) == 0;
  return found != 0;
}

}  // namespace vl8
