// Random damage to a real header must give an Error or a file whose every tensor can be read in full; under
// ASan this is also a proof that no byte outside the file is touched.
#include <random>

#include "files.h"
#include "io/safetensors.h"

namespace vl8 {
namespace {
using testing::TempFolder;

std::string sound_file(const std::filesystem::path& path) {
  std::vector<float> values(256, 0.5f);
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (int i = 0; i < 6; ++i)
    tensors.push_back({"layers." + std::to_string(i) + ".weight",
                       {values.data(), i % 2 ? DType::f32 : DType::bf16, {4, 1 + i}}});
  write_safetensors(path, tensors);
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string mutate(std::string text, std::mt19937_64& rng) {
  static const char* kTokens[] = {"0",
                                  "1",
                                  "18446744073709551615",
                                  "9223372036854775808",
                                  "-1",
                                  "1e9",
                                  "[",
                                  "]",
                                  "{",
                                  "}",
                                  "\"",
                                  ",",
                                  ":",
                                  "null",
                                  "\"F32\"",
                                  "\"BF16\"",
                                  "\"F8_E4M3\"",
                                  "[0,0]",
                                  "\\u0000",
                                  "\xff",
                                  "data_offsets"};
  auto at = [&] { return 8 + rng() % (text.size() - 8); };
  for (uint64_t n = 1 + rng() % 3; n > 0; --n) {
    switch (rng() % 7) {
      case 0:
        text[at()] = char(rng());
        break;
      case 1:
        text.erase(at(), 1 + rng() % 8);
        break;
      case 2:
        text.insert(at(), kTokens[rng() % std::size(kTokens)]);
        break;
      case 3:
        text.resize(8 + rng() % (text.size() - 8) + 1);
        break;
      case 4:
        text[rng() % 8] = char(rng());
        break;
      case 5: {  // a digit becomes another: offsets and shapes that almost fit
        size_t p = text.find_first_of("0123456789", at());
        if (p != text.npos) text[p] = char('0' + rng() % 10);
        break;
      }
      default: {
        size_t from = at(), to = at(), count = std::min<size_t>(1 + rng() % 40, text.size() - from);
        text.insert(to, text.substr(from, count));
      }
    }
    if (text.size() < 16) break;
  }
  return text;
}

TEST(SafetensorsFuzz, DamagedFilesAreRefusedOrReadable) {
  TempFolder dir;
  const std::string sound = sound_file(dir / "sound.safetensors");
  std::mt19937_64 rng(20250101);
  int accepted = 0, refused = 0;
  constexpr int kRounds = 20000;
  for (int i = 0; i < kRounds; ++i) {
    std::string bad = mutate(sound, rng);
    auto path = dir / "bad.safetensors";
    testing::write_text(path, bad);
    try {
      SafetensorsFile f(path);
      size_t sum = 0;
      for (const TensorEntry& t : f.tensors())
        for (std::byte b : f.bytes(t)) sum += size_t(b) + 1;
      EXPECT_LE(sum, bad.size() * 256);
      ++accepted;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::input) << e.what();
      ++refused;
    }
  }
  EXPECT_EQ(accepted + refused, kRounds) << "every round ends in one of the two";
  EXPECT_GT(refused, kRounds / 2);
  EXPECT_GT(accepted, 0) << "damage to tensor values or names goes unseen by a header check";
}

}  // namespace
}  // namespace vl8
