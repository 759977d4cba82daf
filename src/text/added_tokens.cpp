#include "text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>

#include "text/unicode.h"
#include "text/utf8.h"

namespace vl8 {
namespace {
// The least trusted mark within bytes [begin, end).
Trust trust_between(std::span<const TrustSpan> spans, size_t begin, size_t end) {
  auto it =
      std::partition_point(spans.begin(), spans.end(), [&](const TrustSpan& s) { return s.end <= begin; });
  Trust worst = Trust::author;
  for (; it != spans.end() && it->begin < end; ++it) worst = std::max(worst, it->trust);
  return worst;
}

// \w of the reference's regular expressions: letters, marks, decimal digits, connecting punctuation, joiners.
bool is_word(char32_t c) {
  switch (utf8proc_category(utf8proc_int32_t(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return c == 0x200C || c == 0x200D;
  }
}

bool touches_word(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 && is_word(decode_valid_before(text.data() + begin).value)) return true;
  return end < text.size() && is_word(decode_valid(text.data() + end).value);
}

bool is_space(char32_t c) {
  return UnicodeTable::get().char_class(c) == CharClass::space;
}

size_t spaces_before(std::string_view text, size_t from, size_t at) {
  while (at > from) {
    CodePoint c = decode_valid_before(text.data() + at);
    if (!is_space(c.value)) break;
    at -= c.bytes;
  }
  return at;
}
size_t spaces_after(std::string_view text, size_t at) {
  while (at < text.size()) {
    CodePoint c = decode_valid(text.data() + at);
    if (!is_space(c.value)) break;
    at += c.bytes;
  }
  return at;
}
}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), token_of_node_{-1} {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    uint32_t node = 0;
    for (char c : tokens_[i].content) {
      auto [edge, is_new] =
          edges_.try_emplace(uint64_t(node) << 8 | uint8_t(c), uint32_t(token_of_node_.size()));
      if (is_new) token_of_node_.push_back(-1);
      node = edge->second;
    }
    token_of_node_[node] = int32_t(i);
    starts_[uint8_t(tokens_[i].content[0])] = true;
  }
}

const AddedToken* AddedTokenMatcher::longest_at(std::string_view text, size_t at,
                                                std::span<const TrustSpan> spans) const {
  const AddedToken* found = nullptr;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    auto edge = edges_.find(uint64_t(node) << 8 | uint8_t(text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (token_of_node_[node] < 0) continue;
    const AddedToken& t = tokens_[size_t(token_of_node_[node])];
    if (trust_between(spans, at, i + 1) <= (t.special ? Trust::author : Trust::model)) found = &t;
  }
  return found;
}

AddedTokenMatcher::Match AddedTokenMatcher::next(std::string_view text, size_t from,
                                                 std::span<const TrustSpan> spans) const {
  for (size_t at = from; at < text.size(); ++at) {
    if (!starts_[uint8_t(text[at])]) continue;
    const AddedToken* t = longest_at(text, at, spans);
    if (!t) continue;
    size_t end = at + t->content.size();
    if (t->single_word && touches_word(text, at, end)) {
      at = end - 1;  // the reference goes on behind a match that it drops
      continue;
    }
    return {t->lstrip ? spaces_before(text, from, at) : at, t->rstrip ? spaces_after(text, end) : end, t->id};
  }
  return {text.size(), text.size(), -1};
}

}  // namespace vl8
