#include "text/jinja_value.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "core/error.h"
#include "text/utf8.h"

namespace vl8 {
namespace {
using Kind = JinjaValue::Kind;
constexpr size_t kManyItems = 16;  // from here on a dictionary keeps an index
}  // namespace

// Dictionaries

size_t JinjaDict::index_of(std::string_view key) const {
  if (!index_.empty()) {
    auto it = index_.find(std::string(key));
    return it == index_.end() ? items_.size() : it->second;
  }
  size_t i = 0;
  while (i < items_.size() && items_[i].first.view() != key) ++i;
  return i;
}

const JinjaValue* JinjaDict::find(std::string_view key) const {
  size_t i = index_of(key);
  return i < items_.size() ? &items_[i].second : nullptr;
}

void JinjaDict::set(MarkedText key, JinjaValue value) {
  size_t i = index_of(key.view());
  if (i < items_.size()) {
    items_[i].second = std::move(value);
    return;
  }
  items_.emplace_back(std::move(key), std::move(value));
  if (items_.size() == kManyItems)
    for (size_t k = 0; k < items_.size(); ++k) index_.emplace(items_[k].first.str(), k);
  else if (items_.size() > kManyItems)
    index_.emplace(items_.back().first.str(), items_.size() - 1);
}

bool JinjaDict::erase(std::string_view key) {
  size_t i = index_of(key);
  if (i == items_.size()) return false;
  items_.erase(items_.begin() + int64_t(i));
  index_.clear();
  if (items_.size() >= kManyItems)
    for (size_t k = 0; k < items_.size(); ++k) index_.emplace(items_[k].first.str(), k);
  return true;
}

void JinjaDict::clear() {
  items_.clear();
  index_.clear();
}

// Values

JinjaValue JinjaValue::undefined(std::string_view name) {
  JinjaValue v;
  v.v_ = Undefined{std::make_shared<const std::string>(name)};
  return v;
}
std::string JinjaValue::undefined_name() const {
  const auto* u = std::get_if<Undefined>(&v_);
  return u && u->name ? *u->name : "value";
}
const JinjaList& JinjaValue::list() const {
  return list_object()->items;
}
const JinjaDict& JinjaValue::dict() const {
  return dict_object()->items;
}
const std::shared_ptr<JinjaDictObject>& JinjaValue::dict_object() const {
  if (const auto* n = std::get_if<Namespace>(&v_)) return n->fields;
  return std::get<std::shared_ptr<JinjaDictObject>>(v_);
}

bool JinjaValue::truthy() const {
  switch (kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
      return boolean();
    case Kind::integer:
      return integer() != 0;
    case Kind::number:
      return number() != 0;
    case Kind::text:
      return !text().empty();
    case Kind::list:
      return !list().empty();
    case Kind::dict:
      return dict().size() > 0;
    default:
      return true;
  }
}

uint32_t JinjaValue::depth() const {
  if (is_list()) return list_object()->depth;
  if (is_dict() || is(Kind::name_space)) return dict_object()->depth;
  return 0;
}

namespace {
JinjaValue from_json(const nlohmann::ordered_json& json, Trust trust, std::string_view what, uint32_t depth) {
  if (depth > kMaxJinjaValueDepth)
    fail_input("{} is nested deeper than {} levels", what, kMaxJinjaValueDepth);
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::ordered_json::value_t::number_integer:
      return JinjaInt(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      return JinjaInt(json.get<uint64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return json.get<double>();
    case nlohmann::ordered_json::value_t::string:
      return MarkedText(to_valid_utf8(json.get_ref<const std::string&>()), trust);
    case nlohmann::ordered_json::value_t::array: {
      auto list = std::make_shared<JinjaListObject>();
      for (const auto& item : json) {
        list->items.push_back(from_json(item, trust, what, depth + 1));
        list->depth = std::max(list->depth, list->items.back().depth() + 1);
      }
      return list;
    }
    case nlohmann::ordered_json::value_t::object: {
      auto dict = std::make_shared<JinjaDictObject>();
      for (const auto& [key, value] : json.items()) {
        JinjaValue v = from_json(value, trust, what, depth + 1);
        dict->depth = std::max(dict->depth, v.depth() + 1);
        dict->items.set(MarkedText(to_valid_utf8(key), trust), std::move(v));
      }
      return dict;
    }
    default:
      return JinjaValue::None{};
  }
}
}  // namespace

JinjaValue jinja_from_json(const nlohmann::ordered_json& json, Trust trust, std::string_view what) {
  return from_json(json, trust, what, 0);
}

const char* jinja_type_name(const JinjaValue& v) {
  switch (v.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::number:
      return "float";
    case Kind::text:
      return "str";
    case Kind::list:
      return v.list_object()->is_tuple ? "tuple" : "list";
    case Kind::dict:
      return "dict";
    case Kind::name_space:
      return "Namespace";
    case Kind::callable:
      return "function";
    case Kind::loop:
      return "LoopContext";
  }
  return "object";
}

// Text of values

std::string jinja_int_str(JinjaInt i) {
  bool negative = i < 0;
  auto u = static_cast<unsigned __int128>(i);
  if (negative) u = ~u + 1;
  std::string digits;
  do digits.push_back(char('0' + int(u % 10)));
  while (u /= 10);
  if (negative) digits.push_back('-');
  return {digits.rbegin(), digits.rend()};
}

std::string jinja_float_str(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  std::string s = fmt::format("{}", d);  // the shortest that reads back the same, as repr does
  return s.find_first_of(".e") == std::string::npos ? s + ".0" : s;
}

namespace {
void check_depth(uint32_t depth) {
  if (depth > kMaxJinjaValueDepth) throw std::length_error("the value is nested too deep");
}

void check_size(size_t bytes, size_t max_bytes) {
  if (bytes > max_bytes) throw std::length_error("the text of the value is too long");
}

bool is_printable(char32_t c) {
  switch (utf8proc_category(utf8proc_int32_t(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

std::string quoted(const std::string& s) {
  char quote = s.find('\'') != std::string::npos && s.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char *p = s.data(), *end = p + s.size(); p < end;) {
    CodePoint c = decode_valid(p);
    if (c.value == char32_t(quote) || c.value == '\\')
      out += '\\', out += *p;
    else if (c.value == '\n')
      out += "\\n";
    else if (c.value == '\r')
      out += "\\r";
    else if (c.value == '\t')
      out += "\\t";
    else if (is_printable(c.value))
      out.append(p, c.bytes);
    else if (c.value < 0x100)
      out += fmt::format("\\x{:02x}", uint32_t(c.value));
    else if (c.value < 0x10000)
      out += fmt::format("\\u{:04x}", uint32_t(c.value));
    else
      out += fmt::format("\\U{:08x}", uint32_t(c.value));
    p += c.bytes;
  }
  return out + quote;
}

class PythonWriter {
 public:
  explicit PythonWriter(size_t max_bytes) : max_bytes_(max_bytes) {}

  void str(const JinjaValue& v, uint32_t depth) {
    switch (v.kind()) {
      case Kind::undefined:
        return;
      case Kind::none:
        return plain("None");
      case Kind::boolean:
        return plain(v.boolean() ? "True" : "False");
      case Kind::integer:
        return plain(jinja_int_str(v.integer()));
      case Kind::number:
        return plain(jinja_float_str(v.number()));
      case Kind::text:
        return out.append(v.text());
      case Kind::list:
        return list(v, depth);
      case Kind::dict:
        return dict(v, depth);
      default:
        return plain(fmt::format("<{}>", jinja_type_name(v)));
    }
  }
  void repr(const JinjaValue& v, uint32_t depth) {
    if (v.is_text()) return out.append(quoted(v.text().str()), v.text().trust());
    if (v.is_undefined()) return plain("Undefined");
    str(v, depth);
  }
  MarkedText out;

 private:
  void plain(std::string_view s) {
    out.append(s, Trust::author);
    check_size(out.size(), max_bytes_);
  }
  void list(const JinjaValue& v, uint32_t depth) {
    check_depth(depth);
    bool tuple = v.list_object()->is_tuple;
    plain(tuple ? "(" : "[");
    for (size_t i = 0; i < v.list().size(); ++i) {
      if (i) plain(", ");
      repr(v.list()[i], depth + 1);
    }
    plain(tuple ? (v.list().size() == 1 ? ",)" : ")") : "]");
  }
  void dict(const JinjaValue& v, uint32_t depth) {
    check_depth(depth);
    if (v.dict().size() == 0) return plain("{}");
    const char* separator = "{";
    for (const auto& [key, value] : v.dict().items()) {
      plain(separator);
      out.append(quoted(key.str()), key.trust());
      plain(": ");
      repr(value, depth + 1);
      separator = ", ";
    }
    plain("}");
  }
  size_t max_bytes_;
};

bool equal(const JinjaValue& a, const JinjaValue& b, uint32_t depth, size_t& budget) {
  check_depth(depth);
  if (budget-- == 0) throw std::length_error("the values to compare are too large");
  if (a.is_numeric() && b.is_numeric()) {
    if (a.is(Kind::number) || b.is(Kind::number)) return a.number() == b.number();
    return a.integer() == b.integer();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::text:
      return a.text().str() == b.text().str();
    case Kind::list:
      return a.list_object()->is_tuple == b.list_object()->is_tuple && a.list().size() == b.list().size() &&
             std::equal(a.list().begin(), a.list().end(), b.list().begin(),
                        [&](const auto& x, const auto& y) { return equal(x, y, depth + 1, budget); });
    case Kind::dict:
      return a.dict().size() == b.dict().size() &&
             std::all_of(a.dict().items().begin(), a.dict().items().end(), [&](const auto& item) {
               const JinjaValue* other = b.dict().find(item.first.view());
               return other && equal(item.second, *other, depth + 1, budget);
             });
    case Kind::name_space:
      return a.dict_object() == b.dict_object();
    case Kind::callable:
      return &a.callable() == &b.callable();
    default:
      return a.loop() == b.loop();
  }
}
}  // namespace

MarkedText jinja_str(const JinjaValue& v, size_t max_bytes) {
  PythonWriter writer(max_bytes);
  writer.str(v, 0);
  return std::move(writer.out);
}
MarkedText jinja_repr(const JinjaValue& v, size_t max_bytes) {
  PythonWriter writer(max_bytes);
  writer.repr(v, 0);
  return std::move(writer.out);
}
bool jinja_equal(const JinjaValue& a, const JinjaValue& b) {
  size_t budget = kMaxJinjaCompared;
  return equal(a, b, 0, budget);
}

// JSON

namespace {
void append_unit(std::string& out, uint32_t unit) {
  out += fmt::format("\\u{:04x}", unit);
}

std::string json_quoted(const std::string& s, bool ensure_ascii) {
  std::string out = "\"";
  for (const char *p = s.data(), *end = p + s.size(); p < end;) {
    CodePoint c = decode_valid(p);
    switch (c.value) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (c.value < 0x20 || (ensure_ascii && c.value >= 0x7F && c.value < 0x10000)) {
          append_unit(out, uint32_t(c.value));
        } else if (ensure_ascii && c.value >= 0x10000) {
          append_unit(out, 0xD800 + uint32_t((c.value - 0x10000) >> 10));
          append_unit(out, 0xDC00 + uint32_t(c.value & 0x3FF));
        } else {
          out.append(p, c.bytes);
        }
    }
    p += c.bytes;
  }
  return out + '"';
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, size_t max_bytes) : style_(style), max_bytes_(max_bytes) {}

  void write(const JinjaValue& v, uint32_t depth) {
    check_depth(depth);
    switch (v.kind()) {
      case Kind::none:
        return plain("null");
      case Kind::boolean:
        return plain(v.boolean() ? "true" : "false");
      case Kind::integer:
        return plain(jinja_int_str(v.integer()));
      case Kind::number:
        return plain(number(v.number()));
      case Kind::text:
        return quoted(v.text());
      case Kind::list:
        return list(v, depth);
      case Kind::dict:
        return dict(v, depth);
      default:
        throw std::invalid_argument(jinja_type_name(v));
    }
  }
  MarkedText out;

 private:
  void plain(std::string_view s) {
    out.append(s, Trust::author);
    check_size(out.size(), max_bytes_);
  }
  void quoted(const MarkedText& t) { out.append(json_quoted(t.str(), style_.ensure_ascii), t.trust()); }
  static std::string number(double d) {
    if (std::isnan(d)) return "NaN";
    if (std::isinf(d)) return d < 0 ? "-Infinity" : "Infinity";
    return jinja_float_str(d);
  }
  void new_line(uint32_t depth) {
    if (style_.indent >= 0) plain("\n" + std::string(size_t(style_.indent) * depth, ' '));
  }
  void list(const JinjaValue& v, uint32_t depth) {
    if (v.list().empty()) return plain("[]");
    const char* open = "[";
    for (const JinjaValue& item : v.list()) {
      plain(open ? open : style_.item_separator);
      open = nullptr;
      new_line(depth + 1);
      write(item, depth + 1);
    }
    new_line(depth);
    plain("]");
  }
  void dict(const JinjaValue& v, uint32_t depth) {
    if (v.dict().size() == 0) return plain("{}");
    std::vector<const JinjaDict::Item*> items;
    for (const auto& item : v.dict().items()) items.push_back(&item);
    if (style_.sort_keys)
      std::stable_sort(items.begin(), items.end(),
                       [](auto* a, auto* b) { return a->first.str() < b->first.str(); });
    const char* open = "{";
    for (const auto* item : items) {
      plain(open ? open : style_.item_separator);
      open = nullptr;
      new_line(depth + 1);
      quoted(item->first);
      plain(style_.key_separator);
      write(item->second, depth + 1);
    }
    new_line(depth);
    plain("}");
  }

  const JsonStyle& style_;
  size_t max_bytes_;
};
}  // namespace

MarkedText jinja_to_json(const JinjaValue& v, const JsonStyle& style, size_t max_bytes) {
  JsonWriter writer(style, max_bytes);
  writer.write(v, 0);
  return std::move(writer.out);
}

}  // namespace vl8
