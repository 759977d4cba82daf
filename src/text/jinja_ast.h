// A parsed template. Nodes are immutable after parsing and shared by all renderings.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "text/jinja_value.h"

namespace vl8 {

using JinjaFilter = JinjaValue (*)(JinjaRun& run, const JinjaValue& input, JinjaArgs& args);
using JinjaTest = bool (*)(JinjaRun& run, const JinjaValue& input, JinjaArgs& args);

enum class JinjaOp {
  add,
  sub,
  mul,
  div,
  floor_div,
  mod,
  pow,
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  in,
  not_in,
  neg,
  pos,
  negate
};

struct JinjaExpr {
  enum class Kind {
    literal,      // value
    name,         // name
    list,         // items
    tuple,        // items
    dict,         // items: key, value, key, value, ...
    attribute,    // items[0] . name
    item,         // items[0] [ items[1] ]
    slice,        // items[0] [ items[1] : items[2] : items[3] ], each part may be null
    call,         // items[0] ( arguments )
    filter,       // items[0] | name ( arguments ); items[0] is null in a filter block
    test,         // items[0] is name ( arguments ); `flag`: is not
    unary,        // op items[0]
    binary,       // items[0] op items[1]
    both,         // items[0] and items[1]
    either,       // items[0] or items[1]
    compare,      // items[0] ops[0] items[1] ops[1] items[2] ...
    concat,       // items[0] ~ items[1] ~ ...
    conditional,  // items[1] if items[0] else items[2], which may be null
  };
  Kind kind;
  int line;
  int height = 1;  // of the tree below
  bool flag = false;
  JinjaOp op = JinjaOp::add;
  std::string name;
  // A literal: texts of the template are the author's. Shared between threads as a constant, so only scalars.
  std::variant<JinjaValue::None, bool, JinjaInt, double, std::string> value;
  std::vector<std::unique_ptr<JinjaExpr>> items;
  size_t arguments = 0;               // the last `arguments` items are arguments,
  std::vector<std::string> keywords;  // the last keywords.size() of those by keyword
  std::vector<JinjaOp> ops;
  JinjaFilter filter = nullptr;
  JinjaTest test = nullptr;
};
using JinjaExprPtr = std::unique_ptr<JinjaExpr>;

// What a value is assigned to: a name, a field of a namespace, or several targets to unpack into.
struct JinjaTarget {
  std::string name;  // of the variable, or of the namespace if `field` is set
  std::string field;
  std::vector<JinjaTarget> parts;
};

struct JinjaStmt;
using JinjaBody = std::vector<std::unique_ptr<JinjaStmt>>;

struct JinjaStmt {
  enum class Kind {
    text,          // text
    output,        // exprs[0]
    branch,        // if exprs[i] then bodies[i]; one body more for else
    loop,          // for target in exprs[0] if exprs[1] (may be null): bodies[0], else bodies[1]
    set,           // target = exprs[0]
    set_block,     // target = bodies[0], through the filters of exprs[0] if not null
    macro,         // name(params, the last ones with defaults exprs): bodies[0]
    call_block,    // exprs[0] is the call; params and defaults (exprs from 1) of the caller: bodies[0]
    filter_block,  // bodies[0] through the filters of exprs[0]
    with,          // targets = exprs: bodies[0] in a scope of its own
    group,         // bodies[0] (generation block)
    break_loop,
    continue_loop,
  };
  Kind kind;
  int line;
  int height = 1;
  std::string text;  // of a text; name of a macro
  std::vector<JinjaTarget> targets;
  std::vector<std::string> params;
  std::vector<JinjaExprPtr> exprs;
  std::vector<JinjaBody> bodies;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;  // of a macro: names its body reads
};

// Throws Error(input) "origin:line: ...".
JinjaBody parse_jinja(std::string_view source, const std::string& origin);

// Null if there is none of that name.
JinjaFilter find_jinja_filter(std::string_view name);
JinjaTest find_jinja_test(std::string_view name);

}  // namespace vl8
