// Operations of the template language on values, as Python defines them.
#include <algorithm>
#include <cmath>

#include "text/jinja_run.h"
#include "text/utf8.h"

namespace vl8 {
namespace {
using Kind = JinjaValue::Kind;
constexpr int64_t kMaxIndex = int64_t(1) << 40;

const char* op_sign(JinjaOp op) {
  switch (op) {
    case JinjaOp::add:
      return "+";
    case JinjaOp::sub:
      return "-";
    case JinjaOp::mul:
      return "*";
    case JinjaOp::div:
      return "/";
    case JinjaOp::floor_div:
      return "//";
    case JinjaOp::mod:
      return "%";
    case JinjaOp::pow:
      return "**";
    default:
      return "<";
  }
}

// Byte offsets of all code points of `t`, and of its end.
std::vector<size_t> code_point_offsets(const MarkedText& t) {
  std::vector<size_t> at;
  const std::string& s = t.str();
  for (size_t i = 0; i < s.size(); ++i)
    if ((uint8_t(s[i]) & 0xC0) != 0x80) at.push_back(i);
  at.push_back(s.size());
  return at;
}
}  // namespace

// Looking into values

JinjaValue JinjaRun::attribute(const JinjaValue& of, std::string_view name) {
  if (of.is_undefined()) fail("'{}' is undefined, so it has no '{}'", of.undefined_name(), name);
  if (JinjaMethod method = find_jinja_method(of.kind(), name))
    return callable(std::string(name),
                    [method, of](JinjaRun& run, JinjaArgs& args) { return method(run, of, args); });
  if (of.is(Kind::loop)) return loop_attribute(of.loop(), name);
  if (of.is_dict() || of.is(Kind::name_space))
    if (const JinjaValue* v = of.dict().find(name)) return *v;
  return JinjaValue::undefined(name);
}

JinjaValue JinjaRun::item(const JinjaValue& of, const JinjaValue& key) {
  if (of.is_undefined()) fail("'{}' is undefined, so it has no items", of.undefined_name());
  if (key.is_text()) {
    if (of.is_dict())
      if (const JinjaValue* v = of.dict().find(key.text().view())) return *v;
    return of.is_none() ? JinjaValue::undefined(key.text().view()) : attribute(of, key.text().view());
  }
  bool index = key.is(Kind::integer) || key.is(Kind::boolean);
  if (!index || !(of.is_list() || of.is_text())) return JinjaValue::undefined(str(key).view());
  JinjaInt size = JinjaInt(length(of)), i = key.integer();
  if (i < 0) i += size;
  if (i < 0 || i >= size) return JinjaValue::undefined(str(key).view());
  if (of.is_list()) return of.list()[size_t(i)];
  step(1 + of.text().size() / 64);
  auto at = code_point_offsets(of.text());
  return text(of.text().slice(at[size_t(i)], at[size_t(i) + 1]));
}

JinjaValue JinjaRun::attribute_path(const JinjaValue& of, const JinjaValue& path) {
  if (!path.is_text()) return item(of, path);
  JinjaValue v = of;
  std::string_view rest = path.text().view();
  for (;;) {
    size_t dot = rest.find('.');
    std::string_view part = rest.substr(0, dot);
    bool number =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string_view::npos;
    // As Jinja's filters do: an item first, then an attribute.
    v = number ? item(v, JinjaValue(JinjaInt(std::stoll(std::string(part)))))
               : item(v, JinjaValue(MarkedText(std::string(part))));
    if (dot == std::string_view::npos) return v;
    rest.remove_prefix(dot + 1);
  }
}

JinjaValue JinjaRun::slice(const JinjaValue& of, const JinjaValue& begin, const JinjaValue& end,
                           const JinjaValue& step_value) {
  if (of.is_undefined()) fail("'{}' is undefined, so it has no items", of.undefined_name());
  if (!of.is_list() && !of.is_text()) fail("a {} cannot be sliced", jinja_type_name(of));
  int64_t by = step_value.is_none() ? 1 : as_int(step_value, "the step of a slice");
  if (by == 0) fail("the step of a slice is 0");
  int64_t size = int64_t(length(of)), low = by > 0 ? 0 : -1, high = by > 0 ? size : size - 1;
  auto place = [&](const JinjaValue& v, int64_t absent) {
    if (v.is_none()) return absent;
    int64_t i = as_int(v, "the bound of a slice");
    return std::clamp(i < 0 ? i + size : i, low, high);
  };
  int64_t from = place(begin, by > 0 ? 0 : size - 1), to = place(end, by > 0 ? size : -1);
  if (of.is_text()) {
    step(1 + of.text().size() / 64);
    auto at = code_point_offsets(of.text());
    if (by == 1) return text(of.text().slice(at[size_t(from)], at[size_t(std::max(from, to))]));
    MarkedText out;
    for (int64_t i = from; by > 0 ? i < to : i > to; i += by) {
      step();
      out.append(of.text().slice(at[size_t(i)], at[size_t(i) + 1]));
    }
    return text(std::move(out));
  }
  JinjaList items;
  for (int64_t i = from; by > 0 ? i < to : i > to; i += by) {
    step();
    items.push_back(of.list()[size_t(i)]);
  }
  return list(std::move(items), of.list_object()->is_tuple);
}

JinjaValue JinjaRun::loop_attribute(const std::shared_ptr<JinjaLoop>& loop, std::string_view name) {
  size_t i = loop->index0, n = loop->items->items.size();
  if (name == "index0") return i;
  if (name == "index") return i + 1;
  if (name == "revindex0") return n - i - 1;
  if (name == "revindex") return n - i;
  if (name == "first") return i == 0;
  if (name == "last") return i + 1 == n;
  if (name == "length") return n;
  if (name == "depth") return JinjaValue(1);
  if (name == "depth0") return JinjaValue(0);
  if (name == "previtem") return i > 0 ? loop->items->items[i - 1] : JinjaValue::undefined(name);
  if (name == "nextitem") return i + 1 < n ? loop->items->items[i + 1] : JinjaValue::undefined(name);
  if (name == "cycle")
    return callable("cycle", [loop](JinjaRun& run, JinjaArgs& args) {
      if (args.positional.empty()) run.fail("loop.cycle needs arguments");
      return args.positional[loop->index0 % args.positional.size()];
    });
  if (name == "changed")
    return callable("changed", [loop](JinjaRun& run, JinjaArgs& args) -> JinjaValue {
      for (const JinjaValue& v : args.positional)
        if (v.is(Kind::loop) || v.is(Kind::callable))
          run.fail("loop.changed cannot remember a {}", jinja_type_name(v));
      bool same = loop->saw_changed && loop->last_changed.size() == args.positional.size();
      for (size_t k = 0; same && k < args.positional.size(); ++k)
        same = run.equal(loop->last_changed[k], args.positional[k]);
      loop->last_changed = args.positional;
      loop->saw_changed = true;
      return !same;
    });
  return JinjaValue::undefined(name);
}

JinjaValue JinjaRun::call(const JinjaValue& callee, JinjaArgs& args) {
  if (callee.is_undefined()) fail("'{}' is undefined, so it cannot be called", callee.undefined_name());
  if (!callee.is(Kind::callable)) fail("a {} cannot be called", jinja_type_name(callee));
  return callee.callable().call(*this, args);
}

JinjaList JinjaRun::iterate(const JinjaValue& v) {
  switch (v.kind()) {
    case Kind::undefined:
      return {};
    case Kind::list:
      allocate(v.list().size() * sizeof(JinjaValue));
      return v.list();
    case Kind::dict: {
      JinjaList keys;
      for (const auto& [key, value] : v.dict().items()) keys.push_back(text(key));
      return keys;
    }
    case Kind::text: {
      JinjaList items;
      for (MarkedText& c : jinja_characters(v.text())) items.push_back(text(std::move(c)));
      return items;
    }
    default:
      fail("a {} has no items", jinja_type_name(v));
  }
}

size_t JinjaRun::length(const JinjaValue& v) {
  switch (v.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::text:
      step(1 + v.text().size() / 256);
      return count_code_points(v.text().view());
    case Kind::list:
      return v.list().size();
    case Kind::dict:
      return v.dict().size();
    default:
      fail("a {} has no length", jinja_type_name(v));
  }
}

MarkedText JinjaRun::str(const JinjaValue& v) {
  if (v.is_text()) return v.text();
  MarkedText t = jinja_str(v, limits_.output_bytes);
  allocate(t.size());
  return t;
}

int64_t JinjaRun::as_int(const JinjaValue& v, std::string_view what) {
  if (!v.is(Kind::integer) && !v.is(Kind::boolean))
    fail("{} must be an int, not a {}", what, jinja_type_name(v));
  return int64_t(std::clamp<JinjaInt>(v.integer(), -kMaxIndex, kMaxIndex));
}
const MarkedText& JinjaRun::as_text(const JinjaValue& v, std::string_view what) {
  if (!v.is_text()) fail("{} must be a str, not a {}", what, jinja_type_name(v));
  return v.text();
}

std::vector<JinjaValue> JinjaRun::bind(std::string_view function, JinjaArgs& args,
                                       std::initializer_list<const char*> names) {
  std::vector<JinjaValue> out(names.size());
  std::vector<bool> given(names.size());
  if (args.positional.size() > names.size())
    fail("{} takes at most {} arguments, not {}", function, names.size(), args.positional.size());
  for (size_t i = 0; i < args.positional.size(); ++i) out[i] = args.positional[i], given[i] = true;
  for (auto& [keyword, value] : args.named) {
    size_t i = size_t(std::find(names.begin(), names.end(), keyword) - names.begin());
    if (i == names.size()) fail("{} takes no argument named '{}'", function, keyword);
    if (given[i]) fail("{} got two values for '{}'", function, keyword);
    out[i] = value, given[i] = true;
  }
  return out;
}

// Comparison

bool JinjaRun::equal(const JinjaValue& a, const JinjaValue& b) {
  step(a.is_list() || a.is_dict() ? 16 : 1);
  return jinja_equal(a, b);
}

bool JinjaRun::less(const JinjaValue& a, const JinjaValue& b) {
  step();
  if (a.is_numeric() && b.is_numeric()) {
    if (a.is(Kind::number) || b.is(Kind::number)) return a.number() < b.number();
    return a.integer() < b.integer();
  }
  if (a.is_text() && b.is_text()) return a.text().str() < b.text().str();  // UTF-8 sorts like its code points
  if (a.is_list() && b.is_list()) {
    size_t n = std::min(a.list().size(), b.list().size());
    for (size_t i = 0; i < n; ++i)
      if (!equal(a.list()[i], b.list()[i])) return a.list()[i].depth() < 20 && less(a.list()[i], b.list()[i]);
    return a.list().size() < b.list().size();
  }
  if (a.is_undefined() && b.is_undefined()) return false;  // what sorting by a missing attribute meets
  fail("a {} and a {} have no order", jinja_type_name(a), jinja_type_name(b));
}

bool JinjaRun::contains(const JinjaValue& container, const JinjaValue& value) {
  if (container.is_text()) {
    step(1 + container.text().size() / 64);
    return container.text().str().find(as_text(value, "what is looked for in a str").str()) !=
           std::string::npos;
  }
  if (container.is_dict()) return value.is_text() && container.dict().find(value.text().view());
  if (container.is_undefined()) return false;
  if (!container.is_list()) fail("a {} cannot be searched with 'in'", jinja_type_name(container));
  return std::any_of(container.list().begin(), container.list().end(),
                     [&](const JinjaValue& v) { return equal(v, value); });
}

bool JinjaRun::compare(JinjaOp op, const JinjaValue& a, const JinjaValue& b) {
  switch (op) {
    case JinjaOp::eq:
      return equal(a, b);
    case JinjaOp::ne:
      return !equal(a, b);
    case JinjaOp::in:
      return contains(b, a);
    case JinjaOp::not_in:
      return !contains(b, a);
    default:
      break;
  }
  for (const JinjaValue* v : {&a, &b})
    if (v->is_undefined()) fail("'{}' is undefined, so it cannot be compared", v->undefined_name());
  bool nan = (a.is(Kind::number) && std::isnan(a.number())) || (b.is(Kind::number) && std::isnan(b.number()));
  switch (op) {
    case JinjaOp::lt:
      return less(a, b);
    case JinjaOp::gt:
      return less(b, a);
    case JinjaOp::le:
      return !less(b, a) && !nan;
    default:
      return !less(a, b) && !nan;
  }
}

// Arithmetic

JinjaValue JinjaRun::binary(JinjaOp op, const JinjaValue& a, const JinjaValue& b) {
  for (const JinjaValue* v : {&a, &b})
    if (v->is_undefined()) fail("'{}' is undefined, so '{}' cannot use it", v->undefined_name(), op_sign(op));
  if (a.is_numeric() && b.is_numeric()) return arithmetic(op, a, b);
  if (op == JinjaOp::add && a.is_text() && b.is_text()) {
    MarkedText sum = a.text();
    sum.append(b.text());
    return text(std::move(sum));
  }
  if (op == JinjaOp::add && a.is_list() && b.is_list() &&
      a.list_object()->is_tuple == b.list_object()->is_tuple) {
    JinjaList sum = iterate(a);
    sum.insert(sum.end(), b.list().begin(), b.list().end());
    return list(std::move(sum), a.list_object()->is_tuple);
  }
  if (op == JinjaOp::mul && (a.is(Kind::integer) || a.is(Kind::boolean))) return repeat(b, a.integer());
  if (op == JinjaOp::mul && (b.is(Kind::integer) || b.is(Kind::boolean))) return repeat(a, b.integer());
  if (op == JinjaOp::mod && a.is_text())
    return jinja_percent_format(*this, a.text(),
                                b.is_list() && b.list_object()->is_tuple ? b.list() : JinjaList{b});
  fail("'{}' does not work on a {} and a {}", op_sign(op), jinja_type_name(a), jinja_type_name(b));
}

JinjaValue JinjaRun::repeat(const JinjaValue& v, JinjaInt count) {
  count = std::max<JinjaInt>(count, 0);
  if (v.is_text()) {
    if (count * JinjaInt(v.text().size()) > JinjaInt(limits_.output_bytes))
      fail_limit("bytes in one text", limits_.output_bytes);
    MarkedText out;
    for (JinjaInt i = 0; i < count && !v.text().empty(); ++i) out.append(v.text());
    return text(std::move(out));
  }
  if (!v.is_list()) fail("a {} cannot be repeated", jinja_type_name(v));
  JinjaInt items = count * JinjaInt(v.list().size());
  if (items > JinjaInt(limits_.allocated_bytes / sizeof(JinjaValue)))
    fail_limit("bytes of values", limits_.allocated_bytes);
  allocate(size_t(items) * sizeof(JinjaValue));
  JinjaList out;
  for (JinjaInt i = 0; i < count && !v.list().empty(); ++i)
    out.insert(out.end(), v.list().begin(), v.list().end());
  return list(std::move(out), v.list_object()->is_tuple);
}

JinjaValue JinjaRun::arithmetic(JinjaOp op, const JinjaValue& a, const JinjaValue& b) {
  bool zero = b.number() == 0 && (op == JinjaOp::div || op == JinjaOp::floor_div || op == JinjaOp::mod);
  if (zero) fail("division by zero");
  bool whole = !a.is(Kind::number) && !b.is(Kind::number);
  if (op == JinjaOp::div) return a.number() / b.number();
  if (!whole || (op == JinjaOp::pow && b.integer() < 0)) {
    double x = a.number(), y = b.number();
    switch (op) {
      case JinjaOp::add:
        return x + y;
      case JinjaOp::sub:
        return x - y;
      case JinjaOp::mul:
        return x * y;
      case JinjaOp::floor_div:
        return std::floor(x / y);
      case JinjaOp::mod:
        return x - y * std::floor(x / y);
      default:
        return std::pow(x, y);
    }
  }
  JinjaInt x = a.integer(), y = b.integer(), r = 0;
  bool overflow = false;
  switch (op) {
    case JinjaOp::add:
      overflow = __builtin_add_overflow(x, y, &r);
      break;
    case JinjaOp::sub:
      overflow = __builtin_sub_overflow(x, y, &r);
      break;
    case JinjaOp::mul:
      overflow = __builtin_mul_overflow(x, y, &r);
      break;
    case JinjaOp::floor_div:
    case JinjaOp::mod: {
      overflow = y == -1 && __builtin_sub_overflow(JinjaInt(0), x, &r);
      if (overflow) break;
      JinjaInt quotient = x / y, rest = x % y;
      if (rest != 0 && (rest < 0) != (y < 0)) --quotient, rest += y;
      r = op == JinjaOp::mod ? rest : quotient;
      break;
    }
    default:
      r = 1;
      for (JinjaInt i = 0; i < y && !overflow; ++i) {
        step();
        overflow = __builtin_mul_overflow(r, x, &r);
        if (x == 0 || x == 1) break;
      }
      if (x == -1) r = y % 2 ? -1 : 1;
  }
  if (overflow) fail("the result of '{}' is out of range", op_sign(op));
  return r;
}

}  // namespace vl8
