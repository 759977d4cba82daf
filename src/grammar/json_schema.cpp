#include "grammar/json_schema.h"

#include <algorithm>
#include <functional>
#include <map>

#include "core/error.h"
#include "grammar/json_shape.h"
#include "grammar/json_text.h"
#include "text/utf8.h"

namespace vl8 {
namespace {

constexpr size_t kMostPatterns = 4;       // of additional properties: every subset of them is a class of names
constexpr size_t kMostDistinctValues = 7;  // of uniqueItems: every subset of them is a rule

class SchemaCompiler {
 public:
  SchemaCompiler(Grammar& grammar, const Json& schema, JsonSpacing spacing, const GrammarLimits& limits)
      : limits_(limits), grammar_(grammar), schemas_(schema, limits), text_(grammar_, spacing) {}

  int32_t compile() {
    const int32_t start = rule_for({schemas_.root()});
    while (!pending_.empty()) {
      auto [rule, together] = std::move(pending_.back());
      pending_.pop_back();
      ExprPtr e = body(together);
      grammar_.rules[size_t(rule)].body = std::move(e);
    }
    return start;
  }

 private:
  // Values of the same schemas share one rule, which is how recursion ends.
  int32_t rule_for(const Together& together) {
    std::vector<const Json*> key;
    for (const SchemaNode& n : together) key.push_back(n.json);
    auto [it, fresh] = rules_.try_emplace(std::move(key), 0);
    if (!fresh) return it->second;
    if (grammar_.rules.size() >= limits_.rules) fail(ErrorKind::unsupported, "the schema needs more than {} rules", limits_.rules);
    it->second = grammar_.add(together.empty() ? "value" : "schema " + (together[0].pointer.empty() ? "/" : together[0].pointer));
    pending_.emplace_back(it->second, together);
    return it->second;
  }
  ExprPtr value_of(const Together& together) { return together.empty() ? text_.value() : rule_ref(rule_for(together)); }

  static bool is_false(const Together& t) {
    return std::any_of(t.begin(), t.end(), [](const SchemaNode& n) { return n.json->is_boolean() && !n.json->get<bool>(); });
  }

  ExprPtr body(const Together& together) {
    if (is_false(together)) return never();
    if (together.size() == 1)
      if (auto parts = schemas_.alternatives(together[0])) {
        std::vector<ExprPtr> out;
        for (const SchemaNode& p : *parts) out.push_back(value_of({p}));
        return choice(std::move(out));
      }
    std::vector<ExprPtr> out;
    for (const Shape& s : schemas_.shapes(together)) out.push_back(shape(s));
    return choice(std::move(out));
  }

  ExprPtr shape(const Shape& s) {
    if (s.values) return listed(s);
    check_excluded(s);
    std::vector<ExprPtr> out;
    auto allowed = [&](const Json& v) {
      return std::none_of(s.excluded.begin(), s.excluded.end(), [&](const Json& x) { return x == v; });
    };
    if (s.types & Shape::object) out.push_back(object(s));
    if (s.types & Shape::array) out.push_back(array(s));
    if (s.types & Shape::string) out.push_back(string(s));
    if (s.types & Shape::number) out.push_back(number_expr(s.numbers, limits_, "schema " + s.pointer));
    if (s.types & Shape::boolean)
      for (bool b : {true, false})
        if (allowed(b)) out.push_back(literal(b ? "true" : "false"));
    if ((s.types & Shape::null) && allowed(nullptr)) out.push_back(literal("null"));
    return choice(std::move(out));
  }

  ExprPtr listed(const Shape& s) {
    std::vector<ExprPtr> out;
    for (const Json& v : *s.values)
      if (schemas_.accepts(s, v, 0)) out.push_back(text_.literal_value(v));
    return choice(std::move(out));
  }

  static void check_excluded(const Shape& s) {
    for (const Json& v : s.excluded) {
      const bool hard = (v.is_number() && (s.types & Shape::number)) || (v.is_object() && (s.types & Shape::object)) ||
                        (v.is_array() && (s.types & Shape::array));
      if (hard)
        fail(ErrorKind::unsupported, "schema {}: 'not' of the value {} is supported for texts, true, false and null, or beside an enum",
             s.pointer, v.dump());
    }
  }

  // --- Strings ---

  // All texts of the shape as one automaton; null: no restriction but the length.
  std::shared_ptr<const CharDfa> language(const Shape& s) {
    const std::string where = "schema " + s.pointer;
    std::shared_ptr<const CharDfa> all;
    auto restrict_to = [&](const CharDfa& d) {
      all = std::make_shared<const CharDfa>(all ? CharDfa::both(*all, d, limits_.character_states, where) : d);
    };
    for (auto& p : s.patterns) restrict_to(*p);
    std::vector<ExprPtr> texts;
    for (const Json& v : s.excluded)
      if (v.is_string()) texts.push_back(literal(v.get<std::string>()));
    if (!texts.empty()) restrict_to(CharDfa::of(*choice(std::move(texts)), limits_.character_states, where).complement());
    if (all && !all->empty() && (s.min_length > 0 || s.max_length >= 0)) {
      auto longest = all->longest();
      const bool fits = all->shortest() >= s.min_length && (s.max_length < 0 || (longest && *longest <= s.max_length));
      if (!fits) restrict_to(CharDfa::any_of_length(s.min_length, s.max_length, limits_.character_states, where));
    }
    return all;
  }

  ExprPtr string(const Shape& s) {
    const bool bounded = s.min_length > 0 || s.max_length >= 0;
    if (s.max_length >= 0 && s.max_length < s.min_length) return never();
    if (s.single_pattern && !bounded && s.excluded.empty()) return text_.quoted(with_spelling(s.single_pattern, Spelling::json));
    if (auto dfa = language(s)) return text_.quoted(automaton(dfa, Spelling::json));
    if (!bounded) return text_.string();
    return text_.quoted(repeat(text_.character(), s.min_length, s.max_length));
  }

  // --- Objects ---

  // Names that all of the schemas (of propertyNames) accept.
  std::optional<CharDfa> names_of(const std::vector<SchemaNode>& nodes) {
    if (nodes.empty()) return std::nullopt;
    Together together;
    for (const SchemaNode& n : nodes)
      if (std::find(together.begin(), together.end(), n) == together.end()) together.push_back(n);
    std::sort(together.begin(), together.end());
    std::vector<ExprPtr> parts;
    for (const Shape& s : schemas_.shapes(together)) {
      if (!(s.types & Shape::string)) continue;
      if (s.values) {
        for (const Json& v : *s.values)
          if (v.is_string() && schemas_.accepts(s, v, 0)) parts.push_back(literal(v.get<std::string>()));
      } else if (auto dfa = language(s)) {
        parts.push_back(automaton(dfa, Spelling::plain));
      } else {
        parts.push_back(repeat(chars(CodePoints::all()), s.min_length, s.max_length));
      }
    }
    return CharDfa::of(*choice(std::move(parts)), limits_.character_states, "schema " + nodes[0].pointer);
  }

  struct Property {
    ExprPtr member;
    bool required;
  };

  std::vector<Property> properties(const Shape& s, std::vector<std::string>& names) {
    for (const Shape::Members& m : s.members)
      for (auto& [name, _] : m.properties)
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    for (const std::string& r : s.required)
      if (std::find(names.begin(), names.end(), r) == names.end()) names.push_back(r);
    const auto legal = names_of(s.names);
    std::vector<Property> out;
    for (const std::string& name : names) {
      const bool required = std::find(s.required.begin(), s.required.end(), name) != s.required.end();
      const Together t = s.for_property(name);
      const bool possible = !is_false(t) && (!legal || legal->accepts(name));
      if (!possible && !required) continue;
      out.push_back({possible ? text_.member(literal(Json(name).dump()), value_of(t)) : never(), required});
    }
    return out;
  }

  // Members whose names the schema does not list, by the patterns that their names match.
  ExprPtr additional_member(const Shape& s, const std::vector<std::string>& names) {
    std::vector<std::shared_ptr<const CharDfa>> patterns;
    for (const Shape::Members& m : s.members)
      for (auto& [dfa, _] : m.patterns)
        if (std::find(patterns.begin(), patterns.end(), dfa) == patterns.end()) patterns.push_back(dfa);
    if (patterns.size() > kMostPatterns)
      fail(ErrorKind::unsupported, "schema {}: more than {} patternProperties are not supported", s.pointer, kMostPatterns);
    const auto legal = names_of(s.names);
    if (names.empty() && patterns.empty() && !legal) {
      const Together t = additional_value(s, patterns, 0);
      return is_false(t) ? never() : text_.member(text_.string(), value_of(t));
    }
    const std::string where = "schema " + s.pointer;
    std::vector<ExprPtr> listed, out;
    for (const std::string& n : names) listed.push_back(literal(n));
    CharDfa others = CharDfa::of(*choice(std::move(listed)), limits_.character_states, where).complement();
    if (legal) others = CharDfa::both(others, *legal, limits_.character_states, where);
    for (unsigned subset = 0; subset < 1u << patterns.size(); ++subset) {
      const Together t = additional_value(s, patterns, subset);
      if (is_false(t)) continue;
      CharDfa keys = others;
      for (size_t i = 0; i < patterns.size(); ++i)
        keys = CharDfa::both(keys, subset >> i & 1 ? *patterns[i] : patterns[i]->complement(), limits_.character_states, where);
      if (keys.empty()) continue;
      out.push_back(text_.member(text_.quoted(automaton(std::make_shared<const CharDfa>(std::move(keys)), Spelling::json)), value_of(t)));
    }
    return choice(std::move(out));
  }

  static Together additional_value(const Shape& s, const std::vector<std::shared_ptr<const CharDfa>>& patterns, unsigned subset) {
    Together out;
    bool evaluated = false;
    auto add = [&](const SchemaNode& n) {
      if (std::find(out.begin(), out.end(), n) == out.end()) out.push_back(n);
      evaluated = true;
    };
    for (const Shape::Members& m : s.members) {
      bool known = false;
      for (auto& [dfa, node] : m.patterns) {
        const auto i = size_t(std::find(patterns.begin(), patterns.end(), dfa) - patterns.begin());
        if (subset >> i & 1) add(node), known = true;
      }
      if (!known && m.additional) add(*m.additional);
    }
    if (!evaluated && s.unevaluated) add(*s.unevaluated);
    std::sort(out.begin(), out.end());
    return out;
  }

  ExprPtr object(const Shape& s) {
    std::vector<std::string> names;
    const std::vector<Property> listed = properties(s, names);
    const ExprPtr more = additional_member(s, names);
    const bool counts = s.min_properties > 0 || s.max_properties >= 0;
    if (counts) return counted_object(s, listed, more);
    const bool open = more->kind != Expr::Kind::never;
    // tail(i): what may follow a member before property i.
    std::vector<ExprPtr> tails(listed.size() + 1);
    tails.back() = open ? repeat(sequence({text_.comma(), more}), 0, kUnlimited) : nothing();
    for (size_t i = listed.size(); i-- > 0;) {
      ExprPtr one = sequence({text_.comma(), listed[i].member});
      ExprPtr tail = sequence({listed[i].required ? one : optional_of(one), tails[i + 1]});
      tails[i] = listed.size() > 4 ? rule_ref(grammar_.add("members", tail)) : tail;
    }
    std::vector<ExprPtr> out;
    size_t i = 0;
    for (; i < listed.size(); ++i) {
      out.push_back(text_.enclosed('{', sequence({listed[i].member, tails[i + 1]}), '}'));
      if (listed[i].required) break;
    }
    if (i == listed.size()) {  // nothing is required
      if (open) out.push_back(text_.enclosed('{', sequence({more, tails.back()}), '}'));
      out.push_back(text_.enclosed('{', nullptr, '}'));
    }
    return choice(std::move(out));
  }

  // With minProperties or maxProperties: rules by the next property and the number of members so far. Additional names may repeat
  // each other, so that all of them are certain to be one property only.
  ExprPtr counted_object(const Shape& s, const std::vector<Property>& listed, const ExprPtr& more) {
    const bool open = more->kind != Expr::Kind::never;
    const auto most = int64_t(listed.size()) + open;
    if (s.min_properties > most) {
      if (open)
        fail(ErrorKind::unsupported, "schema {}/minProperties: {} of them are supported only where that many are named in properties",
             s.pointer, s.min_properties);
      return never();
    }
    if (int64_t(listed.size()) * (std::max(s.min_properties, s.max_properties) + 1) > int64_t(limits_.rules))
      fail(ErrorKind::unsupported, "schema {}: too many properties to count", s.pointer);
    std::map<std::pair<size_t, int64_t>, ExprPtr> known;
    auto capped = [&](int64_t n) { return s.max_properties < 0 ? std::min(n, s.min_properties) : n; };
    // The rest of an object behind n members; n >= 1 tells that a comma is due. `first` keeps n = 0 apart when counts are capped.
    std::function<ExprPtr(size_t, int64_t, bool)> rest = [&](size_t i, int64_t n, bool first) -> ExprPtr {
      auto [it, fresh] = known.try_emplace({i * 2 + first, n}, nullptr);
      if (!fresh) return it->second;
      auto separated = [&](const ExprPtr& e) { return first ? e : sequence({text_.comma(), e}); };
      const bool room = s.max_properties < 0 || n < s.max_properties;
      std::vector<ExprPtr> out;
      if (i == listed.size()) {
        if (n >= s.min_properties) out.push_back(nothing());
        if (open && room && n + 1 >= s.min_properties)
          out.push_back(sequence({separated(more), repeat(sequence({text_.comma(), more}), 0, s.max_properties < 0 ? kUnlimited : s.max_properties - n - 1)}));
      } else {
        if (room) out.push_back(sequence({separated(listed[i].member), rest(i + 1, capped(n + 1), false)}));
        if (!listed[i].required) out.push_back(rest(i + 1, n, first));
      }
      ExprPtr e = rule_ref(grammar_.add("members", choice(std::move(out))));
      known[{i * 2 + first, n}] = e;
      return e;
    };
    return text_.enclosed('{', rest(0, 0, true), '}');
  }

  // --- Arrays ---

  ExprPtr array(const Shape& s) {
    if (s.max_items >= 0 && s.max_items < s.min_items) return never();
    const ExprPtr empty = s.min_items == 0 ? text_.enclosed('[', nullptr, ']') : never();
    if (s.max_items == 0) return s.contains.empty() ? empty : never();
    if (s.unique && s.max_items != 1) return distinct(s, empty);
    const size_t prefix = s.prefix_size();
    if (!s.contains.empty()) return containing(s, prefix);
    const Together rest_schemas = s.for_element(prefix);
    const ExprPtr rest = is_false(rest_schemas) ? never() : value_of(rest_schemas);
    const auto fixed = int64_t(prefix);
    // From the end: elements behind the prefix, then the prefix itself, each optional beyond min_items.
    ExprPtr tail = nothing();
    if (s.max_items < 0 || s.max_items > fixed)
      tail = repeat(sequence({text_.comma(), rest}), std::max<int64_t>(0, s.min_items - std::max<int64_t>(fixed, 1)),
                    s.max_items < 0 ? kUnlimited : s.max_items - std::max<int64_t>(fixed, 1));
    if (prefix == 0) return choice({empty, text_.enclosed('[', sequence({rest, tail}), ']')});
    if (s.min_items > fixed && tail->kind == Expr::Kind::empty) return never();
    for (int64_t i = fixed; i-- > 0;) {
      if (s.max_items >= 0 && i >= s.max_items) continue;
      const Together t = s.for_element(size_t(i));
      ExprPtr one = is_false(t) ? never() : value_of(t);
      ExprPtr here = sequence({i > 0 ? text_.comma() : nothing(), one, tail});
      tail = i >= s.min_items && i > 0 ? optional_of(here) : here;
    }
    return choice({empty, text_.enclosed('[', tail, ']')});
  }

  // Any elements, one that `contains` describes, any elements.
  ExprPtr containing(const Shape& s, size_t prefix) {
    if (prefix || s.contains.size() > 1 || s.min_items > 1 || s.max_items >= 0)
      fail(ErrorKind::unsupported, "schema {}/contains: it is supported without prefixItems, minItems and maxItems only", s.pointer);
    Together both = s.for_element(0);
    const Together any = both;
    if (std::find(both.begin(), both.end(), s.contains[0]) == both.end()) both.push_back(s.contains[0]);
    std::sort(both.begin(), both.end());
    const ExprPtr other = value_of(any);
    return text_.enclosed('[', sequence({repeat(sequence({other, text_.comma()}), 0, kUnlimited), value_of(both),
                                         repeat(sequence({text_.comma(), other}), 0, kUnlimited)}), ']');
  }

  // uniqueItems over few possible values: a rule for every set of values said so far.
  ExprPtr distinct(const Shape& s, const ExprPtr& empty) {
    std::vector<Json> values;
    bool finite = s.prefix_size() == 0 && s.contains.empty();
    for (const Shape& e : finite ? schemas_.shapes(s.for_element(0)) : std::vector<Shape>{}) {
      std::vector<Json> some;
      if (e.values) some = *e.values;
      else if ((e.types & ~(Shape::boolean | Shape::null)) == 0) some = {true, false, nullptr};
      else finite = false;
      for (const Json& v : some)
        if (schemas_.accepts(e, v, 0) && std::find(values.begin(), values.end(), v) == values.end()) values.push_back(v);
    }
    if (!finite || values.size() > kMostDistinctValues)
      fail(ErrorKind::unsupported, "schema {}/uniqueItems: it is supported where the items are an enum of at most {} values, or there is at most one",
           s.pointer, kMostDistinctValues);
    std::map<unsigned, ExprPtr> known;
    std::function<ExprPtr(unsigned)> rest = [&](unsigned said) -> ExprPtr {
      auto& e = known[said];
      if (e) return e;
      const auto n = int64_t(__builtin_popcount(said));
      std::vector<ExprPtr> out;
      if (n >= std::max<int64_t>(1, s.min_items)) out.push_back(nothing());
      for (size_t i = 0; i < values.size(); ++i)
        if (!(said >> i & 1) && (s.max_items < 0 || n < s.max_items))
          out.push_back(sequence({n ? text_.comma() : nothing(), text_.literal_value(values[i]), rest(said | 1u << i)}));
      return known[said] = rule_ref(grammar_.add("distinct", choice(std::move(out))));
    };
    return choice({empty, text_.enclosed('[', rest(0), ']')});
  }

  GrammarLimits limits_;
  Grammar& grammar_;
  Schemas schemas_;
  JsonText text_;
  std::map<std::vector<const Json*>, int32_t> rules_;
  std::vector<std::pair<int32_t, Together>> pending_;
};

}  // namespace

int32_t add_json_schema(Grammar& grammar, const nlohmann::ordered_json& schema, JsonSpacing spacing, const GrammarLimits& limits) {
  return SchemaCompiler(grammar, schema, spacing, limits).compile();
}

Grammar json_schema_grammar(const nlohmann::ordered_json& schema, JsonSpacing spacing, const GrammarLimits& limits) {
  Grammar g;
  g.start = add_json_schema(g, schema, spacing, limits);
  return g;
}

Grammar parse_json_schema(std::string_view text, JsonSpacing spacing, const GrammarLimits& limits) {
  if (text.size() > limits.source_bytes)
    fail(ErrorKind::unsupported, "the schema has {} bytes, the limit is {}", text.size(), limits.source_bytes);
  if (!is_valid_utf8(text)) fail_input("the schema is not valid UTF-8");
  size_t depth = 0;
  auto shallow = [&](int, Json::parse_event_t event, Json&) {
    if (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start)
      if (++depth > 4 * limits.depth) fail(ErrorKind::unsupported, "the schema is nested deeper than {}", 4 * limits.depth);
    if (event == Json::parse_event_t::object_end || event == Json::parse_event_t::array_end) --depth;
    return true;
  };
  try {
    return json_schema_grammar(Json::parse(text, shallow), spacing, limits);
  } catch (const Json::parse_error& e) {
    fail_input("the schema is not JSON: {}", e.what());
  }
}

Grammar json_object_grammar(JsonSpacing spacing) {
  Grammar g;
  g.start = JsonText(g, spacing).object()->id;
  return g;
}

}  // namespace vl8
