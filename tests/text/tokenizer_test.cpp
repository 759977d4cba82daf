// tokenizer.json: what is accepted and what is refused; added tokens; marks of trust; decoding.
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "core/error.h"
#include "core/file.h"
#include "support/paths.h"
#include "text/stream_decoder.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "tiny_tokenizer.h"

namespace vl8 {
namespace {
using testing::added_token;
using testing::Json;
using testing::tiny_tokenizer;
using Ids = std::vector<TokenId>;

Json sample() {
  return tiny_tokenizer({{"a", "b"}, {"ab", "c"}, {"<", "|"}, {"o", "k"}});
}
Tokenizer load(const Json& json) {
  return Tokenizer::from_json(json.dump(), "tokenizer.json");
}

void expect_refused(const Json& json, const std::string& part_of_message) {
  try {
    load(json);
    ADD_FAILURE() << "accepted, though " << part_of_message << " was expected";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr(part_of_message));
    EXPECT_THAT(e.what(), ::testing::HasSubstr("tokenizer.json")) << "the file is named";
    EXPECT_NE(e.kind(), ErrorKind::internal) << e.what();
  }
}

TEST(TokenizerFile, RefusesBrokenVocabularies) {
  Json j = sample();
  j["model"]["vocab"]["zz"] = 5;
  expect_refused(j, "id 5 occurs twice");
  for (Json bad : {Json(-1), Json(1 << 21), Json(int64_t(1) << 40), Json(1.5), Json("7"), Json(nullptr)}) {
    j = sample();
    j["model"]["vocab"]["zz"] = bad;
    expect_refused(j, "the id of \"zz\" must be an integer");
  }
  j = sample();
  j["model"]["vocab"].erase("A");
  expect_refused(j, "byte 0x41");
  j = sample();
  j["model"]["vocab"] = Json::array();
  expect_refused(j, "model.vocab must be an object");
  std::string text = sample().dump();
  size_t at = text.find("\"A\":65");
  text.replace(at, 6, "\"A\":65,\"A\":999");
  EXPECT_THROW(Tokenizer::from_json(text, "t"), Error) << "a key twice";
}

TEST(TokenizerFile, RefusesBrokenMerges) {
  for (auto [bad, message] :
       std::vector<std::pair<Json, std::string>>{{Json("a zz"), "\"zz\" is not in the vocabulary"},
                                                 {Json("b a"), "\"ba\" is not in the vocabulary"},
                                                 {Json("ab"), "must be \"a b\""},
                                                 {Json("a b c"), "must be \"a b\""},
                                                 {Json::array({"a"}), "must be \"a b\""},
                                                 {Json(7), "must be \"a b\""},
                                                 {Json("a b"), "repeats an earlier merge"}}) {
    Json j = sample();
    j["model"]["merges"].push_back(bad);
    expect_refused(j, message);
  }
}

TEST(TokenizerFile, RefusesWhatItDoesNotDo) {
  auto with = [](auto&& change) {
    Json j = sample();
    change(j);
    return j;
  };
  expect_refused(with([](Json& j) { j["model"]["type"] = "WordPiece"; }), "model.type");
  expect_refused(with([](Json& j) { j["model"]["dropout"] = 0.1; }), "dropout");
  expect_refused(with([](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }), "end_of_word_suffix");
  expect_refused(with([](Json& j) { j["normalizer"] = {{"type", "NFKC"}}; }), "NFKC");
  expect_refused(with([](Json& j) { j["pre_tokenizer"] = nullptr; }), "pre_tokenizer");
  expect_refused(with([](Json& j) { j["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }),
                 "add_prefix_space");
  expect_refused(with([](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }),
                 "Isolated");
  expect_refused(with([](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {{"Regex", "("}}; }),
                 "split pattern");
  expect_refused(with([](Json& j) { j["decoder"] = {{"type", "WordPiece"}}; }), "decoder");
  expect_refused(with([](Json& j) { j["post_processor"] = {{"type", "TemplateProcessing"}}; }),
                 "post_processor");
  EXPECT_THROW(Tokenizer::from_json("", "t"), Error);
  EXPECT_THROW(Tokenizer::from_json("[1]", "t"), Error);
  EXPECT_THROW(Tokenizer::from_json("{}", "t"), Error);
  EXPECT_THROW(Tokenizer::from_json("{\"model\":{\"type\":\"BPE\"", "t"), Error);
  std::string deep(100'000, '[');
  EXPECT_THROW(Tokenizer::from_json(deep, "t"), Error);
  EXPECT_THROW(Tokenizer::load(std::filesystem::path(::testing::TempDir()) / "no_such_folder"), Error);
}

// Every way to cut or damage a good file ends in an Error or a tokenizer, never in anything else.
TEST(TokenizerFile, DamagedFiles) {
  Json j = sample();
  j["added_tokens"].push_back(added_token(260, "<|x|>", true));
  std::string good = j.dump();
  std::mt19937 random(std::random_device{}());
  size_t loaded = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string bad = good;
    switch (random() % 3) {
      case 0:
        bad.resize(random() % bad.size());
        break;
      case 1:
        for (int n = 0; n < 3; ++n) bad[random() % bad.size()] = char(random() % 256);
        break;
      default:
        bad.erase(random() % bad.size(), 1 + random() % 8);
    }
    try {
      Tokenizer::from_json(bad, "t").encode("abc ok <|x|>");
      ++loaded;
    } catch (const Error& e) {
      EXPECT_NE(e.kind(), ErrorKind::internal) << e.what();
    }
  }
  EXPECT_LT(loaded, 1500u);
}

TEST(TokenizerFile, MergesAsPairsMeanTheSame) {
  Json pairs = sample();
  for (Json& merge : pairs["model"]["merges"]) {
    std::string s = merge;
    size_t blank = s.find(' ');
    merge = {s.substr(0, blank), s.substr(blank + 1)};
  }
  auto a = load(sample()), b = load(pairs);
  for (const char* text : {"abcabab", "<|ok|>", "  x\n"}) EXPECT_EQ(a.encode(text), b.encode(text));
  EXPECT_EQ(a.encode("abcab"), (Ids{257, 256}));
}

TEST(TokenizerFile, IgnoreMergesTakesWholePieces) {
  Json j = sample();
  j["model"]["vocab"]["xyz"] = 300;  // no merges lead there
  EXPECT_EQ(load(j).encode("xyz"), (Ids{'x', 'y', 'z'}));
  j["model"]["ignore_merges"] = true;
  EXPECT_EQ(load(j).encode("xyz"), (Ids{300}));
  EXPECT_EQ(load(j).encode("xyza"), (Ids{'x', 'y', 'z', 'a'}));
}

TEST(TokenizerFile, SeveralSplitsAndByteLevelsOwnPattern) {
  Json j = tiny_tokenizer({{"1", "2"}, {"12", "3"}, {"a", "1"}}, "\\p{N}{1,2}");
  EXPECT_EQ(load(j).encode("a123"), (Ids{'a', 256, '3'})) << "split after two digits, and before the first";
  Json more = j["pre_tokenizer"]["pretokenizers"][0];
  more["pattern"] = {{"String", "2"}};
  j["pre_tokenizer"]["pretokenizers"].insert(j["pre_tokenizer"]["pretokenizers"].begin() + 1, more);
  EXPECT_EQ(load(j).encode("a123"), (Ids{'a', '1', '2', '3'}));
  j["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  EXPECT_EQ(load(j).encode("a123 a1"), (Ids{'a', 257, ' ', 'a', '1'})) << "the pattern of GPT-2";
}

// Added tokens

TEST(AddedTokens, LongestOfTheLeftmost) {
  Json j = sample();
  j["added_tokens"] = {added_token(300, "<x>", true), added_token(301, "<x><y>", false),
                       added_token(302, "<y>", true)};
  auto t = load(j);
  EXPECT_EQ(t.encode("<x><y><x>"), (Ids{301, 300}));
  EXPECT_EQ(t.encode("<x><x><y>a<y>"), (Ids{300, 301, 'a', 302}));
  EXPECT_EQ(t.encode("<x", Special::recognise), (Ids{'<', 'x'}));
  EXPECT_EQ(t.encode("<x>", Special::literal), (Ids{'<', 'x', '>'}));
  EXPECT_EQ(t.find_added("<y>"), 302);
  EXPECT_EQ(t.find_added("ab"), std::nullopt);
  EXPECT_TRUE(t.is_special(300));
  EXPECT_FALSE(t.is_special(301));
  EXPECT_EQ(t.id_limit(), 303);
  EXPECT_FALSE(t.has_token(299));
}

TEST(AddedTokens, FlagsAreHonoured) {
  auto with = [](const char* flag) {
    Json j = sample();
    Json token = added_token(300, "<m>", true);
    token[flag] = true;
    j["added_tokens"] = {token};
    return load(j);
  };
  EXPECT_EQ(with("lstrip").encode("a  <m> b"), (Ids{'a', 300, ' ', 'b'}));
  EXPECT_EQ(with("rstrip").encode("a <m> \n b"), (Ids{'a', ' ', 300, 'b'}));
  EXPECT_EQ(with("single_word").encode("x<m> <m>"), (Ids{'x', '<', 'm', '>', ' ', 300}));
  EXPECT_EQ(with("single_word").encode("\xE4\xB8\xAD<m>").size(), 6u) << "a letter of any script touches it";
  Json j = sample();
  Json token = added_token(300, "<\xC3\xA9>", false);
  token["normalized"] = true;
  j["added_tokens"] = {token};
  auto t = load(j);
  EXPECT_EQ(t.encode("<e\xCC\x81>"), (Ids{300})) << "found in normalised text";
  token["normalized"] = false;
  j["added_tokens"] = {token};
  EXPECT_NE(load(j).encode("<e\xCC\x81>"), (Ids{300}));
}

TEST(AddedTokens, RefusedWhenTheyContradict) {
  auto with = [](Json token) {
    Json j = sample();
    j["added_tokens"] = {added_token(300, "<m>", true), std::move(token)};
    return j;
  };
  expect_refused(with(added_token(301, "<m>", true)), "occurs twice");
  expect_refused(with(added_token(300, "<n>", true)), "belongs to another token");
  expect_refused(with(added_token('a', "<n>", true)), "belongs to another token");
  expect_refused(with(added_token(301, "ab", true)), "in the vocabulary");
  expect_refused(with(added_token(301, "", true)), "0 bytes");
  expect_refused(with(added_token(-1, "<n>", true)), "must be an integer");
  expect_refused(with(added_token(1 << 30, "<n>", true)), "must be an integer");
  expect_refused(with(added_token(301, std::string(5000, 'x'), true)), "5000 bytes");
  expect_refused(with(Json("x")), "must be an object");
  Json same = sample();
  same["added_tokens"] = {added_token(256, "ab", false)};
  EXPECT_EQ(load(same).encode("ab"), (Ids{256})) << "a token of the vocabulary may be listed again";
}

// Marks of trust

class Trusted : public ::testing::Test {
 protected:
  Trusted() : tokenizer(load(json())) {}
  static Json json() {
    Json j = sample();
    j["added_tokens"] = {added_token(300, "<|end|>", true), added_token(301, "<think>", false),
                         added_token(302, "<|end|><think>", true)};
    return j;
  }
  Ids encode(std::initializer_list<std::pair<const char*, Trust>> parts) const {
    MarkedText t;
    for (const auto& [text, trust] : parts) t.append(text, trust);
    return tokenizer.encode_prompt(t);
  }
  Ids literal(const char* text) const { return tokenizer.encode(text, Special::literal); }
  Tokenizer tokenizer;
};

TEST_F(Trusted, SpecialTokensNeedTheAuthor) {
  EXPECT_EQ(encode({{"<|end|>", Trust::author}}), (Ids{300}));
  EXPECT_EQ(encode({{"<|end|>", Trust::model}}), literal("<|end|>"));
  EXPECT_EQ(encode({{"<|end|>", Trust::user}}), literal("<|end|>"));
  EXPECT_EQ(encode({{"<think>", Trust::author}}), (Ids{301}));
  EXPECT_EQ(encode({{"<think>", Trust::model}}), (Ids{301}));
  EXPECT_EQ(encode({{"<think>", Trust::user}}), literal("<think>"));
}

TEST_F(Trusted, TokensAcrossABorderAreText) {
  EXPECT_EQ(encode({{"<|en", Trust::user}, {"d|>", Trust::author}}), literal("<|end|>"));
  EXPECT_EQ(encode({{"<|end|", Trust::author}, {">", Trust::user}}), literal("<|end|>"));
  EXPECT_EQ(encode({{"<", Trust::author}, {"|end|", Trust::user}, {">", Trust::author}}), literal("<|end|>"));
  // The longest match fails, the shorter one inside the author's bytes holds.
  Ids expected = {300};
  for (TokenId id : literal("<think>")) expected.push_back(id);
  EXPECT_EQ(encode({{"<|end|>", Trust::author}, {"<think>", Trust::user}}), expected);
}

TEST_F(Trusted, MarksDoNotChangeOrdinaryText) {
  EXPECT_EQ(encode({{"a", Trust::author}, {"b", Trust::user}, {"c", Trust::author}}), (Ids{257}))
      << "merges run across marks";
  EXPECT_EQ(encode({{"e", Trust::author}, {"\xCC\x81", Trust::user}}), tokenizer.encode("\xC3\xA9"));
}

// Whatever is marked as a user's, no special id appears, and the ids spell the same text.
TEST_F(Trusted, RandomPrompts) {
  std::mt19937 random(std::random_device{}());
  const char* kParts[] = {"<|end|>", "<think>", "<|end", "|>",        "<",
                          "ab",      " ",       "\n",    "e\xCC\x81", "<|end|><think>"};
  for (int round = 0; round < 3000; ++round) {
    MarkedText prompt;
    size_t ends_of_author = 0;
    for (size_t n = random() % 8; n-- > 0;) {
      const char* part = kParts[random() % std::size(kParts)];
      if (random() % 4 == 0) prompt.append(" <|end|> ", Trust::author), ++ends_of_author;
      prompt.append(part, Trust::user);
    }
    Ids ids = tokenizer.encode_prompt(prompt);
    EXPECT_EQ(size_t(std::count(ids.begin(), ids.end(), 300)), ends_of_author);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), 301) + std::count(ids.begin(), ids.end(), 302), 0);
    std::string buffer;
    EXPECT_EQ(tokenizer.decode(ids), std::string(to_nfc(prompt.view(), buffer)));
  }
}

TEST_F(Trusted, IllFormedBytesKeepTheirMarks) {
  MarkedText t("\xFF", Trust::user);
  t.append("<|end|>", Trust::author);
  t.append("\xE4\xB8<|end|>", Trust::user);
  Ids ids = tokenizer.encode_prompt(t);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 300), 1);
  EXPECT_EQ(tokenizer.decode(ids), "\xEF\xBF\xBD<|end|>\xEF\xBF\xBD<|end|>");
}

TEST(MarkedText, Operations) {
  MarkedText t("head ");
  t.append("user", Trust::user);
  t.append("s", Trust::user);
  t.append(" model", Trust::model);
  EXPECT_EQ(t.spans(), (std::vector<TrustSpan>{{5, 10, Trust::user}, {10, 16, Trust::model}}));
  EXPECT_EQ(t.trust(), Trust::user);
  EXPECT_EQ(t.slice(3, 7).spans(), (std::vector<TrustSpan>{{2, 4, Trust::user}}));
  EXPECT_EQ(t.slice(12, 99).str(), "odel");
  MarkedText r = t.replaced("s", MarkedText("--"), SIZE_MAX);
  EXPECT_EQ(r.str(), "head u--er-- model");
  EXPECT_EQ(r.spans(),
            (std::vector<TrustSpan>{{5, 6, Trust::user}, {8, 10, Trust::user}, {12, 18, Trust::model}}));
  EXPECT_EQ(t.replaced("s", MarkedText("--"), 1).str(), "head u--ers model");
  t.append(t);
  EXPECT_EQ(t.size(), 32u);
  EXPECT_EQ(t.trust_at(22), Trust::user);
  EXPECT_EQ(t.trust_at(16), Trust::author);
}

// Decoding

TEST(Decoding, StreamsNeverEndInsideACharacter) {
  auto t = load(sample());
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 2000; ++round) {
    Ids ids;
    if (random() % 2) {
      ids = t.encode(testing::random_text(random, 20));
    } else {
      for (size_t n = random() % 30; n-- > 0;) ids.push_back(TokenId(random() % 262));
    }
    StreamDecoder decoder(t, false);
    std::string all;
    for (TokenId id : ids) {
      std::string piece = decoder.push(id);
      EXPECT_TRUE(is_valid_utf8(piece));
      all += piece;
    }
    all += decoder.finish();
    EXPECT_FALSE(decoder.holds_bytes());
    EXPECT_EQ(all, t.decode(ids));
  }
}

TEST(Decoding, HeldBytesAndSpecialTokens) {
  Json j = sample();
  j["added_tokens"] = {added_token(300, "<|end|>", true), added_token(301, "<think>", false)};
  auto t = load(j);
  StreamDecoder d(t);
  EXPECT_EQ(d.push(0xF0), "");
  EXPECT_EQ(d.push(0x9F), "");
  EXPECT_EQ(d.push(300), "") << "skipped, and the character goes on";
  EXPECT_EQ(d.push(0x98), "");
  EXPECT_EQ(d.push(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(d.push(301), "<think>");
  EXPECT_EQ(d.push(0xE4), "");
  EXPECT_EQ(d.push('x'), "\xEF\xBF\xBDx");
  EXPECT_EQ(d.push(0xE4), "");
  EXPECT_EQ(d.push(100'000), "") << "an id without a token";
  EXPECT_EQ(d.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(d.finish(), "");
}

TEST(Encoding, AnyBytes) {
  auto t = load(sample());
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 3000; ++round) {
    std::string bytes;
    for (size_t n = random() % 40; n-- > 0;) bytes += char(random() % 256);
    EXPECT_TRUE(is_valid_utf8(t.decode(t.encode(bytes))));
  }
  EXPECT_EQ(t.decode(t.encode(std::string("a\0b", 3))), std::string("a\0b", 3));
}

TEST(Encoding, ManyThreadsAtOnce) {
  auto t = load(sample());
  std::mt19937 random(3);
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  for (int i = 0; i < 50; ++i) {
    texts.push_back(testing::random_text(random, 200));
    expected.push_back(t.encode(texts.back()));
  }
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([&] {
      for (size_t i = 0; i < texts.size(); ++i) wrong += t.encode(texts[i]) != expected[i];
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// A text that came before must not change what comes after (the cache of pieces).
TEST(Encoding, TheCacheChangesNothing) {
  auto shared = testing::shared_dir();
  if (!shared) GTEST_SKIP() << "the official tokenizer is not here (set VL8_SHARED)";
  auto warm = Tokenizer::load(*shared / "qwen3-vl" / "instruct");
  auto general_json = read_file(*shared / "qwen3-vl" / "instruct" / "tokenizer.json");
  // With an empty group in front it is not recognised as the Qwen pattern, so PCRE2 does the splitting.
  size_t at = general_json.find("(?i:'s|'t");
  ASSERT_NE(at, std::string::npos);
  general_json.insert(at, "(?:)");
  auto general = Tokenizer::from_json(general_json, "general");
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 300; ++round) {
    std::string text = testing::random_text(random, 300);
    Ids ids = warm.encode(text);
    Ids pieces;
    std::string buffer;
    for (auto piece : warm.split(to_nfc(text, buffer)))
      for (TokenId id : warm.encode_piece(piece)) pieces.push_back(id);
    if (text.find("<|im_end|>") == std::string::npos && text.find("<think>") == std::string::npos) {
      EXPECT_EQ(ids, pieces) << text;
    }
    EXPECT_EQ(warm.encode(text), ids);
    EXPECT_EQ(general.encode(text), ids) << text;
  }
}

}  // namespace
}  // namespace vl8
