// Statements and expressions. Operations on values are in jinja_ops.cpp.
#include "text/jinja_run.h"

#include <algorithm>
#include <stdexcept>

namespace vl8 {
namespace {
using Kind = JinjaValue::Kind;
using EK = JinjaExpr::Kind;
using SK = JinjaStmt::Kind;
constexpr size_t kValueBytes = sizeof(JinjaValue);
}  // namespace

struct JinjaRun::Deeper {
  explicit Deeper(JinjaRun& r) : run(r) {
    if (++run.depth_ > run.limits_.depth) {
      --run.depth_;
      run.fail("nested deeper than {} levels while running (a macro that calls itself?)", run.limits_.depth);
    }
  }
  ~Deeper() { --run.depth_; }
  JinjaRun& run;
};

JinjaValue* JinjaScope::find(std::string_view name) {
  for (auto& [n, v] : variables)
    if (n == name) return &v;
  return nullptr;
}

JinjaRun::JinjaRun(const std::string& origin, const JinjaLimits& limits, std::time_t now)
    : origin_(origin), limits_(limits), now_(now), scope_(std::make_shared<JinjaScope>()) {}

JinjaRun::~JinjaRun() {
  // Containers that may hold each other are emptied while all of them are still held here, so nothing
  // recurses.
  for (auto scope = scope_; scope; scope = scope->parent) scope->variables.clear();
  for (auto& l : tracked_lists_) l->items.clear();
  for (auto& d : tracked_dicts_) d->items.clear();
}

MarkedText JinjaRun::render(const JinjaBody& body, const JinjaDict& variables) {
  for (const auto& [name, value] : variables.items()) scope_->variables.emplace_back(name.view(), value);
  scope_ = std::make_shared<JinjaScope>(JinjaScope{{}, scope_});
  MarkedText out;
  try {
    run_body(body, out);
  } catch (const std::length_error& e) {  // from jinja_str and friends
    fail("{}", e.what());
  }
  return out;
}

// Limits and new values

void JinjaRun::fail_limit(const char* what, size_t limit) const {
  fail("the template needs more than {} {}, the limit", limit, what);
}
void JinjaRun::allocate(size_t bytes) {
  step(1 + bytes / 1024);
  if ((allocated_ += bytes) > limits_.allocated_bytes) fail_limit("bytes of values", limits_.allocated_bytes);
}
JinjaValue JinjaRun::text(MarkedText t) {
  if (t.size() > limits_.output_bytes) fail_limit("bytes in one text", limits_.output_bytes);
  allocate(sizeof(MarkedText) + t.size() + t.spans().size() * sizeof(TrustSpan));
  return JinjaValue(std::move(t));
}
JinjaValue JinjaRun::list(JinjaList items, bool is_tuple) {
  allocate(sizeof(JinjaListObject) + items.size() * kValueBytes);
  uint32_t depth = 1;
  for (const JinjaValue& v : items) depth = std::max(depth, v.depth() + 1);
  if (depth > kMaxJinjaValueDepth) fail("a list is nested deeper than {} levels", kMaxJinjaValueDepth);
  return std::make_shared<JinjaListObject>(JinjaListObject{std::move(items), is_tuple, depth});
}
JinjaValue JinjaRun::dict(JinjaDict items) {
  allocate(sizeof(JinjaDictObject) + items.size() * 2 * kValueBytes);
  uint32_t depth = 1;
  for (const auto& [key, v] : items.items()) depth = std::max(depth, v.depth() + 1);
  if (depth > kMaxJinjaValueDepth) fail("a dictionary is nested deeper than {} levels", kMaxJinjaValueDepth);
  return std::make_shared<JinjaDictObject>(JinjaDictObject{std::move(items), depth});
}
JinjaValue JinjaRun::name_space(JinjaDict fields) {
  JinjaValue d = dict(std::move(fields));
  track(d.dict_object());
  return JinjaValue::Namespace{d.dict_object()};
}
JinjaValue JinjaRun::callable(std::string name, std::function<JinjaValue(JinjaRun&, JinjaArgs&)> call) {
  allocate(sizeof(JinjaCallable));
  return std::make_shared<const JinjaCallable>(JinjaCallable{std::move(name), std::move(call)});
}
void JinjaRun::track(const std::shared_ptr<JinjaListObject>& l) {
  allocate(kValueBytes);
  if (!std::exchange(l->is_tracked, true)) tracked_lists_.push_back(l);
}
void JinjaRun::track(const std::shared_ptr<JinjaDictObject>& d) {
  allocate(kValueBytes);
  if (!std::exchange(d->is_tracked, true)) tracked_dicts_.push_back(d);
}
void JinjaRun::write(MarkedText& out, const MarkedText& t) {
  out.append(t);
  step(1 + t.size() / 1024);
  if (out.size() > limits_.output_bytes) fail_limit("bytes of output", limits_.output_bytes);
}

// Statements

JinjaRun::Flow JinjaRun::run_body(const JinjaBody& body, MarkedText& out) {
  Deeper deeper(*this);
  for (const auto& s : body)
    if (Flow flow = run(*s, out); flow != Flow::next) return flow;
  return Flow::next;
}

JinjaRun::Flow JinjaRun::run(const JinjaStmt& s, MarkedText& out) {
  step();
  line_ = s.line;
  switch (s.kind) {
    case SK::text:
      write(out, MarkedText(s.text));
      break;
    case SK::output:
      write(out, str(eval(*s.exprs[0])));
      break;
    case SK::branch:
      return run_branch(s, out);
    case SK::loop:
      run_loop(s, out);
      break;
    case SK::set:
    case SK::set_block:
      run_set(s);
      break;
    case SK::macro:
      set_variable(s.text, make_macro(s, s.text, 0));
      break;
    case SK::call_block:
      run_call_block(s, out);
      break;
    case SK::filter_block: {
      JinjaValue block = text(run_scoped(s.bodies[0]));
      write(out, str(eval_filter(*s.exprs[0], &block)));
      break;
    }
    case SK::with: {
      JinjaList values;
      for (const auto& e : s.exprs) values.push_back(eval(*e));
      auto outer = scope_;
      scope_ = std::make_shared<JinjaScope>(JinjaScope{{}, outer});
      for (size_t i = 0; i < values.size(); ++i) assign(s.targets[i], values[i]);
      Flow flow = run_body(s.bodies[0], out);
      scope_ = outer;
      return flow;
    }
    case SK::group:
      return run_body(s.bodies[0], out);
    case SK::break_loop:
      return Flow::break_loop;
    case SK::continue_loop:
      return Flow::continue_loop;
  }
  return Flow::next;
}

JinjaRun::Flow JinjaRun::run_branch(const JinjaStmt& s, MarkedText& out) {
  for (size_t i = 0; i < s.exprs.size(); ++i)
    if (eval(*s.exprs[i]).truthy()) return run_body(s.bodies[i], out);
  return s.bodies.size() > s.exprs.size() ? run_body(s.bodies.back(), out) : Flow::next;
}

void JinjaRun::run_loop(const JinjaStmt& s, MarkedText& out) {
  auto all = std::make_shared<JinjaListObject>();
  all->items = iterate(eval(*s.exprs[0]));
  auto outer = scope_;
  auto inner = std::make_shared<JinjaScope>(JinjaScope{{}, outer});
  scope_ = inner;
  if (s.exprs[1]) {
    JinjaList kept;
    for (JinjaValue& v : all->items) {
      inner->variables.clear();
      assign(s.targets[0], v);
      if (eval(*s.exprs[1]).truthy()) kept.push_back(v);
    }
    all->items = std::move(kept);
  }
  auto loop = std::make_shared<JinjaLoop>();
  loop->items = all;
  for (; loop->index0 < all->items.size(); ++loop->index0) {
    step();
    inner->variables.clear();
    set_variable("loop", loop);
    assign(s.targets[0], all->items[loop->index0]);
    if (run_body(s.bodies[0], out) == Flow::break_loop) break;
  }
  inner->variables.clear();
  scope_ = outer;
  if (all->items.empty()) run_body(s.bodies[1], out);
}

void JinjaRun::run_set(const JinjaStmt& s) {
  if (s.kind == SK::set) return assign(s.targets[0], eval(*s.exprs[0]));
  JinjaValue block = text(run_scoped(s.bodies[0]));
  assign(s.targets[0], s.exprs[0] ? eval_filter(*s.exprs[0], &block) : block);
}

MarkedText JinjaRun::run_scoped(const JinjaBody& body) {
  auto outer = scope_;
  scope_ = std::make_shared<JinjaScope>(JinjaScope{{}, outer});
  MarkedText out;
  run_body(body, out);
  scope_ = outer;
  return out;
}

void JinjaRun::set_variable(std::string_view name, JinjaValue value) {
  if (JinjaValue* there = scope_->find(name))
    *there = std::move(value);
  else
    scope_->variables.emplace_back(name, std::move(value));
}

void JinjaRun::assign(const JinjaTarget& target, JinjaValue value) {
  if (!target.parts.empty()) {
    JinjaList items = iterate(value);
    if (items.size() != target.parts.size())
      fail("cannot unpack {} values into {} names", items.size(), target.parts.size());
    for (size_t i = 0; i < items.size(); ++i) assign(target.parts[i], std::move(items[i]));
    return;
  }
  if (target.field.empty()) return set_variable(target.name, std::move(value));
  JinjaValue* there = nullptr;
  for (auto* scope = scope_.get(); scope && !there; scope = scope->parent.get())
    there = scope->find(target.name);
  if (!there || !there->is(Kind::name_space))
    fail("cannot assign to {}.{}: {} is not a namespace", target.name, target.field, target.name);
  allocate(kValueBytes);
  there->dict_object()->items.set(MarkedText(target.field), std::move(value));
}

// A macro sees the variables of the place where it is written. It must not keep that scope alive, because the
// scope keeps the macro.
JinjaValue JinjaRun::make_macro(const JinjaStmt& s, const std::string& name, size_t first_default) {
  std::weak_ptr<JinjaScope> scope = scope_;
  return callable(name, [&s, &name, first_default, scope](JinjaRun& run, JinjaArgs& args) {
    auto alive = scope.lock();
    if (!alive) run.fail("the macro '{}' is called outside of the block that defines it", name);
    return run.call_macro(s, name, first_default, alive, args);
  });
}

JinjaValue JinjaRun::call_macro(const JinjaStmt& s, const std::string& name, size_t first_default,
                                const std::shared_ptr<JinjaScope>& scope, JinjaArgs& args) {
  auto outer = scope_;
  int line = line_;
  auto inner = std::make_shared<JinjaScope>(JinjaScope{{}, scope});
  size_t defaults = s.exprs.size() - first_default, required = s.params.size() - defaults;
  JinjaDict rest;
  JinjaList values(s.params.size());
  std::vector<bool> given(s.params.size());
  for (size_t i = 0; i < args.positional.size() && i < values.size(); ++i)
    values[i] = args.positional[i], given[i] = true;
  for (auto& [keyword, value] : args.named) {
    size_t i = size_t(std::find(s.params.begin(), s.params.end(), keyword) - s.params.begin());
    if (i < s.params.size()) {
      if (given[i]) fail("macro '{}' got two values for '{}'", name, keyword);
      values[i] = value, given[i] = true;
    } else if (keyword == "caller" && s.uses_caller) {
      inner->variables.emplace_back("caller", value);
    } else if (s.uses_kwargs) {
      rest.set(MarkedText(keyword), value);
    } else {
      fail("macro '{}' takes no argument named '{}'", name, keyword);
    }
  }
  JinjaList more;
  if (args.positional.size() > values.size()) {
    if (!s.uses_varargs) fail("macro '{}' takes at most {} arguments", name, s.params.size());
    more.assign(args.positional.begin() + int64_t(values.size()), args.positional.end());
  }
  scope_ = inner;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!given[i])
      values[i] =
          i < required ? JinjaValue::undefined(s.params[i]) : eval(*s.exprs[first_default + i - required]);
    set_variable(s.params[i], values[i]);
  }
  if (s.uses_varargs) set_variable("varargs", list(std::move(more), true));
  if (s.uses_kwargs) set_variable("kwargs", dict(std::move(rest)));
  MarkedText out;
  run_body(s.bodies[0], out);
  scope_ = outer;
  line_ = line;
  return text(std::move(out));
}

void JinjaRun::run_call_block(const JinjaStmt& s, MarkedText& out) {
  static const std::string kCaller = "caller";
  JinjaValue caller = make_macro(s, kCaller, 1);
  write(out, str(eval_call(*s.exprs[0], &caller)));
}

// Expressions

JinjaValue JinjaRun::eval(const JinjaExpr& e) {
  Deeper deeper(*this);
  step();
  line_ = e.line;
  switch (e.kind) {
    case EK::literal:
      return eval_literal(e);
    case EK::name:
      return eval_name(e);
    case EK::list:
    case EK::tuple: {
      JinjaList items;
      for (const auto& item : e.items) items.push_back(eval(*item));
      return list(std::move(items), e.kind == EK::tuple);
    }
    case EK::dict: {
      JinjaDict items;
      for (size_t i = 0; i < e.items.size(); i += 2) {
        JinjaValue key = eval(*e.items[i]);
        if (!key.is_text()) fail("a key is a {}; only str keys are supported", jinja_type_name(key));
        items.set(key.text(), eval(*e.items[i + 1]));
      }
      return dict(std::move(items));
    }
    case EK::attribute:
      return attribute(eval(*e.items[0]), e.name);
    case EK::item: {
      JinjaValue of = eval(*e.items[0]);
      return item(of, eval(*e.items[1]));
    }
    case EK::slice: {
      JinjaValue of = eval(*e.items[0]), part[3];
      for (size_t i = 0; i < 3; ++i)
        part[i] = e.items[i + 1] ? eval(*e.items[i + 1]) : JinjaValue(JinjaValue::None{});
      return slice(of, part[0], part[1], part[2]);
    }
    case EK::call:
      return eval_call(e, nullptr);
    case EK::filter:
      return eval_filter(e, nullptr);
    case EK::test: {
      JinjaValue input = eval(*e.items[0]);
      JinjaArgs args = eval_arguments(e);
      line_ = e.line;
      return e.test(*this, input, args) != e.flag;
    }
    case EK::unary:
      return eval_unary(e);
    case EK::binary: {
      JinjaValue a = eval(*e.items[0]), b = eval(*e.items[1]);
      line_ = e.line;
      return binary(e.op, a, b);
    }
    case EK::both: {
      JinjaValue a = eval(*e.items[0]);
      return a.truthy() ? eval(*e.items[1]) : a;
    }
    case EK::either: {
      JinjaValue a = eval(*e.items[0]);
      return a.truthy() ? a : eval(*e.items[1]);
    }
    case EK::compare:
      return eval_compare(e);
    case EK::concat: {
      MarkedText out;
      for (const auto& item : e.items) write(out, str(eval(*item)));
      return text(std::move(out));
    }
    case EK::conditional:
      if (eval(*e.items[0]).truthy()) return eval(*e.items[1]);
      return e.items[2] ? eval(*e.items[2]) : JinjaValue();
  }
  return {};
}

JinjaValue JinjaRun::eval_literal(const JinjaExpr& e) {
  if (const auto* s = std::get_if<std::string>(&e.value)) return text(*s, Trust::author);
  if (const auto* i = std::get_if<JinjaInt>(&e.value)) return *i;
  if (const auto* d = std::get_if<double>(&e.value)) return *d;
  if (const auto* b = std::get_if<bool>(&e.value)) return *b;
  return JinjaValue::None{};
}

JinjaValue JinjaRun::eval_name(const JinjaExpr& e) {
  for (auto* scope = scope_.get(); scope; scope = scope->parent.get()) {
    step();
    if (const JinjaValue* v = scope->find(e.name)) return *v;
  }
  if (JinjaFunction f = find_jinja_function(e.name)) return callable(e.name, f);
  return JinjaValue::undefined(e.name);
}

JinjaArgs JinjaRun::eval_arguments(const JinjaExpr& e) {
  JinjaArgs args;
  size_t first = e.items.size() - e.arguments, named = e.items.size() - e.keywords.size();
  for (size_t i = first; i < named; ++i) args.positional.push_back(eval(*e.items[i]));
  for (size_t i = named; i < e.items.size(); ++i)
    args.named.emplace_back(e.keywords[i - named], eval(*e.items[i]));
  return args;
}

JinjaValue JinjaRun::eval_call(const JinjaExpr& e, const JinjaValue* extra_caller) {
  Deeper deeper(*this);
  const JinjaExpr& callee = *e.items[0];
  if (callee.kind == EK::attribute) {  // a method, without making a value of it
    JinjaValue self = eval(*callee.items[0]);
    if (JinjaMethod method = find_jinja_method(self.kind(), callee.name)) {
      JinjaArgs args = eval_arguments(e);
      line_ = e.line;
      return method(*this, self, args);
    }
    JinjaValue f = attribute(self, callee.name);
    JinjaArgs args = eval_arguments(e);
    line_ = e.line;
    return call(f, args);
  }
  JinjaValue f = eval(callee);
  JinjaArgs args = eval_arguments(e);
  if (extra_caller) args.named.emplace_back("caller", *extra_caller);
  line_ = e.line;
  return call(f, args);
}

JinjaValue JinjaRun::eval_filter(const JinjaExpr& e, const JinjaValue* block) {
  Deeper deeper(*this);
  JinjaValue input = !e.items[0]                               ? *block
                     : block && e.items[0]->kind == EK::filter ? eval_filter(*e.items[0], block)
                                                               : eval(*e.items[0]);
  JinjaArgs args = eval_arguments(e);
  line_ = e.line;
  return e.filter(*this, input, args);
}

JinjaValue JinjaRun::eval_compare(const JinjaExpr& e) {
  JinjaValue left = eval(*e.items[0]);
  for (size_t i = 0; i < e.ops.size(); ++i) {
    JinjaValue right = eval(*e.items[i + 1]);
    line_ = e.line;
    if (!compare(e.ops[i], left, right)) return false;
    left = std::move(right);
  }
  return true;
}

JinjaValue JinjaRun::eval_unary(const JinjaExpr& e) {
  JinjaValue v = eval(*e.items[0]);
  line_ = e.line;
  if (e.op == JinjaOp::negate) return !v.truthy();
  if (!v.is_numeric())
    fail("bad operand type for unary {}: {}", e.op == JinjaOp::neg ? '-' : '+', jinja_type_name(v));
  if (v.is(Kind::number)) return e.op == JinjaOp::neg ? -v.number() : v.number();
  return e.op == JinjaOp::neg ? binary(JinjaOp::sub, JinjaValue(0), v) : JinjaValue(v.integer());
}

}  // namespace vl8
