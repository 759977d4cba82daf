// Methods of str, list and dict, and the functions that every template sees.
#include <algorithm>
#include <cstring>

#include "text/jinja_run.h"
#include "text/unicode.h"
#include "text/utf8.h"

#include <utf8proc.h>

namespace vl8 {
namespace {
using Kind = JinjaValue::Kind;
using Run = JinjaRun;
using Value = JinjaValue;
using Args = JinjaArgs;
constexpr int64_t kMaxRange = 100'000;  // items, as in Jinja's sandbox

bool given(const Value& v) {
  return !v.is_undefined() && !v.is_none();
}

// Text methods

Value strip_with(Run& run, const Value& self, Args& args, const char* name, bool left, bool right) {
  auto a = run.bind(name, args, {"chars"});
  std::string chars = given(a[0]) ? run.as_text(a[0], "chars").str() : "";
  run.step(1 + self.text().size() / 256);
  return run.text(jinja_strip(self.text(), given(a[0]) ? &chars : nullptr, left, right));
}
Value strip(Run& run, const Value& self, Args& args) {
  return strip_with(run, self, args, "strip", true, true);
}
Value lstrip(Run& run, const Value& self, Args& args) {
  return strip_with(run, self, args, "lstrip", true, false);
}
Value rstrip(Run& run, const Value& self, Args& args) {
  return strip_with(run, self, args, "rstrip", false, true);
}

Value split_blanks(Run& run, const MarkedText& t, int64_t limit, bool from_right) {
  JinjaList parts;
  MarkedText rest = jinja_strip(t, nullptr, !from_right, from_right);
  while (!rest.empty()) {
    if (limit-- == 0) {
      parts.push_back(run.text(jinja_strip(rest, nullptr, from_right, !from_right)));
      break;
    }
    const char* data = rest.str().data();
    size_t at = from_right ? rest.size() : 0;
    while (from_right ? at > 0 : at < rest.size()) {
      CodePoint c = from_right ? decode_valid_before(data + at) : decode_valid(data + at);
      if (is_python_space(c.value)) break;
      at = from_right ? at - c.bytes : at + c.bytes;
    }
    parts.push_back(run.text(from_right ? rest.slice(at, rest.size()) : rest.slice(0, at)));
    rest = from_right ? jinja_strip(rest.slice(0, at), nullptr, false, true)
                      : jinja_strip(rest.slice(at, rest.size()), nullptr, true, false);
    run.step(1 + rest.size() / 256);
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return run.list(std::move(parts));
}

Value split_with(Run& run, const Value& self, Args& args, const char* name, bool from_right) {
  auto a = run.bind(name, args, {"sep", "maxsplit"});
  int64_t limit = given(a[1]) ? run.as_int(a[1], "maxsplit") : -1;
  const MarkedText& t = self.text();
  if (!given(a[0])) return split_blanks(run, t, limit, from_right);
  const std::string& separator = run.as_text(a[0], "sep").str();
  if (separator.empty()) run.fail("{}: empty separator", name);
  JinjaList parts;
  size_t begin = 0, end = t.size();
  while (limit-- != 0) {
    run.step();
    size_t at = from_right ? (end >= separator.size() ? t.str().rfind(separator, end - separator.size())
                                                      : std::string::npos)
                           : t.str().find(separator, begin);
    if (at == std::string::npos) break;
    if (from_right)
      parts.push_back(run.text(t.slice(at + separator.size(), end))), end = at;
    else
      parts.push_back(run.text(t.slice(begin, at))), begin = at + separator.size();
  }
  parts.push_back(run.text(t.slice(begin, end)));
  if (from_right) std::reverse(parts.begin(), parts.end());
  return run.list(std::move(parts));
}
Value split(Run& run, const Value& self, Args& args) {
  return split_with(run, self, args, "split", false);
}
Value rsplit(Run& run, const Value& self, Args& args) {
  return split_with(run, self, args, "rsplit", true);
}

Value splitlines(Run& run, const Value& self, Args& args) {
  auto a = run.bind("splitlines", args, {"keepends"});
  const std::string& s = self.text().str();
  JinjaList lines;
  for (size_t i = 0; i < s.size();) {
    size_t end = std::min(s.find_first_of("\r\n", i), s.size());
    size_t next = end + (end < s.size()) + (end + 1 < s.size() && s[end] == '\r' && s[end + 1] == '\n');
    lines.push_back(run.text(self.text().slice(i, a[0].truthy() ? next : end)));
    i = next;
  }
  return run.list(std::move(lines));
}

Value affix(Run& run, const Value& self, Args& args, const char* name, bool at_start) {
  auto a = run.bind(name, args, {"prefix"});
  auto fits = [&](const Value& v) {
    const std::string& part = run.as_text(v, name).str();
    return at_start ? self.text().view().starts_with(part) : self.text().view().ends_with(part);
  };
  if (!a[0].is_list()) return fits(a[0]);
  return std::any_of(a[0].list().begin(), a[0].list().end(), fits);
}
Value startswith(Run& run, const Value& self, Args& args) {
  return affix(run, self, args, "startswith", true);
}
Value endswith(Run& run, const Value& self, Args& args) {
  return affix(run, self, args, "endswith", false);
}
Value removeprefix(Run& run, const Value& self, Args& args) {
  auto a = run.bind("removeprefix", args, {"prefix"});
  const std::string& p = run.as_text(a[0], "prefix").str();
  return self.text().view().starts_with(p) ? run.text(self.text().slice(p.size(), self.text().size())) : self;
}
Value removesuffix(Run& run, const Value& self, Args& args) {
  auto a = run.bind("removesuffix", args, {"suffix"});
  const std::string& p = run.as_text(a[0], "suffix").str();
  return self.text().view().ends_with(p) ? run.text(self.text().slice(0, self.text().size() - p.size()))
                                         : self;
}
Value replace(Run& run, const Value& self, Args& args) {
  auto a = run.bind("replace", args, {"old", "new", "count"});
  const MarkedText &from = run.as_text(a[0], "old"), &to = run.as_text(a[1], "new");
  int64_t limit = given(a[2]) ? run.as_int(a[2], "count") : -1;
  size_t times = limit < 0 ? SIZE_MAX : size_t(limit);
  const MarkedText& t = self.text();
  run.step(1 + t.size() / 64);
  if (!from.empty()) {
    size_t growth = to.size() > from.size() ? to.size() - from.size() : 0;
    if (growth && t.size() / from.size() > run.max_text_bytes() / growth)
      run.fail("replace makes too long a text");
    return run.text(t.replaced(from.view(), to, times));
  }
  MarkedText out;  // an empty `old` is found before every character and at the end
  for (const MarkedText& c : jinja_characters(t)) {
    if (times > 0) out.append(to), --times;
    out.append(c);
    run.step();
    if (out.size() > run.max_text_bytes()) run.fail("replace makes too long a text");
  }
  if (times > 0) out.append(to);
  return run.text(std::move(out));
}

// Text methods without arguments that give a text of the least trusted mark.
template <std::string (*F)(std::string_view)>
Value mapped(Run& run, const Value& self, Args& args) {
  run.bind("this method", args, {});
  run.step(1 + self.text().size() / 64);
  return run.text(F(self.text().view()), self.text().trust());
}
bool is_letter(char32_t c) {
  return UnicodeTable::get().char_class(c) == CharClass::letter;
}
std::string title(std::string_view s) {
  std::string out, word;
  auto flush = [&] { out += jinja_capitalize(word), word.clear(); };
  for (const char *p = s.data(), *end = p + s.size(); p < end;) {
    CodePoint c = decode_valid(p);
    if (is_letter(c.value))
      word.append(p, c.bytes);
    else
      flush(), out.append(p, c.bytes);
    p += c.bytes;
  }
  flush();
  return out;
}

template <bool (*F)(char32_t)>
Value all_characters(Run& run, const Value& self, Args& args) {
  run.bind("this method", args, {});
  const std::string& s = self.text().str();
  run.step(1 + s.size() / 64);
  for (const char *p = s.data(), *end = p + s.size(); p < end; p += decode_valid(p).bytes)
    if (!F(decode_valid(p).value)) return false;
  return !s.empty();
}
bool is_digit(char32_t c) {
  return utf8proc_category(utf8proc_int32_t(c)) == UTF8PROC_CATEGORY_ND;
}
bool is_letter_or_digit(char32_t c) {
  return is_letter(c) || UnicodeTable::get().char_class(c) == CharClass::number;
}
template <bool kUpper>
Value has_case(Run& run, const Value& self, Args& args) {
  run.bind("this method", args, {});
  const std::string& s = self.text().str();
  run.step(1 + s.size() / 64);
  return (kUpper ? jinja_upper(s) : jinja_lower(s)) == s && (kUpper ? jinja_lower(s) : jinja_upper(s)) != s;
}

// The place of a part, in characters; -1 if there is none.
int64_t place(Run& run, const Value& self, Args& args, const char* name, bool last) {
  auto a = run.bind(name, args, {"sub"});
  const std::string &s = self.text().str(), &part = run.as_text(a[0], "sub").str();
  run.step(1 + s.size() / 64);
  size_t at = last ? s.rfind(part) : s.find(part);
  return at == std::string::npos ? -1 : int64_t(count_code_points(std::string_view(s).substr(0, at)));
}
Value find(Run& run, const Value& self, Args& args) {
  return JinjaInt(place(run, self, args, "find", false));
}
Value rfind(Run& run, const Value& self, Args& args) {
  return JinjaInt(place(run, self, args, "rfind", true));
}
Value index(Run& run, const Value& self, Args& args) {
  int64_t at = place(run, self, args, "index", false);
  if (at < 0) run.fail("index: the part is not in the text");
  return JinjaInt(at);
}
Value count(Run& run, const Value& self, Args& args) {
  auto a = run.bind("count", args, {"sub"});
  const std::string &s = self.text().str(), &part = run.as_text(a[0], "sub").str();
  if (part.empty()) return count_code_points(s) + 1;
  run.step(1 + s.size() / 64);
  size_t n = 0;
  for (size_t at = s.find(part); at != std::string::npos; at = s.find(part, at + part.size())) ++n;
  return n;
}
Value join(Run& run, const Value& self, Args& args) {
  auto a = run.bind("join", args, {"iterable"});
  MarkedText out;
  bool first = true;
  for (const Value& v : run.iterate(a[0])) {
    if (!std::exchange(first, false)) out.append(self.text());
    out.append(run.as_text(v, "an item to join"));
    run.step();
    if (out.size() > run.max_text_bytes()) run.fail("join makes too long a text");
  }
  return run.text(std::move(out));
}

Value justify(Run& run, const Value& self, Args& args, const char* name, double left_share) {
  auto a = run.bind(name, args, {"width", "fillchar"});
  int64_t width = run.as_int(a[0], "width"), size = int64_t(run.length(self));
  std::string fill = given(a[1]) ? run.as_text(a[1], "fillchar").str() : " ";
  if (count_code_points(fill) != 1) run.fail("{}: fillchar must be one character", name);
  if (width <= size) return self;
  if (width > int64_t(run.max_text_bytes())) run.fail("{}: the width is too large", name);
  int64_t blanks = width - size;
  // Python's center puts the odd blank to the left when the width is odd.
  int64_t left = left_share == 0.5 ? blanks / 2 + (blanks & width & 1) : int64_t(double(blanks) * left_share);
  auto fills = [&](int64_t n) {
    std::string s;
    for (int64_t i = 0; i < n; ++i) s += fill;
    return s;
  };
  MarkedText out(fills(left));
  out.append(self.text());
  out.append(fills(blanks - left), Trust::author);
  return run.text(std::move(out));
}
Value ljust(Run& run, const Value& self, Args& args) {
  return justify(run, self, args, "ljust", 0);
}
Value rjust(Run& run, const Value& self, Args& args) {
  return justify(run, self, args, "rjust", 1);
}
Value center(Run& run, const Value& self, Args& args) {
  return justify(run, self, args, "center", 0.5);
}
Value zfill(Run& run, const Value& self, Args& args) {
  auto a = run.bind("zfill", args, {"width"});
  size_t sign = !self.text().empty() && std::strchr("+-", self.text().str()[0]) ? 1 : 0;
  Args inner{{a[0], Value(MarkedText("0"))}, {}};
  Value rest = run.text(self.text().slice(sign, self.text().size()));
  inner.positional[0] = JinjaInt(run.as_int(a[0], "width") - int64_t(sign));
  Value padded = rjust(run, rest, inner);
  MarkedText out = self.text().slice(0, sign);
  out.append(padded.text());
  return run.text(std::move(out));
}

Value partition_at(Run& run, const Value& self, Args& args, const char* name, bool last) {
  auto a = run.bind(name, args, {"sep"});
  const MarkedText& t = self.text();
  const std::string& separator = run.as_text(a[0], "sep").str();
  if (separator.empty()) run.fail("{}: empty separator", name);
  size_t at = last ? t.str().rfind(separator) : t.str().find(separator);
  MarkedText none;
  if (at == std::string::npos)
    return run.list(last ? JinjaList{none, none, self} : JinjaList{self, none, none}, true);
  size_t end = at + separator.size();
  return run.list({t.slice(0, at), t.slice(at, end), t.slice(end, t.size())}, true);
}
Value partition(Run& run, const Value& self, Args& args) {
  return partition_at(run, self, args, "partition", false);
}
Value rpartition(Run& run, const Value& self, Args& args) {
  return partition_at(run, self, args, "rpartition", true);
}

// str.format with {} {0} {name}; conversions and format specifications are refused.
Value format(Run& run, const Value& self, Args& args) {
  const MarkedText& t = self.text();
  const std::string& s = t.str();
  MarkedText out;
  size_t next = 0;
  for (size_t i = 0; i < s.size();) {
    size_t brace = std::min(s.find_first_of("{}", i), s.size());
    out.append(t.slice(i, brace));
    if (brace == s.size()) break;
    if (brace + 1 < s.size() && s[brace + 1] == s[brace]) {
      out.append(t.slice(brace, brace + 1));
      i = brace + 2;
      continue;
    }
    size_t end = s.find('}', brace);
    if (s[brace] == '}' || end == std::string::npos) run.fail("format: a single brace");
    std::string field = s.substr(brace + 1, end - brace - 1);
    const Value* value = nullptr;
    bool number = field.find_first_not_of("0123456789") == std::string::npos && field.size() < 6;
    if (number) {
      size_t k = field.empty() ? next++ : size_t(std::stoul(field));
      if (k < args.positional.size()) value = &args.positional[k];
    }
    for (const auto& [name, v] : args.named)
      if (name == field) value = &v;
    if (!value) run.fail("format: there is no value for the field '{{{}}}'", field);
    out.append(run.str(*value));
    i = end + 1;
    run.step();
    if (out.size() > run.max_text_bytes()) run.fail("format makes too long a text");
  }
  return run.text(std::move(out));
}

// Dictionaries

Value dict_get(Run& run, const Value& self, Args& args) {
  auto a = run.bind("get", args, {"key", "default"});
  const Value* v = a[0].is_text() ? self.dict().find(a[0].text().view()) : nullptr;
  return v ? *v : a[1].is_undefined() ? Value(Value::None{}) : a[1];
}
Value dict_keys(Run& run, const Value& self, Args& args) {
  run.bind("keys", args, {});
  return run.list(run.iterate(self));
}
Value dict_values(Run& run, const Value& self, Args& args) {
  run.bind("values", args, {});
  JinjaList values;
  for (const auto& [key, v] : self.dict().items()) values.push_back(v);
  return run.list(std::move(values));
}
Value dict_items(Run& run, const Value& self, Args& args) {
  run.bind("items", args, {});
  JinjaList items;
  for (const auto& [key, v] : self.dict().items()) items.push_back(run.list({run.text(key), v}, true));
  return run.list(std::move(items));
}
Value dict_copy(Run& run, const Value& self, Args& args) {
  run.bind("copy", args, {});
  return run.dict(self.dict());
}
Value dict_update(Run& run, const Value& self, Args& args) {
  run.track(self.dict_object());
  JinjaDict& d = self.dict_object()->items;
  if (args.positional.size() > 1) run.fail("update takes one dictionary and named values");
  if (!args.positional.empty()) {
    if (!args.positional[0].is_dict())
      run.fail("update takes a dict, not a {}", jinja_type_name(args.positional[0]));
    JinjaDict other = args.positional[0].dict();
    run.allocate(other.size() * 2 * sizeof(Value));
    for (const auto& [key, v] : other.items()) d.set(key, v);
  }
  for (const auto& [key, v] : args.named) d.set(MarkedText(key), v);
  return Value::None{};
}
Value dict_pop(Run& run, const Value& self, Args& args) {
  auto a = run.bind("pop", args, {"key", "default"});
  run.track(self.dict_object());
  const Value* v = a[0].is_text() ? self.dict().find(a[0].text().view()) : nullptr;
  if (!v && a[1].is_undefined()) run.fail("pop: there is no such key");
  Value out = v ? *v : a[1];
  if (v) self.dict_object()->items.erase(a[0].text().view());
  return out;
}
Value dict_setdefault(Run& run, const Value& self, Args& args) {
  auto a = run.bind("setdefault", args, {"key", "default"});
  const MarkedText& key = run.as_text(a[0], "key");
  if (const Value* v = self.dict().find(key.view())) return *v;
  run.track(self.dict_object());
  Value v = a[1].is_undefined() ? Value(Value::None{}) : a[1];
  self.dict_object()->items.set(key, v);
  return v;
}

// Lists

JinjaList& changeable(Run& run, const Value& self, const char* name) {
  if (self.list_object()->is_tuple) run.fail("a tuple has no {}", name);
  run.track(self.list_object());
  return self.list_object()->items;
}
Value list_append(Run& run, const Value& self, Args& args) {
  auto a = run.bind("append", args, {"object"});
  changeable(run, self, "append").push_back(a[0]);
  return Value::None{};
}
Value list_extend(Run& run, const Value& self, Args& args) {
  auto a = run.bind("extend", args, {"iterable"});
  JinjaList more = run.iterate(a[0]);
  JinjaList& l = changeable(run, self, "extend");
  l.insert(l.end(), more.begin(), more.end());
  return Value::None{};
}
Value list_insert(Run& run, const Value& self, Args& args) {
  auto a = run.bind("insert", args, {"index", "object"});
  JinjaList& l = changeable(run, self, "insert");
  int64_t at = run.as_int(a[0], "index"), size = int64_t(l.size());
  l.insert(l.begin() + std::clamp<int64_t>(at < 0 ? at + size : at, 0, size), a[1]);
  return Value::None{};
}
Value list_pop(Run& run, const Value& self, Args& args) {
  auto a = run.bind("pop", args, {"index"});
  JinjaList& l = changeable(run, self, "pop");
  int64_t at = given(a[0]) ? run.as_int(a[0], "index") : -1, size = int64_t(l.size());
  if (at < 0) at += size;
  if (at < 0 || at >= size) run.fail("pop: there is no such item");
  Value v = l[size_t(at)];
  l.erase(l.begin() + at);
  return v;
}
Value list_index(Run& run, const Value& self, Args& args) {
  auto a = run.bind("index", args, {"value"});
  for (size_t i = 0; i < self.list().size(); ++i)
    if (run.equal(self.list()[i], a[0])) return i;
  run.fail("index: the value is not in the list");
}
Value list_count(Run& run, const Value& self, Args& args) {
  auto a = run.bind("count", args, {"value"});
  size_t n = 0;
  for (const Value& v : self.list()) n += run.equal(v, a[0]);
  return n;
}

struct MethodRow {
  Kind kind;
  const char* name;
  JinjaMethod method;
};
constexpr MethodRow kMethods[] = {
    {Kind::text, "strip", strip},
    {Kind::text, "lstrip", lstrip},
    {Kind::text, "rstrip", rstrip},
    {Kind::text, "split", split},
    {Kind::text, "rsplit", rsplit},
    {Kind::text, "splitlines", splitlines},
    {Kind::text, "startswith", startswith},
    {Kind::text, "endswith", endswith},
    {Kind::text, "removeprefix", removeprefix},
    {Kind::text, "removesuffix", removesuffix},
    {Kind::text, "replace", replace},
    {Kind::text, "upper", mapped<jinja_upper>},
    {Kind::text, "lower", mapped<jinja_lower>},
    {Kind::text, "casefold", mapped<jinja_lower>},
    {Kind::text, "capitalize", mapped<jinja_capitalize>},
    {Kind::text, "title", mapped<title>},
    {Kind::text, "isdigit", all_characters<is_digit>},
    {Kind::text, "isnumeric", all_characters<is_digit>},
    {Kind::text, "isalpha", all_characters<is_letter>},
    {Kind::text, "isalnum", all_characters<is_letter_or_digit>},
    {Kind::text, "isspace", all_characters<is_python_space>},
    {Kind::text, "isupper", has_case<true>},
    {Kind::text, "islower", has_case<false>},
    {Kind::text, "find", find},
    {Kind::text, "rfind", rfind},
    {Kind::text, "index", index},
    {Kind::text, "count", count},
    {Kind::text, "join", join},
    {Kind::text, "ljust", ljust},
    {Kind::text, "rjust", rjust},
    {Kind::text, "center", center},
    {Kind::text, "zfill", zfill},
    {Kind::text, "partition", partition},
    {Kind::text, "rpartition", rpartition},
    {Kind::text, "format", format},
    {Kind::dict, "get", dict_get},
    {Kind::dict, "keys", dict_keys},
    {Kind::dict, "values", dict_values},
    {Kind::dict, "items", dict_items},
    {Kind::dict, "copy", dict_copy},
    {Kind::dict, "update", dict_update},
    {Kind::dict, "pop", dict_pop},
    {Kind::dict, "setdefault", dict_setdefault},
    {Kind::list, "append", list_append},
    {Kind::list, "extend", list_extend},
    {Kind::list, "insert", list_insert},
    {Kind::list, "pop", list_pop},
    {Kind::list, "index", list_index},
    {Kind::list, "count", list_count},
};

// Functions

Value range(Run& run, Args& args) {
  auto a = run.bind("range", args, {"start", "stop", "step"});
  if (a[0].is_undefined()) run.fail("range needs a bound");
  int64_t first = run.as_int(a[0], "a bound of range"), end = first, step = 1;
  if (a[1].is_undefined())
    first = 0;
  else
    end = run.as_int(a[1], "a bound of range");
  if (!a[2].is_undefined()) step = run.as_int(a[2], "the step of range");
  if (step == 0) run.fail("the step of range is 0");
  int64_t count = step > 0 ? (end - first + step - 1) / step : (first - end - step - 1) / -step;
  if (count > kMaxRange) run.fail("range of {} items; {} are accepted", count, kMaxRange);
  JinjaList items;
  for (int64_t i = 0; i < count; ++i) items.push_back(JinjaInt(first + i * step));
  run.step(items.size());
  return run.list(std::move(items));
}
JinjaDict named_values(Run& run, Args& args, const char* name) {
  JinjaDict d;
  if (args.positional.size() > 1) run.fail("{} takes one dictionary and named values", name);
  if (!args.positional.empty()) {
    const Value& v = args.positional[0];
    if (v.is_dict()) {
      d = v.dict();
    } else {
      for (const Value& pair : run.iterate(v)) {
        JinjaList two = run.iterate(pair);
        if (two.size() != 2) run.fail("{}: an item is not a pair", name);
        d.set(run.as_text(two[0], "a key"), two[1]);
      }
    }
  }
  for (auto& [key, v] : args.named) d.set(MarkedText(key), v);
  return d;
}
Value make_dict(Run& run, Args& args) {
  return run.dict(named_values(run, args, "dict"));
}
Value make_namespace(Run& run, Args& args) {
  return run.name_space(named_values(run, args, "namespace"));
}
Value raise_exception(Run& run, Args& args) {
  auto a = run.bind("raise_exception", args, {"message"});
  run.fail("the chat template refuses this conversation: {}", run.str(a[0]).str());
}
Value strftime_now(Run& run, Args& args) {
  auto a = run.bind("strftime_now", args, {"format"});
  const MarkedText& format = run.as_text(a[0], "the format of strftime_now");
  if (format.size() > 1000) run.fail("strftime_now: the format is too long");
  std::time_t now = run.now();
  std::tm local{};
  localtime_r(&now, &local);
  char out[4096];
  size_t n = std::strftime(out, sizeof out, format.str().c_str(), &local);
  return run.text(to_valid_utf8({out, n}), format.trust());
}
Value cycler(Run& run, Args& args) {
  if (args.positional.empty()) run.fail("cycler needs items");
  auto at = std::make_shared<size_t>(0);
  auto items = args.positional;
  JinjaDict d;
  d.set(MarkedText("next"),
        run.callable("next", [at, items](JinjaRun&, JinjaArgs&) { return items[(*at)++ % items.size()]; }));
  d.set(MarkedText("reset"), run.callable("reset", [at](JinjaRun&, JinjaArgs&) -> Value { return *at = 0; }));
  return run.dict(std::move(d));
}
Value joiner(Run& run, Args& args) {
  auto a = run.bind("joiner", args, {"sep"});
  Value separator = given(a[0]) ? a[0] : Value(MarkedText(", "));
  auto used = std::make_shared<bool>(false);
  return run.callable("joiner", [used, separator](JinjaRun&, JinjaArgs&) {
    return std::exchange(*used, true) ? separator : Value(MarkedText());
  });
}

struct FunctionRow {
  const char* name;
  JinjaFunction function;
};
constexpr FunctionRow kFunctions[] = {{"range", range},
                                      {"dict", make_dict},
                                      {"namespace", make_namespace},
                                      {"raise_exception", raise_exception},
                                      {"cycler", cycler},
                                      {"joiner", joiner},
                                      {"strftime_now", strftime_now}};
}  // namespace

JinjaMethod find_jinja_method(JinjaValue::Kind kind, std::string_view name) {
  for (const MethodRow& row : kMethods)
    if (row.kind == kind && name == row.name) return row.method;
  return nullptr;
}
JinjaFunction find_jinja_function(std::string_view name) {
  for (const FunctionRow& row : kFunctions)
    if (name == row.name) return row.function;
  return nullptr;
}

}  // namespace vl8
