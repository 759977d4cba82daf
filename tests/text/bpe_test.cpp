// Merging: the fast way and the heap against the definition, on random vocabularies and on the official one.
#include "text/bpe.h"

#include <gtest/gtest.h>

#include <chrono>

#include "core/file.h"
#include "support/paths.h"
#include "text/tokenizer.h"
#include "text/tokenizer_file.h"
#include "tiny_tokenizer.h"

namespace vl8 {
namespace {

Bpe bpe_of(const TokenizerFile& file) {
  std::vector<std::string_view> bytes;
  for (const TokenBytes& t : file.tokens)
    bytes.push_back(std::string_view(file.blob).substr(t.offset, t.size));
  return Bpe(file.byte_ids, file.merges, bytes);
}

void expect_same(const Bpe& bpe, const std::string& piece) {
  BpeWork work;
  auto plain = bpe.encode_plainly(piece);
  std::vector<TokenId> ids(piece.size());
  ids.resize(bpe.encode(piece, ids.data(), work));
  EXPECT_EQ(ids, plain) << "'" << piece << "'";
  std::vector<TokenId> heap(piece.size());
  heap.resize(bpe.encode_by_heap(piece, heap.data(), work));
  EXPECT_EQ(heap, plain) << "'" << piece << "'";
}

std::string random_piece(std::mt19937& random, const std::string& alphabet, size_t max_length) {
  std::string piece;
  for (size_t n = 1 + random() % max_length; n-- > 0;) piece += alphabet[random() % alphabet.size()];
  return piece;
}

TEST(Bpe, RandomVocabularies) {
  std::mt19937 random(std::random_device{}());
  size_t fast = 0;
  for (int round = 0; round < 300; ++round) {
    std::string alphabet = std::string("abcde").substr(0, 1 + random() % 5);
    auto merges = testing::random_merges(alphabet, 1 + random() % 60, random);
    auto file = parse_tokenizer_file(testing::tiny_tokenizer(merges).dump(), "random");
    Bpe bpe = bpe_of(file);
    fast += bpe.has_fast_path();
    for (int i = 0; i < 60; ++i) expect_same(bpe, random_piece(random, alphabet, 40));
    if (HasFailure()) FAIL() << testing::tiny_tokenizer(merges)["model"]["merges"];
  }
  EXPECT_EQ(fast, 300u) << "every such vocabulary has one merge per token";
}

TEST(Bpe, TwoWaysToOneTokenTakeTheHeap) {
  auto file = parse_tokenizer_file(
      testing::tiny_tokenizer({{"a", "b"}, {"b", "c"}, {"a", "bc"}, {"ab", "c"}}).dump(), "two ways");
  Bpe bpe = bpe_of(file);
  EXPECT_FALSE(bpe.has_fast_path());
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) expect_same(bpe, random_piece(random, "abc", 30));
}

TEST(Bpe, TokensThatMergingNeverGives) {
  // "abc" needs "bc", but "ab" comes first wherever there is an "abc".
  auto file =
      parse_tokenizer_file(testing::tiny_tokenizer({{"a", "b"}, {"b", "c"}, {"a", "bc"}}).dump(), "hidden");
  Bpe bpe = bpe_of(file);
  EXPECT_TRUE(bpe.has_fast_path());
  EXPECT_FALSE(bpe.is_whole(258));
  EXPECT_EQ(bpe.encode_plainly("abc"), (std::vector<TokenId>{256, 'c'}));
  std::mt19937 random(2);
  for (int i = 0; i < 500; ++i) expect_same(bpe, random_piece(random, "abc", 30));
}

TEST(Bpe, OfficialVocabulary) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "the official tokenizer is not here (set VL8_SHARED)";
  auto file = parse_tokenizer_file(read_file(*shared / "qwen3-vl/instruct/tokenizer.json"), "tokenizer.json");
  Bpe bpe = bpe_of(file);
  ASSERT_TRUE(bpe.has_fast_path());
  std::mt19937 random(std::random_device{}());
  for (int i = 0; i < 3000; ++i) {
    std::string piece;
    switch (random() % 4) {
      case 0:
        piece = testing::random_text(random, 1 + random() % 12);
        break;
      case 1:  // tokens side by side, which often want to merge across
        for (size_t n = 1 + random() % 5; n-- > 0;) {
          const TokenBytes& t = file.tokens[random() % file.base_tokens];
          piece += file.blob.substr(t.offset, t.size);
        }
        break;
      case 2:
        piece = random_piece(random, " abcdefghijklmnopqrstuvwxyz", 40);
        break;
      default:  // any bytes
        for (size_t n = 1 + random() % 30; n-- > 0;) piece += char(random() % 256);
    }
    expect_same(bpe, piece);
  }
  size_t whole = 0;
  for (size_t id = 0; id < file.base_tokens; ++id) whole += bpe.is_whole(TokenId(id));
  EXPECT_EQ(whole, file.base_tokens) << "each official token is what its own bytes give";
}

// Work per byte must not grow with the piece: these take hours if it does.
TEST(Bpe, LongPiecesAreLinear) {
  auto merges = std::vector<std::pair<std::string, std::string>>{
      {"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}, {"a", "b"}};
  auto file = parse_tokenizer_file(testing::tiny_tokenizer(merges).dump(), "tiny");
  Bpe bpe = bpe_of(file);
  BpeWork work;
  for (std::string piece : {std::string(1'000'001, 'a'), std::string(1'000'000, 'a') + "b"}) {
    std::vector<TokenId> ids(piece.size()), heap(piece.size());
    ids.resize(bpe.encode(piece, ids.data(), work));
    heap.resize(bpe.encode_by_heap(piece, heap.data(), work));
    EXPECT_EQ(ids, heap);
  }
}

}  // namespace
}  // namespace vl8
