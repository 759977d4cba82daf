// Text of several scripts for measuring tokenizers, made from the tokenizer's own vocabulary: words are
// tokens of one script drawn by Zipf's law over their ids (merges are learnt in the order of frequency),
// joined as the script joins them, with words of several tokens among them. So piece lengths, repetition and
// merge counts are like those of prose, without carrying a corpus along. Nothing repeats as a block; a seed
// gives the same text again.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace vl8::bench {

struct Sample {
  const char* name;
  std::string text;
};

// Texts of about `bytes` each: english, code, chinese, arabic, hindi, korean, emoji; and last "mixed",
// paragraphs of all of them in turn (30 % English, 25 % code, 15 % Chinese, 8 % each of Arabic, Hindi,
// Korean, the rest emoji chat).
std::vector<Sample> make_samples(const Tokenizer& tokenizer, size_t bytes, uint64_t seed);

}  // namespace vl8::bench
