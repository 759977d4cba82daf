#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "core/error.h"
#include "text/utf8.h"

namespace vl8 {
namespace {
constexpr uint32_t kRuns[] = {
#include "text/unicode_tables.inc"
};
constexpr size_t kCodePoints = 0x110000;

int combining_class(char32_t c) {
  return utf8proc_get_property(utf8proc_int32_t(c))->combining_class;
}

// Canonical decomposition with combining marks in canonical order. utf8proc orders marks by neighbour
// exchange, which is quadratic in a long run of them, so the order is made here with a stable sort.
void decompose(std::string_view text, std::vector<utf8proc_int32_t>& out) {
  out.clear();
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    CodePoint c = decode_valid(p);
    p += c.bytes;
    utf8proc_int32_t parts[8];
    int boundary = 0;
    auto n = utf8proc_decompose_char(utf8proc_int32_t(c.value), parts, 8,
                                     utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &boundary);
    check(n > 0 && n <= 8, "canonical decomposition of U+{:04X} has {} parts", uint32_t(c.value), n);
    out.insert(out.end(), parts, parts + n);
  }
  auto mark = [](utf8proc_int32_t c) { return combining_class(char32_t(c)) != 0; };
  for (auto it = out.begin(); (it = std::find_if(it, out.end(), mark)) != out.end();) {
    auto end = std::find_if_not(it, out.end(), mark);
    std::stable_sort(
        it, end, [](auto a, auto b) { return combining_class(char32_t(a)) < combining_class(char32_t(b)); });
    it = end;
  }
}

void append_nfc(std::string_view segment, std::vector<utf8proc_int32_t>& work, std::string& out) {
  decompose(segment, work);
  auto n = utf8proc_normalize_utf32(work.data(), utf8proc_ssize_t(work.size()),
                                    utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  check(n >= 0, "utf8proc failed to compose {} code points", work.size());
  for (utf8proc_ssize_t i = 0; i < n; ++i) append_utf8(out, char32_t(work[size_t(i)]));
}

// A stretch of text that normalisation may change, from the last plain character before it to the next one.
struct Segment {
  const char* begin;
  const char* end;
  bool suspect;  // has a character of kind 2, or marks out of order
};

// `p` is at a character that is not plain; `start` at the plain character before it, if there is one.
Segment read_segment(const UnicodeTable& table, const char* start, const char* p, const char* end) {
  Segment s{start, p, false};
  int last_class = 0;
  while (s.end < end) {
    CodePoint c = decode_valid(s.end);
    int kind = table.nfc_kind(c.value);
    if (kind == 0) break;
    int now = combining_class(c.value);
    if (kind == 2 || now < last_class) s.suspect = true;
    last_class = now;
    s.end += c.bytes;
  }
  return s;
}

const char* skip_ascii(const char* p, const char* end) {
  while (end - p >= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    word &= 0x8080808080808080u;
    if (word) return p + (__builtin_ctzll(word) >> 3);
    p += 8;
  }
  while (p < end && uint8_t(*p) < 0x80) ++p;
  return p;
}
}  // namespace

UnicodeTable::UnicodeTable() {
  std::vector<uint8_t> all;
  all.reserve(kCodePoints);
  for (size_t i = 0; i + 1 < std::size(kRuns); i += 2) all.insert(all.end(), kRuns[i], uint8_t(kRuns[i + 1]));
  check(all.size() == kCodePoints, "the Unicode table has {} code points", all.size());
  std::map<std::string_view, uint16_t> known;
  for (size_t i = 0; i < block_of_.size(); ++i) {
    std::string_view block(reinterpret_cast<const char*>(all.data()) + i * 128, 128);
    auto [it, is_new] = known.try_emplace(block, uint16_t(known.size()));
    if (is_new) blocks_.insert(blocks_.end(), block.begin(), block.end());
    block_of_[i] = it->second;
  }
}

const UnicodeTable& UnicodeTable::get() {
  static const UnicodeTable table;
  return table;
}

bool is_python_space(char32_t c) {
  return UnicodeTable::get().char_class(c) == CharClass::space || (c >= 0x1C && c <= 0x1F);
}

std::string_view to_nfc(std::string_view text, std::string& buffer) {
  const UnicodeTable& table = UnicodeTable::get();
  const char *begin = text.data(), *end = begin + text.size();
  const char* copied = begin;  // everything before it is in `buffer`, if anything changed at all
  bool changed = false;
  std::vector<utf8proc_int32_t> work;
  std::string normal;
  const char* plain = begin;  // the last plain character, or the begin
  for (const char* p = begin; (p = skip_ascii(p, end)) < end;) {
    if (p > begin && uint8_t(p[-1]) < 0x80) plain = p - 1;
    CodePoint c = decode_valid(p);
    if (table.nfc_kind(c.value) == 0) {
      plain = p;
      p += c.bytes;
      continue;
    }
    Segment s = read_segment(table, plain, p, end);
    p = plain = s.end;
    if (!s.suspect) continue;
    std::string_view was(s.begin, size_t(s.end - s.begin));
    normal.clear();
    append_nfc(was, work, normal);
    if (normal == was) continue;
    if (!changed) buffer.clear(), buffer.reserve(text.size());
    changed = true;
    buffer.append(copied, s.begin);
    buffer += normal;
    copied = s.end;
  }
  if (!changed) return text;
  buffer.append(copied, end);
  return buffer;
}

}  // namespace vl8
