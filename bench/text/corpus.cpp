#include "corpus.h"

#include <cmath>
#include <random>

#include "text/utf8.h"

namespace vl8::bench {
namespace {
enum class Script { latin, han, arabic, devanagari, hangul, emoji, other };

Script script_of(char32_t c) {
  auto in = [c](char32_t a, char32_t b) { return c >= a && c <= b; };
  if (in('a', 'z') || in('A', 'Z')) return Script::latin;
  if (in(0x4E00, 0x9FFF)) return Script::han;
  if (in(0x0620, 0x064A)) return Script::arabic;
  if (in(0x0900, 0x097F)) return Script::devanagari;
  if (in(0xAC00, 0xD7A3)) return Script::hangul;
  if (in(0x1F300, 0x1FAFF)) return Script::emoji;
  return Script::other;
}

class Writer {
 public:
  Writer(const Tokenizer& tokenizer, uint64_t seed) : random_(seed) {
    for (TokenId id = 0; id < tokenizer.id_limit(); ++id) {
      std::string_view bytes = tokenizer.token_bytes(id);
      if (tokenizer.is_added(id) || bytes.size() < 2 || !is_valid_utf8(bytes)) continue;
      bool blank = bytes[0] == ' ';
      if (blank) bytes.remove_prefix(1);
      Script s = script_of(decode_valid(bytes.data()).value);
      for (const char* p = bytes.data(); p < bytes.data() + bytes.size(); p += decode_valid(p).bytes)
        if (script_of(decode_valid(p).value) != s) s = Script::other;
      if (s == Script::other || (s == Script::latin && bytes.size() < 3)) continue;
      (blank || s != Script::latin ? starts_ : ends_)[size_t(s)].push_back(std::string(bytes));
    }
  }

  std::string english(size_t bytes) {
    std::string out;
    for (int n = 1; out.size() < bytes; ++n) {
      out += word(Script::latin, 0.12);
      out += n % 17 == 0    ? ".\n\n"
             : n % 11 == 0  ? ". "
             : n % 7 == 0   ? ", "
             : chance(0.02) ? " " + number() + " "
                            : " ";
    }
    return out;
  }
  std::string code(size_t bytes) {
    std::string out;
    while (out.size() < bytes) {
      std::string a = word(Script::latin, 0.1), b = word(Script::latin, 0.3), c = word(Script::latin, 0.1);
      std::string indent(size_t(4 * (random_() % 4)), ' ');
      switch (random_() % 5) {
        case 0:
          out += indent + "if (" + a + "_" + b + " != " + number() + ") {\n";
          break;
        case 1:
          out += indent + "auto " + a + " = " + b + "." + c + "(" + a + ", " + number() + ");\n";
          break;
        case 2:
          out += indent + "}\n\n";
          break;
        case 3:
          out += indent + "// " + a + " " + b + " the " + c + "\n";
          break;
        default:
          out += indent + "self." + a + "[" + b + "] += \"" + c + "\"  # " + number() + "\n";
      }
    }
    return out;
  }
  std::string chinese(size_t bytes) {
    std::string out;
    while (out.size() < bytes) {
      for (size_t words = 2 + random_() % 6; words-- > 0;) out += word(Script::han, 0);
      out += chance(0.3) ? "。" : chance(0.1) ? "\n" : "，";
    }
    return out;
  }
  std::string spaced(Script s, size_t bytes, double longer) {
    std::string out;
    for (int n = 1; out.size() < bytes; ++n) out += word(s, longer) + (n % 19 == 0 ? ".\n" : " ");
    return out;
  }
  std::string emoji(size_t bytes) {
    std::string out;
    while (out.size() < bytes) {
      for (size_t words = 1 + random_() % 5; words-- > 0;) out += word(Script::latin, 0.1) + " ";
      out += pick(starts_[size_t(Script::emoji)]) + (chance(0.3) ? "❤️" : "") + (chance(0.5) ? "!!\n" : " ");
    }
    return out;
  }
  std::string mixed(size_t bytes) {
    std::string out;
    while (out.size() < bytes) {
      out += english(600) + "\n" + code(500) + "\n" + chinese(300) + "\n" + spaced(Script::arabic, 160, 0.5) +
             "\n";
      out += spaced(Script::devanagari, 160, 0.6) + "\n" + spaced(Script::hangul, 160, 0.6) + "\n" +
             emoji(120) + "\n";
    }
    return out;
  }

 private:
  bool chance(double p) { return std::uniform_real_distribution<>()(random_) < p; }
  std::string number() { return std::to_string(random_() % (chance(0.5) ? 100 : 100000)); }
  // Rank r with probability about r^-1.1: the first hundred words make 56 % of the text and the first
  // thousand 76 %, much as in English prose.
  const std::string& pick(const std::vector<std::string>& from) {
    static const std::string none = "x";
    if (from.empty()) return none;
    double u = std::uniform_real_distribution<>()(random_), n = double(from.size());
    double rank = std::pow(1 - u * (1 - std::pow(n, -0.1)), -10.0) - 1;
    return from[std::min(size_t(rank), from.size() - 1)];
  }
  // Prose comes back to its words: 60 to 80 % of them are among the 300 before (measured on manuals and
  // sources). Draws from the law above repeat about a third by themselves; half of the rest are taken from
  // the last 300 here.
  std::string word(Script s, double longer) {
    auto& recent = recent_[size_t(s)];
    if (recent.size() == 300 && chance(0.5)) return recent[random_() % 300];
    std::string w = new_word(s, longer);
    if (recent.size() < 300)
      recent.push_back(w);
    else
      recent[oldest_[size_t(s)]++ % 300] = w;
    return w;
  }
  std::string new_word(Script s, double longer) {
    std::string w = pick(starts_[size_t(s)]);
    while (chance(longer)) w += pick(s == Script::latin ? ends_[size_t(s)] : starts_[size_t(s)]);
    return w;
  }

  std::mt19937_64 random_;
  std::vector<std::string> starts_[7], ends_[7], recent_[7];
  size_t oldest_[7] = {};
};
}  // namespace

std::vector<Sample> make_samples(const Tokenizer& tokenizer, size_t bytes, uint64_t seed) {
  Writer w(tokenizer, seed);
  return {{"english", w.english(bytes)},
          {"code", w.code(bytes)},
          {"chinese", w.chinese(bytes)},
          {"arabic", w.spaced(Script::arabic, bytes, 0.5)},
          {"hindi", w.spaced(Script::devanagari, bytes, 0.6)},
          {"korean", w.spaced(Script::hangul, bytes, 0.6)},
          {"emoji", w.emoji(bytes)},
          {"mixed", w.mixed(bytes)}};
}

}  // namespace vl8::bench
