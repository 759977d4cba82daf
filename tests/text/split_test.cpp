// Splitting and normalisation: the hand-written matcher against PCRE2, NFC against the library on whole
// texts.
#include <gtest/gtest.h>
#include <utf8proc.h>

#include "core/error.h"
#include "text/splitter.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "tiny_tokenizer.h"

namespace vl8 {
namespace {

// PCRE2 brings Unicode tables of its own, of another version: characters that it classes differently are left
// out of the comparison, after checking that each such difference is one of versions.
class Splitting : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    known_ = new std::vector<bool>(0x110000, false);
    PcreSplitter letter("\\p{L}", false, "test"), number("\\p{N}", false, "test"),
        space("\\s", false, "test");
    PcreSplitter unassigned("\\p{Cn}", false, "test");
    for (char32_t c = 0; c < 0x110000; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      std::string text = "!";  // a match makes a piece of its own
      append_utf8(text, c);
      auto matches = [&](const PcreSplitter& s) {
        std::vector<std::string_view> pieces;
        s.split(text, pieces);
        return pieces.size() == 2;
      };
      CharClass ours = UnicodeTable::get().char_class(c);
      bool same = matches(letter) == (ours == CharClass::letter) &&
                  matches(number) == (ours == CharClass::number) &&
                  matches(space) == (ours == CharClass::space);
      (*known_)[c] = same;
      if (!same) {
        ++different_;
        EXPECT_TRUE(matches(unassigned) || c == 0x180E) << "U+" << std::hex << uint32_t(c);
      }
    }
  }
  static void TearDownTestSuite() { delete known_; }

  static std::string comparable(const std::string& text) {
    std::string out;
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      CodePoint c = decode_valid(p);
      if ((*known_)[c.value]) out.append(p, c.bytes);
      p += c.bytes;
    }
    return out;
  }
  static inline std::vector<bool>* known_;
  static inline size_t different_ = 0;
};

TEST_F(Splitting, ByHandAsByPcre) {
  EXPECT_LT(different_, 20'000u);
  PcreSplitter pcre{std::string(kQwenPattern), false, "test"};
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 3000; ++round) {
    std::string text = comparable(testing::random_text(random, 1 + random() % 120));
    std::vector<std::string_view> by_pcre, by_hand;
    pcre.split(text, by_pcre);
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const char* q = qwen_piece_end(UnicodeTable::get(), p, end);
      ASSERT_GT(q, p);
      by_hand.emplace_back(p, size_t(q - p));
      p = q;
    }
    ASSERT_EQ(by_hand, by_pcre) << text;
  }
}

TEST_F(Splitting, EverythingOfAShortAlphabet) {
  PcreSplitter pcre{std::string(kQwenPattern), false, "test"};
  const char* kLetters[] = {"a",  "S", "'", " ",        "\n",           "\r",
                            "\t", "1", "!", "\xC5\xBF", "\xE4\xB8\xAD", "\xCC\x81"};
  constexpr size_t kN = std::size(kLetters);
  for (size_t i = 0; i < kN * kN * kN * kN; ++i) {
    std::string text;
    for (size_t k = 0, n = i; k < 4; ++k, n /= kN) text += kLetters[n % kN];
    std::vector<std::string_view> by_pcre, by_hand;
    pcre.split(text, by_pcre);
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const char* q = qwen_piece_end(UnicodeTable::get(), p, end);
      by_hand.emplace_back(p, size_t(q - p));
      p = q;
    }
    ASSERT_EQ(by_hand, by_pcre) << text;
  }
}

TEST(PcreSplitter, KeepsTheGapsAndRefusesWhatItCannotDo) {
  std::vector<std::string_view> pieces;
  PcreSplitter("\\d+", false, "test").split("ab12c3", pieces);
  EXPECT_EQ(pieces, (std::vector<std::string_view>{"ab", "12", "c", "3"}));
  pieces.clear();
  PcreSplitter("x*", false, "test").split("axxb", pieces);
  EXPECT_EQ(pieces, (std::vector<std::string_view>{"a", "xx", "b"})) << "empty matches make no pieces";
  pieces.clear();
  PcreSplitter("a.b", true, "test").split("a.bacb", pieces);
  EXPECT_EQ(pieces, (std::vector<std::string_view>{"a.b", "acb"})) << "literal";
  EXPECT_THROW(PcreSplitter("(", false, "test"), Error);
  EXPECT_THROW(PcreSplitter("", false, "test"), Error);
  EXPECT_THROW(PcreSplitter("\\h", false, "test"), Error) << "means another thing in the reference's engine";
  EXPECT_THROW(PcreSplitter(std::string(100'000, 'a'), false, "test"), Error);
}

TEST(PcreSplitter, HostileBacktrackingEndsWithAnError) {
  PcreSplitter bad("(a+)+$", false, "test");
  std::vector<std::string_view> pieces;
  EXPECT_THROW(bad.split(std::string(40, 'a') + "b", pieces), Error);
  pieces.clear();
  bad.split("baa", pieces);
  EXPECT_EQ(pieces, (std::vector<std::string_view>{"b", "aa"})) << "and the splitter is still good";
}

std::string nfc_by_library(const std::string& text) {
  utf8proc_uint8_t* out = nullptr;
  auto n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), utf8proc_ssize_t(text.size()),
                        &out, utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  std::string result(reinterpret_cast<char*>(out), size_t(std::max<utf8proc_ssize_t>(n, 0)));
  std::free(out);
  return result;
}

TEST(Nfc, AsTheLibrary) {
  std::mt19937 random(std::random_device{}());
  size_t changed = 0;
  std::string buffer;
  for (int round = 0; round < 4000; ++round) {
    std::string text = testing::random_text(random, 1 + random() % 60);
    if (text.find("\u11A7") != std::string::npos) continue;  // the library swallows it, see below
    std::string expected = nfc_by_library(text);
    changed += expected != text;
    ASSERT_EQ(to_nfc(text, buffer), expected) << text;
  }
  EXPECT_GT(changed, 500u);
}

// Trailing consonants of Hangul begin at U+11A8 (Unicode 3.12, "Conjoining Jamo Behavior"); utf8proc 2.8 takes U+11A7 for one.
TEST(Nfc, TheCodePointBeforeTheTrailingConsonantsStays) {
  std::string buffer;
  EXPECT_EQ(to_nfc("\uC608\u11A7\u11B9", buffer), "\uC608\u11A7\u11B9");
  EXPECT_EQ(to_nfc("\u110B\u1168\u11B9", buffer), "\uC61A");
}

TEST(Nfc, EveryCharacterAloneAndAfterALetter) {
  std::string buffer;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string alone, after = "a\xCC\xA7";
    append_utf8(alone, c);
    append_utf8(after, c);
    ASSERT_EQ(to_nfc(alone, buffer), nfc_by_library(alone)) << uint32_t(c);
    ASSERT_EQ(to_nfc(after, buffer), nfc_by_library(after)) << uint32_t(c);
  }
}

TEST(Nfc, ALongRunOfMarksIsNotQuadratic) {
  std::string text = "a", buffer;
  for (int i = 0; i < 500'000; ++i) text += i % 2 ? "\xCC\x81" : "\xCC\xA3";  // classes 230 and 220 in turn
  std::string_view normal = to_nfc(text, buffer);
  EXPECT_NE(normal, text);
  EXPECT_EQ(normal.substr(0, 3), "\xE1\xBA\xA1") << "the first mark below joins the letter";
}

TEST(Utf8, IllFormedPartsAsInTheStandard) {
  // Rows of the standard's examples: each ill-formed part is one U+FFFD.
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(to_valid_utf8("a\xC0\xAF"
                          "b"),
            "a" + r + r + "b");
  EXPECT_EQ(to_valid_utf8("\xE0\x9F\x80"), r + r + r);
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), r + r + r) << "surrogates";
  EXPECT_EQ(to_valid_utf8("\xF4\x91\x92\x93\xFF"
                          "A\x80"
                          "B"),
            r + r + r + r + r + "A" + r + "B");
  EXPECT_EQ(to_valid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
                          "A"),
            r + r + r + r + "A")
      << "cut short";
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (size_t n = random() % 12; n-- > 0;)
      bytes += char(random() % 3 ? 0x80 + random() % 128 : random() % 256);
    std::string fixed = to_valid_utf8(bytes);
    EXPECT_TRUE(is_valid_utf8(fixed));
    if (is_valid_utf8(bytes)) {
      EXPECT_EQ(fixed, bytes);
    }
  }
}

}  // namespace
}  // namespace vl8
