// Tests: `value is name`, also by name in select, reject and their kin.
#include <algorithm>

#include "text/jinja_run.h"

namespace vl8 {
namespace {
using Kind = JinjaValue::Kind;
using Run = JinjaRun;
using Value = JinjaValue;
using Args = JinjaArgs;

Value one(Run& run, Args& args) {
  auto a = run.bind("this test", args, {"other"});
  return a[0];
}
template <JinjaOp kOp>
bool compared(Run& run, const Value& v, Args& args) {
  return run.compare(kOp, v, one(run, args));
}
template <Kind kKind>
bool of_kind(Run&, const Value& v, Args&) {
  return v.is(kKind);
}
template <bool kValue>
bool exactly(Run&, const Value& v, Args&) {
  return v.is(Kind::boolean) && v.boolean() == kValue;
}
bool defined(Run&, const Value& v, Args&) {
  return !v.is_undefined();
}
bool number(Run&, const Value& v, Args&) {
  return v.is_numeric();
}
bool sequence(Run&, const Value& v, Args&) {
  return v.is_list() || v.is_text() || v.is_dict() || v.is_undefined();
}
bool divisible_by(Run& run, const Value& v, Args& args) {
  return !run.binary(JinjaOp::mod, v, one(run, args)).truthy();
}
bool odd(Run& run, const Value& v, Args&) {
  return run.binary(JinjaOp::mod, v, Value(2)).truthy();
}
bool even(Run& run, const Value& v, Args& args) {
  return !odd(run, v, args);
}
bool same_as(Run& run, const Value& v, Args& args) {
  Value other = one(run, args);
  if (v.is_list() && other.is_list()) return v.list_object() == other.list_object();
  if (v.is_dict() && other.is_dict()) return v.dict_object() == other.dict_object();
  return v.kind() == other.kind() && run.equal(v, other);
}
bool upper(Run& run, const Value& v, Args&) {
  std::string s = run.str(v).str();
  return jinja_upper(s) == s && jinja_lower(s) != s;
}
bool lower(Run& run, const Value& v, Args&) {
  std::string s = run.str(v).str();
  return jinja_lower(s) == s && jinja_upper(s) != s;
}
bool known_filter(Run& run, const Value& v, Args&) {
  return find_jinja_filter(run.as_text(v, "the name of a filter").view());
}
bool known_test(Run& run, const Value& v, Args&) {
  return find_jinja_test(run.as_text(v, "the name of a test").view());
}

struct TestRow {
  const char* name;
  JinjaTest test;
};
constexpr TestRow kTests[] = {
    {"defined", defined},
    {"undefined", of_kind<Kind::undefined>},
    {"none", of_kind<Kind::none>},
    {"None", of_kind<Kind::none>},
    {"boolean", of_kind<Kind::boolean>},
    {"integer", of_kind<Kind::integer>},
    {"float", of_kind<Kind::number>},
    {"number", number},
    {"string", of_kind<Kind::text>},
    {"mapping", of_kind<Kind::dict>},
    {"iterable", sequence},
    {"sequence", sequence},
    {"callable", of_kind<Kind::callable>},
    {"true", exactly<true>},
    {"True", exactly<true>},
    {"false", exactly<false>},
    {"False", exactly<false>},
    {"odd", odd},
    {"even", even},
    {"divisibleby", divisible_by},
    {"sameas", same_as},
    {"upper", upper},
    {"lower", lower},
    {"filter", known_filter},
    {"test", known_test},
    {"in", compared<JinjaOp::in>},
    {"eq", compared<JinjaOp::eq>},
    {"==", compared<JinjaOp::eq>},
    {"equalto", compared<JinjaOp::eq>},
    {"ne", compared<JinjaOp::ne>},
    {"!=", compared<JinjaOp::ne>},
    {"lt", compared<JinjaOp::lt>},
    {"<", compared<JinjaOp::lt>},
    {"lessthan", compared<JinjaOp::lt>},
    {"le", compared<JinjaOp::le>},
    {"<=", compared<JinjaOp::le>},
    {"gt", compared<JinjaOp::gt>},
    {">", compared<JinjaOp::gt>},
    {"greaterthan", compared<JinjaOp::gt>},
    {"ge", compared<JinjaOp::ge>},
    {">=", compared<JinjaOp::ge>},
};
}  // namespace

JinjaTest find_jinja_test(std::string_view name) {
  for (const TestRow& row : kTests)
    if (name == row.name) return row.test;
  return nullptr;
}

}  // namespace vl8
