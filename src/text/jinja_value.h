// Values of the template language. They follow Python: integers are wide, text knows who wrote it
// (MarkedText), lists and dictionaries are shared by reference. Values belong to one rendering and must not
// be shared between threads.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text/marked_text.h"

namespace vl8 {

class JinjaValue;
class JinjaRun;
struct JinjaArgs;
struct JinjaLoop;
using JinjaList = std::vector<JinjaValue>;
using JinjaInt = __int128;                     // holds every 64-bit integer of JSON, signed or not
constexpr uint32_t kMaxJinjaValueDepth = 200;  // of containers inside containers, and of JSON that comes in

// A dictionary with text keys in the order of insertion.
class JinjaDict {
 public:
  using Item = std::pair<MarkedText, JinjaValue>;
  const JinjaValue* find(std::string_view key) const;
  void set(MarkedText key, JinjaValue value);  // replaces the value of a key that is there
  bool erase(std::string_view key);
  const std::vector<Item>& items() const { return items_; }
  size_t size() const { return items_.size(); }
  void clear();

 private:
  size_t index_of(std::string_view key) const;  // size() if absent
  std::vector<Item> items_;
  std::unordered_map<std::string, size_t> index_;  // only while there are many items
};

struct JinjaListObject;
struct JinjaDictObject;
struct JinjaCallable {
  std::string name;
  std::function<JinjaValue(JinjaRun&, JinjaArgs&)> call;
};

class JinjaValue {
 public:
  struct Undefined {
    std::shared_ptr<const std::string> name;  // what was looked up, for messages; may be null
  };
  struct None {};
  struct Namespace {
    std::shared_ptr<JinjaDictObject> fields;
  };
  enum class Kind { undefined, none, boolean, integer, number, text, list, dict, name_space, callable, loop };

  JinjaValue() = default;  // undefined
  JinjaValue(None) : v_(None{}) {}
  JinjaValue(bool b) : v_(b) {}
  JinjaValue(JinjaInt i) : v_(i) {}
  JinjaValue(int i) : v_(JinjaInt(i)) {}
  JinjaValue(size_t i) : v_(JinjaInt(i)) {}
  JinjaValue(double d) : v_(d) {}
  JinjaValue(MarkedText t) : v_(std::make_shared<const MarkedText>(std::move(t))) {}
  JinjaValue(const char*) = delete;
  JinjaValue(std::shared_ptr<JinjaListObject> l) : v_(std::move(l)) {}
  JinjaValue(std::shared_ptr<JinjaDictObject> d) : v_(std::move(d)) {}
  JinjaValue(Namespace n) : v_(std::move(n)) {}
  JinjaValue(std::shared_ptr<const JinjaCallable> c) : v_(std::move(c)) {}
  JinjaValue(std::shared_ptr<JinjaLoop> l) : v_(std::move(l)) {}
  static JinjaValue undefined(std::string_view name);

  Kind kind() const { return Kind(v_.index()); }
  bool is(Kind k) const { return kind() == k; }
  bool is_undefined() const { return is(Kind::undefined); }
  bool is_none() const { return is(Kind::none); }
  bool is_text() const { return is(Kind::text); }
  bool is_list() const { return is(Kind::list); }
  bool is_dict() const { return is(Kind::dict); }
  bool is_numeric() const { return is(Kind::integer) || is(Kind::number) || is(Kind::boolean); }

  // Of the kind named, else std::bad_variant_access: callers look at kind() first.
  bool boolean() const { return std::get<bool>(v_); }
  JinjaInt integer() const { return is(Kind::boolean) ? JinjaInt(boolean()) : std::get<JinjaInt>(v_); }
  double number() const { return is(Kind::number) ? std::get<double>(v_) : double(integer()); }
  const MarkedText& text() const { return *std::get<std::shared_ptr<const MarkedText>>(v_); }
  const JinjaList& list() const;
  const JinjaDict& dict() const;  // of a dictionary or a namespace
  const std::shared_ptr<JinjaListObject>& list_object() const {
    return std::get<std::shared_ptr<JinjaListObject>>(v_);
  }
  const std::shared_ptr<JinjaDictObject>& dict_object() const;
  const JinjaCallable& callable() const { return *std::get<std::shared_ptr<const JinjaCallable>>(v_); }
  const std::shared_ptr<JinjaLoop>& loop() const { return std::get<std::shared_ptr<JinjaLoop>>(v_); }
  std::string undefined_name() const;

  bool truthy() const;
  uint32_t depth() const;  // 0 for a scalar, 1 for a container of scalars

 private:
  std::variant<Undefined, None, bool, JinjaInt, double, std::shared_ptr<const MarkedText>,
               std::shared_ptr<JinjaListObject>, std::shared_ptr<JinjaDictObject>, Namespace,
               std::shared_ptr<const JinjaCallable>, std::shared_ptr<JinjaLoop>>
      v_;
};

struct JinjaListObject {
  JinjaList items;
  bool is_tuple = false;
  uint32_t depth = 1;       // when it was made
  bool is_tracked = false;  // changed by the template; see JinjaRun::track
};
struct JinjaDictObject {
  JinjaDict items;
  uint32_t depth = 1;
  bool is_tracked = false;
};

// Every string of the JSON value gets the mark. Throws Error(input) when it is nested too deep; `what` names
// it there.
JinjaValue jinja_from_json(const nlohmann::ordered_json& json, Trust trust, std::string_view what);

// Text as Python writes it. A list can hold itself, or the same list many times, so these throw
// std::length_error for values nested deeper than kMaxJinjaValueDepth, for more than max_bytes of text, or
// after kMaxJinjaCompared items.
MarkedText jinja_str(const JinjaValue& v, size_t max_bytes);   // str(v)
MarkedText jinja_repr(const JinjaValue& v, size_t max_bytes);  // repr(v)
bool jinja_equal(const JinjaValue& a, const JinjaValue& b);
constexpr size_t kMaxJinjaCompared = 1'000'000;
std::string jinja_int_str(JinjaInt i);
std::string jinja_float_str(double d);
const char* jinja_type_name(const JinjaValue& v);  // Python's, for messages

struct JsonStyle {
  int indent = -1;  // blanks per level; -1: all on one line
  std::string item_separator = ", ", key_separator = ": ";
  bool ensure_ascii = false, sort_keys = false;
};
// json.dumps. Throws std::invalid_argument naming the type for what JSON cannot hold.
MarkedText jinja_to_json(const JinjaValue& v, const JsonStyle& style, size_t max_bytes);

}  // namespace vl8
