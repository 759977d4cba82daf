// Tokens -> tree, with the grammar and the precedences of Jinja2: or, and, not, comparisons, + -, ~, * / //
// %, **, unary signs, then filters and tests, which bind closest.
#include <algorithm>

#include "core/error.h"
#include "text/jinja.h"
#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"
#include "text/utf8.h"

namespace vl8 {
namespace {
using Token = JinjaToken;
using TokenKind = JinjaToken::Kind;
using Expr = JinjaExpr;
using ExprPtr = JinjaExprPtr;
using EK = JinjaExpr::Kind;
using Stmt = JinjaStmt;
using SK = JinjaStmt::Kind;

class Parser {
 public:
  Parser(std::vector<Token> tokens, const std::string& origin)
      : tokens_(std::move(tokens)), origin_(origin) {}

  JinjaBody run() {
    JinjaBody body = parse_body({});
    if (now().kind != TokenKind::end) error("unexpected {}", shown());
    return body;
  }

 private:
  // Tokens

  template <typename... Args>
  [[noreturn]] void error(fmt::format_string<Args...> format, Args&&... args) const {
    fail_input("{}:{}: {}", origin_, now().line, fmt::format(format, std::forward<Args>(args)...));
  }
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  static bool is(const Token& t, TokenKind kind, std::string_view text) {
    return t.kind == kind && t.text == text;
  }
  bool at_op(std::string_view op) const { return is(now(), TokenKind::op, op); }
  bool at_name(std::string_view name) const { return is(now(), TokenKind::name, name); }
  bool skip_op(std::string_view op) { return at_op(op) && (take(), true); }
  bool skip_name(std::string_view name) { return at_name(name) && (take(), true); }
  std::string shown() const {
    switch (now().kind) {
      case TokenKind::end:
        return "end of the template";
      case TokenKind::block_end:
        return "'%}'";
      case TokenKind::output_end:
        return "'}}'";
      case TokenKind::integer:
        return jinja_int_str(now().integer);
      case TokenKind::number:
        return jinja_float_str(now().number);
      default:
        return fmt::format("'{}'", now().text.substr(0, 40));
    }
  }
  void expect_op(std::string_view op) {
    if (!skip_op(op)) error("expected '{}', found {}", op, shown());
  }
  std::string expect_name() {
    if (now().kind != TokenKind::name) error("expected a name, found {}", shown());
    return take().text;
  }
  void expect_block_end() {
    if (now().kind != TokenKind::block_end) error("expected '%}}', found {}", shown());
    take();
  }

  // Trees of limited height, so that recursion over them is safe; and of limited nesting while they are read.

  struct Nested {
    explicit Nested(Parser& p) : parser(p) {
      if (++p.nesting_ > kMaxTemplateNesting) p.error("nested deeper than {} levels", kMaxTemplateNesting);
    }
    ~Nested() { --parser.nesting_; }
    Parser& parser;
  };
  ExprPtr make(EK kind, int line) const {
    auto e = std::make_unique<Expr>();
    e->kind = kind;
    e->line = line;
    return e;
  }
  void add(Expr& e, ExprPtr item) const {
    if (item) e.height = std::max(e.height, item->height + 1);
    if (e.height > kMaxTemplateNesting)
      error("an expression is nested deeper than {} levels", kMaxTemplateNesting);
    e.items.push_back(std::move(item));
  }
  ExprPtr binary(JinjaOp op, ExprPtr left, ExprPtr right) const {
    auto e = make(EK::binary, left->line);
    e->op = op;
    add(*e, std::move(left));
    add(*e, std::move(right));
    return e;
  }

  // Expressions

  ExprPtr parse_expression() {
    Nested nested(*this);
    ExprPtr value = parse_or();
    while (at_name("if")) {
      auto e = make(EK::conditional, take().line);
      add(*e, parse_or());
      add(*e, std::move(value));
      add(*e, skip_name("else") ? parse_expression() : nullptr);
      value = std::move(e);
    }
    return value;
  }

  ExprPtr parse_or() {
    ExprPtr left = parse_and();
    while (at_name("or")) {
      auto e = make(EK::either, take().line);
      add(*e, std::move(left));
      add(*e, parse_and());
      left = std::move(e);
    }
    return left;
  }
  ExprPtr parse_and() {
    ExprPtr left = parse_not();
    while (at_name("and")) {
      auto e = make(EK::both, take().line);
      add(*e, std::move(left));
      add(*e, parse_not());
      left = std::move(e);
    }
    return left;
  }
  ExprPtr parse_not() {
    if (!at_name("not")) return parse_compare();
    Nested nested(*this);
    auto e = make(EK::unary, take().line);
    e->op = JinjaOp::negate;
    add(*e, parse_not());
    return e;
  }

  std::optional<JinjaOp> compare_op() {
    static constexpr std::pair<const char*, JinjaOp> kOps[] = {{"==", JinjaOp::eq}, {"!=", JinjaOp::ne},
                                                               {"<", JinjaOp::lt},  {"<=", JinjaOp::le},
                                                               {">", JinjaOp::gt},  {">=", JinjaOp::ge}};
    for (auto [text, op] : kOps)
      if (skip_op(text)) return op;
    if (skip_name("in")) return JinjaOp::in;
    if (at_name("not") && is(ahead(), TokenKind::name, "in")) return take(), take(), JinjaOp::not_in;
    return std::nullopt;
  }
  ExprPtr parse_compare() {
    ExprPtr first = parse_sum();
    ExprPtr chain;
    while (auto op = compare_op()) {
      if (!chain) {
        chain = make(EK::compare, first->line);
        add(*chain, std::move(first));
      }
      chain->ops.push_back(*op);
      add(*chain, parse_sum());
    }
    return chain ? std::move(chain) : std::move(first);
  }

  ExprPtr parse_sum() {
    ExprPtr left = parse_concat();
    while (at_op("+") || at_op("-")) {
      JinjaOp op = take().text == "+" ? JinjaOp::add : JinjaOp::sub;
      left = binary(op, std::move(left), parse_concat());
    }
    return left;
  }
  ExprPtr parse_concat() {
    ExprPtr first = parse_product();
    if (!at_op("~")) return first;
    auto e = make(EK::concat, first->line);
    add(*e, std::move(first));
    while (skip_op("~")) add(*e, parse_product());
    return e;
  }
  ExprPtr parse_product() {
    ExprPtr left = parse_power();
    for (;;) {
      JinjaOp op;
      if (skip_op("*"))
        op = JinjaOp::mul;
      else if (skip_op("/"))
        op = JinjaOp::div;
      else if (skip_op("//"))
        op = JinjaOp::floor_div;
      else if (skip_op("%"))
        op = JinjaOp::mod;
      else
        return left;
      left = binary(op, std::move(left), parse_power());
    }
  }
  ExprPtr parse_power() {
    ExprPtr left = parse_unary(true);
    while (skip_op("**")) left = binary(JinjaOp::pow, std::move(left), parse_unary(true));
    return left;
  }
  ExprPtr parse_unary(bool with_filters) {
    Nested nested(*this);
    ExprPtr e;
    if (at_op("-") || at_op("+")) {
      e = make(EK::unary, now().line);
      e->op = take().text == "-" ? JinjaOp::neg : JinjaOp::pos;
      add(*e, parse_unary(false));
    } else {
      e = parse_primary();
    }
    e = parse_postfix(std::move(e));
    return with_filters ? parse_filters_and_tests(std::move(e)) : std::move(e);
  }

  ExprPtr parse_primary() {
    Nested nested(*this);
    int line = now().line;
    switch (now().kind) {
      case TokenKind::name:
        return parse_name();
      case TokenKind::string: {
        auto e = make(EK::literal, line);
        std::string text;
        while (now().kind == TokenKind::string) text += take().text;
        e->value = std::move(text);
        return e;
      }
      case TokenKind::integer: {
        auto e = make(EK::literal, line);
        e->value = take().integer;
        return e;
      }
      case TokenKind::number: {
        auto e = make(EK::literal, line);
        e->value = take().number;
        return e;
      }
      default:
        break;
    }
    if (skip_op("(")) {
      ExprPtr e = at_op(")") ? make(EK::tuple, line) : parse_tuple();
      expect_op(")");
      return e;
    }
    if (at_op("[")) return parse_list();
    if (at_op("{")) return parse_dict();
    error("expected an expression, found {}", shown());
  }
  ExprPtr parse_name() {
    Token t = take();
    auto e = make(EK::literal, t.line);
    if (t.text == "true" || t.text == "True")
      e->value = true;
    else if (t.text == "false" || t.text == "False")
      e->value = false;
    else if (t.text == "none" || t.text == "None")
      e->value = JinjaValue::None{};
    else
      e->kind = EK::name, e->name = t.text;
    for (auto* names : names_in_use_) names->push_back(t.text);
    return e;
  }
  ExprPtr parse_list() {
    auto e = make(EK::list, take().line);
    while (!at_op("]")) {
      if (!e->items.empty()) expect_op(",");
      if (at_op("]")) break;
      add(*e, parse_expression());
    }
    expect_op("]");
    return e;
  }
  ExprPtr parse_dict() {
    auto e = make(EK::dict, take().line);
    while (!at_op("}")) {
      if (!e->items.empty()) expect_op(",");
      if (at_op("}")) break;
      add(*e, parse_expression());
      expect_op(":");
      add(*e, parse_expression());
    }
    expect_op("}");
    return e;
  }
  // One expression, or several with commas.
  ExprPtr parse_tuple(bool with_conditionals = true) {
    auto part = [&] { return with_conditionals ? parse_expression() : parse_or(); };
    ExprPtr first = part();
    if (!at_op(",")) return first;
    auto e = make(EK::tuple, first->line);
    add(*e, std::move(first));
    while (skip_op(",")) {
      if (at_op(")") || now().kind == TokenKind::block_end || now().kind == TokenKind::output_end ||
          at_op("="))
        break;
      add(*e, part());
    }
    return e;
  }

  ExprPtr parse_postfix(ExprPtr e) {
    for (;;) {
      int line = now().line;
      if (skip_op(".")) {
        auto next = make(EK::attribute, line);
        add(*next, std::move(e));
        if (now().kind == TokenKind::integer) {
          next->kind = EK::item;
          add(*next, parse_primary());
        } else {
          next->name = expect_name();
        }
        e = std::move(next);
      } else if (skip_op("[")) {
        e = parse_subscript(std::move(e), line);
      } else if (at_op("(")) {
        auto next = make(EK::call, line);
        add(*next, std::move(e));
        parse_arguments(*next);
        e = std::move(next);
      } else {
        return e;
      }
    }
  }
  ExprPtr parse_subscript(ExprPtr e, int line) {
    auto next = make(EK::item, line);
    add(*next, std::move(e));
    auto part = [&] { return at_op(":") || at_op("]") ? nullptr : parse_expression(); };
    ExprPtr first = part();
    if (at_op(":")) {
      next->kind = EK::slice;
      add(*next, std::move(first));
      for (int i = 0; i < 2; ++i) add(*next, skip_op(":") ? part() : nullptr);
    } else if (first) {
      add(*next, std::move(first));
    } else {
      error("expected an index, found {}", shown());
    }
    expect_op("]");
    return next;
  }
  // "(" ... ")" into the last items of `e`.
  void parse_arguments(Expr& e) {
    expect_op("(");
    bool first = true;
    while (!at_op(")")) {
      if (!first) expect_op(",");
      if (at_op(")")) break;
      first = false;
      if (at_op("*") || at_op("**")) error("unpacking of arguments is not supported");
      if (now().kind == TokenKind::name && is(ahead(), TokenKind::op, "=")) {
        std::string keyword = take().text;
        if (std::count(e.keywords.begin(), e.keywords.end(), keyword)) error("'{}' is given twice", keyword);
        e.keywords.push_back(std::move(keyword));
        take();
      } else if (!e.keywords.empty()) {
        error("an argument without a name follows one with a name");
      }
      add(e, parse_expression());
      ++e.arguments;
    }
    expect_op(")");
  }

  ExprPtr parse_filters_and_tests(ExprPtr e) {
    for (;;) {
      if (at_op("|"))
        e = parse_filter(std::move(e));
      else if (at_name("is"))
        e = parse_test(std::move(e));
      else if (at_op("("))
        e = parse_postfix(std::move(e));
      else
        return e;
    }
  }
  std::string dotted_name() {
    std::string name = expect_name();
    while (skip_op(".")) name += "." + expect_name();
    return name;
  }
  ExprPtr parse_filter(ExprPtr input) {
    int line = now().line;
    expect_op("|");
    return parse_filter_name(std::move(input), line);
  }
  ExprPtr parse_filter_name(ExprPtr input, int line) {
    auto e = make(EK::filter, line);
    e->name = dotted_name();
    e->filter = find_jinja_filter(e->name);
    if (!e->filter) error("there is no filter '{}'", e->name);
    add(*e, std::move(input));
    if (at_op("(")) parse_arguments(*e);
    return e;
  }
  ExprPtr parse_test(ExprPtr input) {
    auto e = make(EK::test, take().line);
    e->flag = skip_name("not");
    e->name = dotted_name();
    e->test = find_jinja_test(e->name);
    if (!e->test) error("there is no test '{}'", e->name);
    add(*e, std::move(input));
    bool word = now().kind == TokenKind::name && !at_name("else") && !at_name("or") && !at_name("and") &&
                !at_name("is") && !at_name("if") && !at_name("not") && !at_name("in");
    bool value = now().kind == TokenKind::string || now().kind == TokenKind::integer ||
                 now().kind == TokenKind::number || at_op("[") || at_op("{");
    if (at_op("(")) {
      parse_arguments(*e);
    } else if (word || value) {
      add(*e, parse_postfix(parse_primary()));
      e->arguments = 1;
    }
    return e;
  }

  // Statements

  void add_body(Stmt& s, JinjaBody body) const {
    for (const auto& inner : body) s.height = std::max(s.height, inner->height + 1);
    s.bodies.push_back(std::move(body));
  }

  // Until a block whose name is one of `ends`; that name is then the current token.
  JinjaBody parse_body(std::initializer_list<std::string_view> ends) {
    Nested nested(*this);
    JinjaBody body;
    for (;;) {
      if (now().kind == TokenKind::end) {
        if (ends.size() == 0) return body;
        error("the template ends, but {{% {} %}} is missing", *(ends.end() - 1));
      }
      Token t = take();
      if (t.kind == TokenKind::text) {
        auto s = make_stmt(SK::text, t.line);
        s->text = std::move(t.text);
        body.push_back(std::move(s));
      } else if (t.kind == TokenKind::output_begin) {
        auto s = make_stmt(SK::output, t.line);
        s->exprs.push_back(parse_tuple());
        if (now().kind != TokenKind::output_end) error("expected '}}}}', found {}", shown());
        take();
        body.push_back(std::move(s));
      } else {
        if (now().kind != TokenKind::name) error("expected the name of a statement, found {}", shown());
        if (std::find(ends.begin(), ends.end(), now().text) != ends.end()) return body;
        body.push_back(parse_statement());
      }
    }
  }
  std::unique_ptr<Stmt> make_stmt(SK kind, int line) const {
    auto s = std::make_unique<Stmt>();
    s->kind = kind;
    s->line = line;
    return s;
  }

  std::unique_ptr<Stmt> parse_statement() {
    Token t = take();
    auto s = make_stmt(SK::group, t.line);
    if (t.text == "if")
      parse_if(*s);
    else if (t.text == "for")
      parse_for(*s);
    else if (t.text == "set")
      parse_set(*s);
    else if (t.text == "macro")
      parse_macro(*s);
    else if (t.text == "call")
      parse_call_block(*s);
    else if (t.text == "filter")
      parse_filter_block(*s);
    else if (t.text == "with")
      parse_with(*s);
    else if (t.text == "generation")
      parse_rest(*s, "endgeneration");
    else if (t.text == "break" || t.text == "continue")
      parse_jump(*s, t.text);
    else if (std::string_view("include import from extends block").find(t.text) != std::string_view::npos)
      error("'{}' is not supported: a chat template is one file", t.text);
    else
      error("there is no statement '{}'", t.text);
    return s;
  }

  void parse_rest(Stmt& s, std::string_view end) {
    expect_block_end();
    add_body(s, parse_body({end}));
    take();
    expect_block_end();
  }
  void parse_if(Stmt& s) {
    s.kind = SK::branch;
    for (;;) {
      s.exprs.push_back(parse_tuple(false));
      expect_block_end();
      add_body(s, parse_body({"elif", "else", "endif"}));
      std::string word = take().text;
      if (word == "elif") continue;
      if (word == "else") return parse_rest(s, "endif");
      return expect_block_end();
    }
  }
  void parse_for(Stmt& s) {
    s.kind = SK::loop;
    s.targets.push_back(parse_target(false));
    if (!skip_name("in")) error("expected 'in', found {}", shown());
    s.exprs.push_back(parse_tuple(false));
    s.exprs.push_back(skip_name("if") ? parse_expression() : nullptr);
    if (at_name("recursive")) error("recursive loops are not supported");
    expect_block_end();
    ++loops_;
    add_body(s, parse_body({"else", "endfor"}));
    --loops_;
    if (take().text == "else") return parse_rest(s, "endfor");
    add_body(s, {});
    expect_block_end();
  }
  void parse_jump(Stmt& s, const std::string& word) {
    s.kind = word == "break" ? SK::break_loop : SK::continue_loop;
    if (loops_ == 0) error("'{}' outside of a loop", word);
    expect_block_end();
  }

  JinjaTarget parse_target(bool with_fields) {
    Nested nested(*this);
    JinjaTarget first = parse_single_target(with_fields);
    if (!at_op(",")) return first;
    JinjaTarget all;
    all.parts.push_back(std::move(first));
    while (skip_op(",")) {
      if (at_name("in") || at_op("=") || at_op(")")) break;
      all.parts.push_back(parse_single_target(with_fields));
    }
    return all;
  }
  JinjaTarget parse_single_target(bool with_fields) {
    JinjaTarget t;
    if (skip_op("(")) {
      t = parse_target(with_fields);
      expect_op(")");
      return t;
    }
    t.name = expect_name();
    for (auto word :
         {"true", "false", "none", "True", "False", "None", "not", "and", "or", "in", "is", "if", "else"})
      if (t.name == word) error("cannot assign to '{}'", t.name);
    if (with_fields && skip_op(".")) t.field = expect_name();
    return t;
  }

  void parse_set(Stmt& s) {
    s.targets.push_back(parse_target(true));
    if (skip_op("=")) {
      s.kind = SK::set;
      s.exprs.push_back(parse_tuple());
      return expect_block_end();
    }
    s.kind = SK::set_block;
    ExprPtr filters;
    while (at_op("|")) filters = parse_filter(std::move(filters));
    s.exprs.push_back(std::move(filters));
    parse_rest(s, "endset");
  }

  void parse_parameters(Stmt& s) {
    expect_op("(");
    bool defaults = false;
    while (!at_op(")")) {
      if (!s.params.empty()) expect_op(",");
      if (at_op(")")) break;
      s.params.push_back(expect_name());
      if (std::count(s.params.begin(), s.params.end(), s.params.back()) > 1)
        error("the parameter '{}' occurs twice", s.params.back());
      if (skip_op("="))
        defaults = true, s.exprs.push_back(parse_expression());
      else if (defaults)
        error("the parameter '{}' without a default follows one with a default", s.params.back());
    }
    expect_op(")");
  }
  // The body of a macro or caller; notes which of Jinja's implicit names it reads.
  void parse_callable_body(Stmt& s, std::string_view end) {
    std::vector<std::string> names;
    names_in_use_.push_back(&names);
    int loops = std::exchange(loops_, 0);
    parse_rest(s, end);
    loops_ = loops;
    names_in_use_.pop_back();
    auto reads = [&](const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); };
    s.uses_caller = reads("caller");
    s.uses_varargs = reads("varargs");
    s.uses_kwargs = reads("kwargs");
  }
  void parse_macro(Stmt& s) {
    s.kind = SK::macro;
    s.text = expect_name();
    parse_parameters(s);
    parse_callable_body(s, "endmacro");
  }
  void parse_call_block(Stmt& s) {
    s.kind = SK::call_block;
    s.exprs.push_back(nullptr);
    if (at_op("(")) parse_parameters(s);
    s.exprs[0] = parse_expression();
    if (s.exprs[0]->kind != EK::call) error("expected a call after 'call'");
    parse_callable_body(s, "endcall");
  }
  void parse_filter_block(Stmt& s) {
    s.kind = SK::filter_block;
    ExprPtr filters = parse_filter_name(nullptr, now().line);
    while (at_op("|")) filters = parse_filter(std::move(filters));
    s.exprs.push_back(std::move(filters));
    parse_rest(s, "endfilter");
  }
  void parse_with(Stmt& s) {
    s.kind = SK::with;
    while (now().kind != TokenKind::block_end) {
      if (!s.targets.empty()) expect_op(",");
      s.targets.push_back(parse_single_target(false));
      expect_op("=");
      s.exprs.push_back(parse_expression());
    }
    parse_rest(s, "endwith");
  }

  std::vector<Token> tokens_;
  const std::string& origin_;
  size_t at_ = 0;
  int nesting_ = 0;
  int loops_ = 0;
  std::vector<std::vector<std::string>*> names_in_use_;
};
}  // namespace

JinjaBody parse_jinja(std::string_view source, const std::string& origin) {
  if (source.size() > kMaxTemplateBytes)
    fail_input("{} has {} bytes; a template may have {}", origin, source.size(), kMaxTemplateBytes);
  if (!is_valid_utf8(source)) fail_input("{} is not valid UTF-8", origin);
  return Parser(lex_jinja(source, origin), origin).run();
}

}  // namespace vl8
