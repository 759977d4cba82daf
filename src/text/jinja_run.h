// One rendering: scopes, limits, and the operations of the language on values. Filters, tests, methods and
// functions (jinja_filters.cpp, jinja_tests.cpp, jinja_methods.cpp) work through it.
#pragma once
#include <fmt/format.h>

#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "text/jinja.h"
#include "text/jinja_ast.h"
#include "text/jinja_value.h"

namespace vl8 {

struct JinjaArgs {
  JinjaList positional;
  std::vector<std::pair<std::string, JinjaValue>> named;
};

struct JinjaScope {
  std::vector<std::pair<std::string_view, JinjaValue>> variables;  // names are the template's or the caller's
  std::shared_ptr<JinjaScope> parent;
  JinjaValue* find(std::string_view name);  // here only
};

struct JinjaLoop {
  std::shared_ptr<const JinjaListObject> items;
  size_t index0 = 0;
  JinjaList last_changed;  // what loop.changed saw
  bool saw_changed = false;
};

class JinjaRun {
 public:
  JinjaRun(const std::string& origin, const JinjaLimits& limits, std::time_t now);
  ~JinjaRun();
  JinjaRun(const JinjaRun&) = delete;

  MarkedText render(const JinjaBody& body, const JinjaDict& variables);

  // Limits. Each throws Error(input) when it is reached.
  void step(size_t count = 1) {
    if ((steps_ += count) > limits_.steps) fail_limit("steps", limits_.steps);
  }
  void allocate(size_t bytes);
  size_t max_text_bytes() const { return limits_.output_bytes; }
  std::time_t now() const { return now_; }

  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    fail_input("{}:{}: {}", origin_, line_, fmt::format(format, std::forward<Args>(args)...));
  }

  // New values, counted against the limits.
  JinjaValue text(MarkedText t);
  JinjaValue text(std::string t, Trust trust) { return text(MarkedText(std::move(t), trust)); }
  JinjaValue list(JinjaList items, bool is_tuple = false);
  JinjaValue dict(JinjaDict items);
  JinjaValue name_space(JinjaDict fields);
  JinjaValue callable(std::string name, std::function<JinjaValue(JinjaRun&, JinjaArgs&)> call);
  // To be called before a list or dictionary is changed: tracked containers live until the end of the
  // rendering and are emptied there, so that containers that hold each other are freed, and without deep
  // recursion.
  void track(const std::shared_ptr<JinjaListObject>& list);
  void track(const std::shared_ptr<JinjaDictObject>& dict);

  // Operations, as in Python; they fail with the line.
  JinjaValue attribute(const JinjaValue& of, std::string_view name);        // of.name
  JinjaValue item(const JinjaValue& of, const JinjaValue& key);             // of[key]
  JinjaValue attribute_path(const JinjaValue& of, const JinjaValue& path);  // "a.b.0", as filters take it
  JinjaValue slice(const JinjaValue& of, const JinjaValue& begin, const JinjaValue& end,
                   const JinjaValue& step);
  JinjaValue call(const JinjaValue& callee, JinjaArgs& args);
  JinjaValue binary(JinjaOp op, const JinjaValue& a, const JinjaValue& b);
  bool compare(JinjaOp op, const JinjaValue& a, const JinjaValue& b);
  bool contains(const JinjaValue& container, const JinjaValue& value);
  bool equal(const JinjaValue& a, const JinjaValue& b);
  bool less(const JinjaValue& a, const JinjaValue& b);
  JinjaList iterate(const JinjaValue& v);  // items; keys of a dictionary; characters of a text
  MarkedText str(const JinjaValue& v);
  size_t length(const JinjaValue& v);
  int64_t as_int(const JinjaValue& v, std::string_view what);  // an index, count or the like
  const MarkedText& as_text(const JinjaValue& v, std::string_view what);
  std::string json_or_fail(const JinjaValue& v);

  // Arguments by the names of a signature, in its order; missing ones are undefined. `function` is for
  // messages.
  std::vector<JinjaValue> bind(std::string_view function, JinjaArgs& args,
                               std::initializer_list<const char*> names);

 private:
  enum class Flow { next, break_loop, continue_loop };
  struct Deeper;  // counts nesting while running

  [[noreturn]] void fail_limit(const char* what, size_t limit) const;
  Flow run_body(const JinjaBody& body, MarkedText& out);
  Flow run(const JinjaStmt& s, MarkedText& out);
  Flow run_branch(const JinjaStmt& s, MarkedText& out);
  void run_loop(const JinjaStmt& s, MarkedText& out);
  void run_set(const JinjaStmt& s);
  void run_macro_definition(const JinjaStmt& s);
  void run_call_block(const JinjaStmt& s, MarkedText& out);
  MarkedText run_scoped(const JinjaBody& body);
  JinjaValue make_macro(const JinjaStmt& s, const std::string& name, size_t first_default);
  JinjaValue call_macro(const JinjaStmt& s, const std::string& name, size_t first_default,
                        const std::shared_ptr<JinjaScope>& scope, JinjaArgs& args);
  void assign(const JinjaTarget& target, JinjaValue value);
  void set_variable(std::string_view name, JinjaValue value);
  void write(MarkedText& out, const MarkedText& text);

  JinjaValue eval(const JinjaExpr& e);
  JinjaValue eval_literal(const JinjaExpr& e);
  JinjaValue eval_name(const JinjaExpr& e);
  JinjaValue eval_call(const JinjaExpr& e, const JinjaValue* extra_caller);
  JinjaValue eval_filter(const JinjaExpr& e, const JinjaValue* block);
  JinjaValue eval_compare(const JinjaExpr& e);
  JinjaValue eval_unary(const JinjaExpr& e);
  JinjaArgs eval_arguments(const JinjaExpr& e);
  JinjaValue loop_attribute(const std::shared_ptr<JinjaLoop>& loop, std::string_view name);
  JinjaValue arithmetic(JinjaOp op, const JinjaValue& a, const JinjaValue& b);
  JinjaValue repeat(const JinjaValue& v, JinjaInt count);

  const std::string& origin_;
  const JinjaLimits& limits_;
  std::time_t now_;
  int line_ = 1;
  int depth_ = 0;
  size_t steps_ = 0;
  size_t allocated_ = 0;
  std::shared_ptr<JinjaScope> scope_;
  std::vector<std::shared_ptr<JinjaListObject>> tracked_lists_;
  std::vector<std::shared_ptr<JinjaDictObject>> tracked_dicts_;
};

// Methods of text, list and dict values, e.g. ("str", "startswith"); null if there is none.
using JinjaMethod = JinjaValue (*)(JinjaRun& run, const JinjaValue& self, JinjaArgs& args);
JinjaMethod find_jinja_method(JinjaValue::Kind kind, std::string_view name);

// The functions every template sees: range, dict, namespace, raise_exception, strftime_now, ...; null if
// unknown.
using JinjaFunction = JinjaValue (*)(JinjaRun& run, JinjaArgs& args);
JinjaFunction find_jinja_function(std::string_view name);

// "%s and %d" % values; also the filter `format`.
JinjaValue jinja_percent_format(JinjaRun& run, const MarkedText& format, const JinjaList& values);
// Case by code point (Python's for all but a few letters that change length).
std::string jinja_upper(std::string_view s);
std::string jinja_lower(std::string_view s);
std::string jinja_capitalize(std::string_view s);
// Removes characters of `chars` (blanks if it is null) at the ends asked for.
MarkedText jinja_strip(const MarkedText& t, const std::string* chars, bool left, bool right);
std::vector<MarkedText> jinja_characters(const MarkedText& t);

}  // namespace vl8
