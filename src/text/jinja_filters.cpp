// Filters: `value | name(arguments)`, with the signatures of Jinja2 3.1 and transformers' tojson.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <stdexcept>

#include "text/jinja_run.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace vl8 {
namespace {
using Kind = JinjaValue::Kind;
using Run = JinjaRun;
using Value = JinjaValue;
using Args = JinjaArgs;

bool given(const Value& v) {
  return !v.is_undefined() && !v.is_none();
}

// Filters that are a method of str, list or dict.
template <size_t N>
struct Name {
  char text[N];
  constexpr Name(const char (&s)[N]) { std::copy(s, s + N, text); }
};
template <Name kMethod>
Value text_method(Run& run, const Value& v, Args& args) {
  return find_jinja_method(Kind::text, kMethod.text)(run, run.text(run.str(v)), args);
}

// Simple values

Value default_value(Run& run, const Value& v, Args& args) {
  auto a = run.bind("default", args, {"default_value", "boolean"});
  Value other = a[0].is_undefined() ? Value(MarkedText()) : a[0];
  return v.is_undefined() || (a[1].truthy() && !v.truthy()) ? other : v;
}
Value abs_value(Run& run, const Value& v, Args& args) {
  run.bind("abs", args, {});
  if (!v.is_numeric()) run.fail("abs needs a number, not a {}", jinja_type_name(v));
  if (v.is(Kind::number)) return std::abs(v.number());
  return v.integer() < 0 ? run.binary(JinjaOp::sub, Value(0), v) : Value(v.integer());
}
Value round_value(Run& run, const Value& v, Args& args) {
  auto a = run.bind("round", args, {"precision", "method"});
  if (!v.is_numeric()) run.fail("round needs a number, not a {}", jinja_type_name(v));
  int64_t digits = given(a[0]) ? run.as_int(a[0], "precision") : 0;
  if (std::abs(digits) > 300) run.fail("round: the precision is out of range");
  std::string how = given(a[1]) ? run.as_text(a[1], "method").str() : "common";
  double x = v.number(), scale = std::pow(10.0, double(digits));
  if (how == "ceil") return std::ceil(x * scale) / scale;
  if (how == "floor") return std::floor(x * scale) / scale;
  if (how == "common" && !v.is(Kind::number) && digits >= 0) return v.integer();
  if (how != "common") run.fail("round: the method is 'common', 'ceil' or 'floor', not '{}'", how);
  if (digits < 0) {
    double rounded = std::nearbyint(x * scale) / scale;
    if (v.is(Kind::number) || std::abs(rounded) > 1e36) return rounded;
    return JinjaInt(rounded);
  }
  // Python rounds the exact decimal value, ties to even: so does formatting.
  return std::strtod(fmt::format("{:.{}f}", x, digits).c_str(), nullptr);
}

std::optional<JinjaInt> parse_int(std::string_view s, int base) {
  bool negative = false;
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) negative = s[0] == '-', s.remove_prefix(1);
  JinjaInt value = 0;
  bool digit_before = false;
  for (char c : s) {
    if (c == '_' && digit_before) {
      digit_before = false;
      continue;
    }
    int d = c >= '0' && c <= '9'                     ? c - '0'
            : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10
                                                     : 99;
    if (d >= base || __builtin_mul_overflow(value, JinjaInt(base), &value) ||
        __builtin_add_overflow(value, d, &value))
      return std::nullopt;
    digit_before = true;
  }
  if (!digit_before) return std::nullopt;
  return negative ? -value : value;
}
std::optional<double> parse_float(std::string_view s) {
  if (!s.empty() && s[0] == '+') s.remove_prefix(1);
  double d = 0;
  auto [end, code] = std::from_chars(s.data(), s.data() + s.size(), d);
  if (s.empty() || code != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return d;
}
std::string trimmed(const Value& v) {
  return jinja_strip(v.text(), nullptr, true, true).str();
}

Value to_int(Run& run, const Value& v, Args& args) {
  auto a = run.bind("int", args, {"default", "base"});
  Value other = a[0].is_undefined() ? Value(0) : a[0];
  int base = given(a[1]) ? int(run.as_int(a[1], "base")) : 10;
  if (base < 2 || base > 36) run.fail("int: the base must be 2 to 36");
  if (v.is(Kind::number)) return std::abs(v.number()) < 1e36 ? Value(JinjaInt(v.number())) : other;
  if (v.is_numeric()) return v.integer();
  if (!v.is_text()) return other;
  if (auto i = parse_int(trimmed(v), base)) return *i;
  auto d = parse_float(trimmed(v));
  return d && std::abs(*d) < 1e36 ? Value(JinjaInt(*d)) : other;
}
Value to_float(Run& run, const Value& v, Args& args) {
  auto a = run.bind("float", args, {"default"});
  if (v.is_numeric()) return v.number();
  auto d = v.is_text() ? parse_float(trimmed(v)) : std::nullopt;
  return d ? Value(*d) : a[0].is_undefined() ? Value(0.0) : a[0];
}
Value to_string(Run& run, const Value& v, Args& args) {
  run.bind("string", args, {});
  return run.text(run.str(v));
}
Value same(Run& run, const Value& v, Args& args) {
  run.bind("safe", args, {});
  return v;
}

// Text

Value trim(Run& run, const Value& v, Args& args) {
  return text_method<"strip">(run, v, args);
}
Value capitalize(Run& run, const Value& v, Args& args) {
  return text_method<"capitalize">(run, v, args);
}
Value title(Run& run, const Value& v, Args& args) {
  run.bind("title", args, {});
  MarkedText t = run.str(v);
  std::string out, word;
  auto flush = [&] { out += jinja_capitalize(word), word.clear(); };
  for (const char *p = t.str().data(), *end = p + t.size(); p < end;) {
    CodePoint c = decode_valid(p);
    bool edge = is_python_space(c.value) || std::string_view("-({[<").find(*p) != std::string_view::npos;
    if (edge)
      flush(), out.append(p, c.bytes);
    else
      word.append(p, c.bytes);
    p += c.bytes;
  }
  flush();
  return run.text(std::move(out), t.trust());
}
Value replace(Run& run, const Value& v, Args& args) {
  auto a = run.bind("replace", args, {"old", "new", "count"});
  Args strings{{run.text(run.str(a[0])), run.text(run.str(a[1]))}, {}};
  if (given(a[2])) strings.positional.push_back(a[2]);
  return text_method<"replace">(run, v, strings);
}
Value center(Run& run, const Value& v, Args& args) {
  auto a = run.bind("center", args, {"width"});
  Args width{{given(a[0]) ? a[0] : Value(80)}, {}};
  return text_method<"center">(run, v, width);
}
Value format(Run& run, const Value& v, Args& args) {
  return jinja_percent_format(run, run.as_text(v, "a format"), args.positional);
}
Value indent(Run& run, const Value& v, Args& args) {
  auto a = run.bind("indent", args, {"width", "first", "blank"});
  MarkedText margin =
      a[0].is_text()
          ? a[0].text()
          : MarkedText(std::string(
                size_t(std::clamp<int64_t>(given(a[0]) ? run.as_int(a[0], "width") : 4, 0, 1000)), ' '));
  MarkedText t = run.str(v), out;
  if (a[1].truthy()) out.append(margin);
  for (size_t i = 0; i < t.size();) {
    size_t end = std::min(t.str().find('\n', i), t.size() - 1) + 1;
    bool blank_line = t.str()[i] == '\n';
    if (i > 0 && (!blank_line || a[2].truthy())) out.append(margin);
    out.append(t.slice(i, end));
    i = end;
    run.step();
    if (out.size() > run.max_text_bytes()) run.fail("indent makes too long a text");
  }
  return run.text(std::move(out));
}
Value truncate(Run& run, const Value& v, Args& args) {
  auto a = run.bind("truncate", args, {"length", "killwords", "end", "leeway"});
  int64_t length = given(a[0]) ? run.as_int(a[0], "length") : 255,
          leeway = given(a[3]) ? run.as_int(a[3], "leeway") : 5;
  MarkedText end = a[2].is_undefined() ? MarkedText("...") : run.str(a[2]);
  auto chars = jinja_characters(run.str(v));
  int64_t keep = length - int64_t(count_code_points(end.view()));
  if (keep < 0) run.fail("truncate: the length is shorter than the end");
  if (int64_t(chars.size()) <= length + leeway) return run.text(run.str(v));
  MarkedText out;
  for (int64_t i = 0; i < keep; ++i) out.append(chars[size_t(i)]);
  if (!a[1].truthy())
    if (size_t blank = out.str().rfind(' '); blank != std::string::npos) out = out.slice(0, blank);
  out.append(end);
  return run.text(std::move(out));
}
Value word_count(Run& run, const Value& v, Args& args) {
  run.bind("wordcount", args, {});
  MarkedText t = run.str(v);
  run.step(1 + t.size() / 64);
  size_t words = 0;
  bool inside = false;
  for (const char *p = t.str().data(), *end = p + t.size(); p < end;) {
    CodePoint c = decode_valid(p);
    bool word = c.value == '_' || UnicodeTable::get().char_class(c.value) == CharClass::letter ||
                UnicodeTable::get().char_class(c.value) == CharClass::number;
    words += word && !inside;
    inside = word;
    p += c.bytes;
  }
  return words;
}
Value escape(Run& run, const Value& v, Args& args) {
  run.bind("escape", args, {});
  MarkedText t = run.str(v);
  std::string out;
  for (char c : t.str()) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '\'')
      out += "&#39;";
    else if (c == '"')
      out += "&#34;";
    else
      out += c;
  }
  return run.text(std::move(out), t.trust());
}
Value urlencode(Run& run, const Value& v, Args& args) {
  run.bind("urlencode", args, {});
  // In a query, which a dictionary becomes, a blank is "+" and a slash is not kept.
  auto encode = [query = v.is_dict()](const std::string& s) {
    std::string out;
    for (char c : s) {
      bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      if (plain || std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !query))
        out += c;
      else if (c == ' ' && query)
        out += '+';
      else
        out += fmt::format("%{:02X}", uint8_t(c));
    }
    return out;
  };
  if (!v.is_dict()) return run.text(encode(run.str(v).str()), run.str(v).trust());
  std::string out;
  Trust worst = Trust::author;
  for (const auto& [key, value] : v.dict().items()) {
    MarkedText text = run.str(value);
    worst = std::max({worst, key.trust(), text.trust()});
    out += (out.empty() ? "" : "&") + encode(key.str()) + "=" + encode(text.str());
  }
  return run.text(std::move(out), worst);
}
Value to_json(Run& run, const Value& v, Args& args) {
  auto a = run.bind("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = a[0].truthy();
  style.sort_keys = a[3].truthy();
  // Stock Jinja's only argument is indent; a number in first place can mean nothing else.
  const Value& indent = a[1].is_undefined() && a[0].is(Kind::integer) ? a[0] : a[1];
  if (&indent == &a[0]) style.ensure_ascii = false;
  if (given(indent)) {
    style.indent = int(std::clamp<int64_t>(run.as_int(indent, "indent"), 0, 64));
    style.item_separator = ",";
  }
  if (given(a[2])) {
    JinjaList two = run.iterate(a[2]);
    if (two.size() != 2) run.fail("tojson: separators must be a pair");
    style.item_separator = run.as_text(two[0], "a separator").str();
    style.key_separator = run.as_text(two[1], "a separator").str();
  }
  try {
    return run.text(jinja_to_json(v, style, run.max_text_bytes()));
  } catch (const std::invalid_argument& e) {
    run.fail("tojson cannot write a value of type {}", e.what());
  }
}

// Sequences

Value length(Run& run, const Value& v, Args& args) {
  run.bind("length", args, {});
  return run.length(v);
}
Value first(Run& run, const Value& v, Args& args) {
  run.bind("first", args, {});
  JinjaList items = run.iterate(v);
  return items.empty() ? Value::undefined("first item of an empty sequence") : items.front();
}
Value last(Run& run, const Value& v, Args& args) {
  run.bind("last", args, {});
  JinjaList items = run.iterate(v);
  return items.empty() ? Value::undefined("last item of an empty sequence") : items.back();
}
Value to_list(Run& run, const Value& v, Args& args) {
  run.bind("list", args, {});
  return run.list(run.iterate(v));
}
Value reverse(Run& run, const Value& v, Args& args) {
  run.bind("reverse", args, {});
  JinjaList items = run.iterate(v);
  std::reverse(items.begin(), items.end());
  if (!v.is_text()) return run.list(std::move(items));
  MarkedText out;
  for (const Value& c : items) out.append(c.text());
  return run.text(std::move(out));
}
Value items(Run& run, const Value& v, Args& args) {
  if (v.is_undefined()) return run.list({});
  if (!v.is_dict()) run.fail("items needs a dict, not a {}", jinja_type_name(v));
  return find_jinja_method(Kind::dict, "items")(run, v, args);
}
Value join(Run& run, const Value& v, Args& args) {
  auto a = run.bind("join", args, {"d", "attribute"});
  MarkedText separator = a[0].is_undefined() ? MarkedText() : run.str(a[0]), out;
  bool is_first = true;
  for (const Value& item : run.iterate(v)) {
    if (!std::exchange(is_first, false)) out.append(separator);
    out.append(run.str(given(a[1]) ? run.attribute_path(item, a[1]) : item));
    run.step();
    if (out.size() > run.max_text_bytes()) run.fail("join makes too long a text");
  }
  return run.text(std::move(out));
}
Value sum(Run& run, const Value& v, Args& args) {
  auto a = run.bind("sum", args, {"attribute", "start"});
  Value total = a[1].is_undefined() ? Value(0) : a[1];
  for (const Value& item : run.iterate(v))
    total = run.binary(JinjaOp::add, total, given(a[0]) ? run.attribute_path(item, a[0]) : item);
  return total;
}

// What to compare of an item: an attribute of it, and text without regard to case.
struct SortKey {
  Value attribute;
  bool case_sensitive;
  Value of(Run& run, const Value& item) const {
    Value v = given(attribute) ? run.attribute_path(item, attribute) : item;
    if (case_sensitive || !v.is_text()) return v;
    run.step(1 + v.text().size() / 64);
    return run.text(jinja_lower(v.text().view()), v.text().trust());
  }
};
JinjaList sorted(Run& run, JinjaList list, const SortKey& key, bool descending) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : list) {
    Value k = key.of(run, item);
    keyed.emplace_back(std::move(k), std::move(item));
  }
  auto before = [&](const auto& a, const auto& b) {
    return descending ? run.less(b.first, a.first) : run.less(a.first, b.first);
  };
  // Insertion into a sorted prefix keeps equal items in order, also when the values have no consistent order
  // (NaN), which std::stable_sort would not forgive.
  std::vector<std::pair<Value, Value>> out;
  for (auto& item : keyed) {
    size_t low = 0, high = out.size();
    while (low < high) {
      size_t middle = (low + high) / 2;
      if (before(item, out[middle]))
        high = middle;
      else
        low = middle + 1;
    }
    run.step(1 + (out.size() - low) / 16);
    out.insert(out.begin() + int64_t(low), std::move(item));
  }
  for (size_t i = 0; i < out.size(); ++i) list[i] = std::move(out[i].second);
  return list;
}
Value sort(Run& run, const Value& v, Args& args) {
  auto a = run.bind("sort", args, {"reverse", "case_sensitive", "attribute"});
  SortKey key{a[2], a[1].truthy()};
  return run.list(sorted(run, run.iterate(v), key, a[0].truthy()));
}
Value extreme(Run& run, const Value& v, Args& args, const char* name, bool largest) {
  auto a = run.bind(name, args, {"case_sensitive", "attribute"});
  SortKey key{a[1], a[0].truthy()};
  JinjaList list = run.iterate(v);
  if (list.empty()) return Value::undefined("extreme of an empty sequence");
  Value best = list[0], best_key = key.of(run, list[0]);
  for (size_t i = 1; i < list.size(); ++i) {
    Value k = key.of(run, list[i]);
    if (largest ? run.less(best_key, k) : run.less(k, best_key)) best = list[i], best_key = k;
  }
  return best;
}
Value min(Run& run, const Value& v, Args& args) {
  return extreme(run, v, args, "min", false);
}
Value max(Run& run, const Value& v, Args& args) {
  return extreme(run, v, args, "max", true);
}
Value unique(Run& run, const Value& v, Args& args) {
  auto a = run.bind("unique", args, {"case_sensitive", "attribute"});
  SortKey key{a[1], a[0].truthy()};
  JinjaList seen, out;
  for (const Value& item : run.iterate(v)) {
    Value k = key.of(run, item);
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& s) { return run.equal(s, k); })) continue;
    seen.push_back(k);
    out.push_back(item);
  }
  return run.list(std::move(out));
}
Value dictsort(Run& run, const Value& v, Args& args) {
  auto a = run.bind("dictsort", args, {"case_sensitive", "by", "reverse"});
  if (!v.is_dict()) run.fail("dictsort needs a dict, not a {}", jinja_type_name(v));
  std::string by = given(a[1]) ? run.as_text(a[1], "by").str() : "key";
  if (by != "key" && by != "value") run.fail("dictsort: by is 'key' or 'value', not '{}'", by);
  Args none;
  JinjaList pairs = run.iterate(find_jinja_method(Kind::dict, "items")(run, v, none));
  return run.list(sorted(run, std::move(pairs), {Value(by == "key" ? 0 : 1), a[0].truthy()}, a[2].truthy()));
}
Value groupby(Run& run, const Value& v, Args& args) {
  auto a = run.bind("groupby", args, {"attribute", "default", "case_sensitive"});
  SortKey key{a[0], a[2].truthy()};
  JinjaList groups, members;
  Value name, name_key;
  auto finish = [&] {
    if (!members.empty()) groups.push_back(run.list({name, run.list(std::exchange(members, {}))}, true));
  };
  for (const Value& item : sorted(run, run.iterate(v), key, false)) {
    Value k = key.of(run, item);
    if (members.empty() || !run.equal(k, name_key)) {
      finish();
      name = run.attribute_path(item, a[0]), name_key = k;
    }
    members.push_back(item);
  }
  finish();
  return run.list(std::move(groups));
}
Value batch(Run& run, const Value& v, Args& args) {
  auto a = run.bind("batch", args, {"linecount", "fill_with"});
  int64_t size = run.as_int(a[0], "linecount");
  if (size < 1 || size > 100'000) run.fail("batch: the size must be 1 to 100000");
  JinjaList out, row;
  for (const Value& item : run.iterate(v)) {
    if (int64_t(row.size()) == size) out.push_back(run.list(std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty() && given(a[1])) row.resize(size_t(size), a[1]);
  if (!row.empty()) out.push_back(run.list(std::move(row)));
  return run.list(std::move(out));
}
Value slice(Run& run, const Value& v, Args& args) {
  auto a = run.bind("slice", args, {"slices", "fill_with"});
  int64_t count = run.as_int(a[0], "slices");
  if (count < 1 || count > 100'000) run.fail("slice: the count must be 1 to 100000");
  JinjaList all = run.iterate(v), out;
  size_t each = all.size() / size_t(count), longer = all.size() % size_t(count), at = 0;
  for (size_t i = 0; i < size_t(count); ++i) {
    size_t n = each + (i < longer);
    JinjaList part(all.begin() + int64_t(at), all.begin() + int64_t(at + n));
    if (given(a[1]) && i >= longer && longer > 0) part.push_back(a[1]);
    out.push_back(run.list(std::move(part)));
    at += n;
  }
  return run.list(std::move(out));
}

// Filters that apply filters and tests

Value map(Run& run, const Value& v, Args& args) {
  JinjaList out;
  if (args.positional.empty()) {
    auto a = run.bind("map", args, {"attribute", "default"});
    if (a[0].is_undefined()) run.fail("map needs the name of a filter, or attribute=");
    for (const Value& item : run.iterate(v)) {
      Value part = run.attribute_path(item, a[0]);
      out.push_back(part.is_undefined() && !a[1].is_undefined() ? a[1] : part);
    }
    return run.list(std::move(out));
  }
  const MarkedText& name = run.as_text(args.positional[0], "the name of a filter");
  JinjaFilter filter = find_jinja_filter(name.view());
  if (!filter) run.fail("map: there is no filter '{}'", name.str());
  for (const Value& item : run.iterate(v)) {
    Args rest{{args.positional.begin() + 1, args.positional.end()}, args.named};
    out.push_back(filter(run, item, rest));
  }
  return run.list(std::move(out));
}
Value pick(Run& run, const Value& v, Args& args, bool by_attribute, bool wanted) {
  size_t used = by_attribute ? 1 : 0;
  if (args.positional.size() < used) run.fail("selectattr and rejectattr need the name of an attribute");
  JinjaTest test = nullptr;
  if (args.positional.size() > used) {
    const MarkedText& name = run.as_text(args.positional[used], "the name of a test");
    test = find_jinja_test(name.view());
    if (!test) run.fail("there is no test '{}'", name.str());
  }
  JinjaList out;
  for (const Value& item : run.iterate(v)) {
    Value part = by_attribute ? run.attribute_path(item, args.positional[0]) : item;
    Args rest;
    if (test) rest = {{args.positional.begin() + int64_t(used) + 1, args.positional.end()}, args.named};
    if ((test ? test(run, part, rest) : part.truthy()) == wanted) out.push_back(item);
  }
  return run.list(std::move(out));
}
Value select(Run& run, const Value& v, Args& args) {
  return pick(run, v, args, false, true);
}
Value reject(Run& run, const Value& v, Args& args) {
  return pick(run, v, args, false, false);
}
Value selectattr(Run& run, const Value& v, Args& args) {
  return pick(run, v, args, true, true);
}
Value rejectattr(Run& run, const Value& v, Args& args) {
  return pick(run, v, args, true, false);
}
Value attr(Run& run, const Value& v, Args& args) {
  auto a = run.bind("attr", args, {"name"});
  return run.attribute(v, run.as_text(a[0], "name").view());
}

struct FilterRow {
  const char* name;
  JinjaFilter filter;
};
constexpr FilterRow kFilters[] = {
    {"abs", abs_value},
    {"attr", attr},
    {"batch", batch},
    {"capitalize", capitalize},
    {"center", center},
    {"count", length},
    {"d", default_value},
    {"default", default_value},
    {"dictsort", dictsort},
    {"e", escape},
    {"escape", escape},
    {"first", first},
    {"float", to_float},
    {"forceescape", escape},
    {"format", format},
    {"groupby", groupby},
    {"indent", indent},
    {"int", to_int},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", to_list},
    {"lower", text_method<"lower">},
    {"map", map},
    {"max", max},
    {"min", min},
    {"reject", reject},
    {"rejectattr", rejectattr},
    {"replace", replace},
    {"reverse", reverse},
    {"round", round_value},
    {"safe", same},
    {"select", select},
    {"selectattr", selectattr},
    {"slice", slice},
    {"sort", sort},
    {"string", to_string},
    {"sum", sum},
    {"title", title},
    {"tojson", to_json},
    {"trim", trim},
    {"truncate", truncate},
    {"unique", unique},
    {"upper", text_method<"upper">},
    {"urlencode", urlencode},
    {"wordcount", word_count},
};
}  // namespace

JinjaFilter find_jinja_filter(std::string_view name) {
  for (const FilterRow& row : kFilters)
    if (name == row.name) return row.filter;
  return nullptr;
}

}  // namespace vl8
