// Text that remembers who wrote each byte. Chat templates mix their own words (which may contain control
// tokens) with words of users (which must not become control tokens). Every string that a template handles is
// a MarkedText; joins, slices and replacements carry the marks along, and an operation that mixes letters
// beyond tracking gives its whole result the least trusted mark of its inputs. Tokenizer::encode_prompt reads
// the marks.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vl8 {

// Ordered from most to least trusted.
enum class Trust : uint8_t {
  author,  // the template or the program: every added token is recognised
  model,   // earlier output of the assistant: markup such as <think> is recognised, control tokens are not
  user,    // anything else from outside: only ordinary text
};

struct TrustSpan {
  size_t begin;  // bytes, half open
  size_t end;
  Trust trust;  // never `author`: unmarked bytes are the author's
  bool operator==(const TrustSpan&) const = default;
};

class MarkedText {
 public:
  MarkedText() = default;
  MarkedText(std::string text, Trust trust = Trust::author) : bytes_(std::move(text)) {
    if (trust != Trust::author && !bytes_.empty()) spans_.push_back({0, bytes_.size(), trust});
  }

  const std::string& str() const { return bytes_; }
  std::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  const std::vector<TrustSpan>& spans() const {
    return spans_;
  }  // sorted, disjoint, non-empty, within the text

  Trust trust() const;                               // the least trusted mark that occurs
  Trust trust_at(size_t byte) const;                 // of one byte
  void append(const MarkedText& other);              // marks move along; adjacent equal marks are joined
  void append(std::string_view text, Trust trust);   // one mark for all of it
  MarkedText slice(size_t begin, size_t end) const;  // bytes [begin, end), clamped
  MarkedText replaced(std::string_view from, const MarkedText& to,
                      size_t limit) const;  // `from` is not empty

 private:
  void mark(size_t begin, size_t end, Trust trust);
  std::string bytes_;
  std::vector<TrustSpan> spans_;
};

}  // namespace vl8
