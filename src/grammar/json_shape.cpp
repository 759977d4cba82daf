#include "grammar/json_shape.h"

#include <algorithm>
#include <array>
#include <set>

#include "core/error.h"
#include "grammar/json_format.h"
#include "grammar/regex.h"
#include "text/utf8.h"

namespace vl8 {
namespace {

constexpr size_t kMostShapes = 256, kMostBranches = 100;

void add_unique(Together& t, const SchemaNode& n) {
  auto at = std::lower_bound(t.begin(), t.end(), n);
  if (at == t.end() || !(*at == n)) t.insert(at, n);
}

uint8_t type_bit(std::string_view name, const std::string& pointer) {
  constexpr std::array<std::pair<std::string_view, uint8_t>, 7> kTypes = {{{"null", Shape::null}, {"boolean", Shape::boolean},
      {"number", Shape::number}, {"integer", Shape::number}, {"string", Shape::string}, {"array", Shape::array}, {"object", Shape::object}}};
  for (auto& [n, bit] : kTypes)
    if (n == name) return bit;
  fail_input("schema {}/type: '{}' is no JSON type", pointer, name);
}

uint8_t type_of(const Json& v) {
  switch (v.type()) {
    case Json::value_t::null: return Shape::null;
    case Json::value_t::boolean: return Shape::boolean;
    case Json::value_t::string: return Shape::string;
    case Json::value_t::array: return Shape::array;
    case Json::value_t::object: return Shape::object;
    default: return Shape::number;
  }
}

Decimal decimal_of(const Json& v) { return Decimal::parse(v.dump()); }

bool same_value(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return compare(decimal_of(a), decimal_of(b)) == 0;
  if (a.type() != b.type()) return false;
  if (a.is_array())
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), same_value);
  if (a.is_object()) {
    if (a.size() != b.size()) return false;
    for (auto& [k, v] : a.items())
      if (!b.contains(k) || !same_value(v, b[k])) return false;
    return true;
  }
  return a == b;
}

bool contains_value(const std::vector<Json>& list, const Json& v) {
  return std::any_of(list.begin(), list.end(), [&](const Json& x) { return same_value(x, v); });
}

int64_t count_of(const Json& v, const std::string& pointer, const char* key) {
  const bool whole = v.is_number_integer() || (v.is_number() && v.get<double>() == double(int64_t(v.get<double>())));
  if (!whole || v.get<double>() < 0 || v.get<double>() > 1e15) fail_input("schema {}/{}: a count of at least 0 is needed", pointer, key);
  return int64_t(v.get<double>());
}

void at_most(int64_t& limit, int64_t v) { limit = limit < 0 ? v : std::min(limit, v); }

enum class Role : uint8_t { ignored, merged, chosen };
struct Keyword {
  std::string_view name;
  Role role;
};
constexpr Keyword kKeywords[] = {
    {"$comment", Role::ignored}, {"$schema", Role::ignored}, {"$id", Role::ignored}, {"id", Role::ignored}, {"$anchor", Role::ignored},
    {"$defs", Role::ignored}, {"definitions", Role::ignored}, {"$vocabulary", Role::ignored}, {"title", Role::ignored},
    {"description", Role::ignored}, {"default", Role::ignored}, {"examples", Role::ignored}, {"example", Role::ignored},
    {"deprecated", Role::ignored}, {"readOnly", Role::ignored}, {"writeOnly", Role::ignored}, {"contentMediaType", Role::ignored},
    {"contentEncoding", Role::ignored}, {"contentSchema", Role::ignored}, {"discriminator", Role::ignored}, {"strict", Role::ignored},
    {"$ref", Role::merged}, {"allOf", Role::merged}, {"anyOf", Role::chosen}, {"oneOf", Role::chosen}, {"not", Role::chosen},
    {"if", Role::chosen}, {"then", Role::merged}, {"else", Role::merged}, {"dependentRequired", Role::chosen},
    {"dependentSchemas", Role::chosen}, {"dependencies", Role::chosen}, {"type", Role::merged}, {"nullable", Role::merged},
    {"enum", Role::merged}, {"const", Role::merged}, {"minimum", Role::merged}, {"maximum", Role::merged},
    {"exclusiveMinimum", Role::merged}, {"exclusiveMaximum", Role::merged}, {"multipleOf", Role::merged}, {"minLength", Role::merged},
    {"maxLength", Role::merged}, {"pattern", Role::merged}, {"format", Role::merged}, {"properties", Role::merged},
    {"patternProperties", Role::merged}, {"additionalProperties", Role::merged}, {"required", Role::merged},
    {"propertyNames", Role::merged}, {"minProperties", Role::merged}, {"maxProperties", Role::merged},
    {"unevaluatedProperties", Role::merged}, {"items", Role::merged}, {"prefixItems", Role::merged}, {"additionalItems", Role::merged},
    {"contains", Role::merged}, {"minItems", Role::merged}, {"maxItems", Role::merged}, {"uniqueItems", Role::merged},
    {"minContains", Role::merged}, {"maxContains", Role::merged},
};

const Keyword* find_keyword(std::string_view name) {
  for (const Keyword& k : kKeywords)
    if (k.name == name) return &k;
  return nullptr;
}

}  // namespace

std::string escape_pointer(std::string_view key) {
  std::string out;
  for (char c : key) {
    if (c == '~') out += "~0";
    else if (c == '/') out += "~1";
    else out += c;
  }
  return out;
}

Together Shape::for_property(const std::string& name) const {
  Together out;
  bool evaluated = false;
  for (const Members& m : members) {
    bool known = false;
    for (auto& [n, node] : m.properties)
      if (n == name) add_unique(out, node), known = true;
    for (auto& [dfa, node] : m.patterns)
      if (dfa->accepts(name)) add_unique(out, node), known = true;
    if (!known && m.additional) add_unique(out, *m.additional), known = true;
    evaluated |= known;
  }
  if (!evaluated && unevaluated) add_unique(out, *unevaluated);
  return out;
}

Together Shape::for_element(size_t i) const {
  Together out;
  for (const Elements& e : elements) {
    if (i < e.prefix.size()) add_unique(out, e.prefix[i]);
    else if (e.rest) add_unique(out, *e.rest);
  }
  return out;
}

size_t Shape::prefix_size() const {
  size_t n = 0;
  for (const Elements& e : elements) n = std::max(n, e.prefix.size());
  return n;
}

// Merges schemas into one shape, and forks where there are alternatives.
class ShapeMerger {
 public:
  explicit ShapeMerger(Schemas& schemas) : schemas_(schemas) {}

  std::vector<Shape> merge(const Together& together) {
    State s;
    s.todo.assign(together.rbegin(), together.rend());
    s.roots = together.size();
    run(std::move(s), 0);
    return std::move(out_);
  }

 private:
  struct State {
    Shape shape;
    std::vector<SchemaNode> todo;
    std::vector<std::vector<SchemaNode>> choices;
    std::set<const Json*> seen;
    size_t roots = 0;
  };

  [[noreturn]] static void unsupported(const SchemaNode& n, std::string_view key, std::string_view why) {
    fail(ErrorKind::unsupported, "schema {}/{}: {}", n.pointer, key, why);
  }

  void run(State s, size_t depth) {
    if (depth > schemas_.limits_.depth)
      fail(ErrorKind::unsupported, "schema {}: alternatives are nested deeper than {}", s.shape.pointer, schemas_.limits_.depth);
    while (!s.todo.empty()) {
      const SchemaNode n = s.todo.back();
      s.todo.pop_back();
      if (!s.seen.insert(n.json).second) continue;
      if (n.json->is_boolean()) {
        if (!n.json->get<bool>()) return;
        continue;
      }
      if (!n.json->is_object()) fail_input("schema {}: a schema is an object, true or false", n.pointer.empty() ? "/" : n.pointer);
      apply(s, n);
      if (s.shape.types == 0) return;
    }
    if (s.choices.empty()) {
      finish(std::move(s.shape));
      return;
    }
    const std::vector<SchemaNode> branches = std::move(s.choices.back());
    s.choices.pop_back();
    for (const SchemaNode& b : branches) {
      State fork = s;
      fork.todo.push_back(b);
      run(std::move(fork), depth + 1);
    }
  }

  void finish(Shape shape) {
    if (shape.patterns.size() != 1) shape.single_pattern = nullptr;
    if (out_.size() >= kMostShapes)
      fail(ErrorKind::unsupported, "schema {}: more than {} combinations of alternatives", shape.pointer, kMostShapes);
    out_.push_back(std::move(shape));
  }

  SchemaNode child(const SchemaNode& n, const std::string& key) { return {&n.json->at(key), n.pointer + "/" + key}; }
  SchemaNode child(const SchemaNode& n, const std::string& key, const std::string& name) {
    return {&n.json->at(key).at(name), n.pointer + "/" + key + "/" + escape_pointer(name)};
  }
  std::vector<SchemaNode> list(const SchemaNode& n, const std::string& key) {
    const Json& j = n.json->at(key);
    if (!j.is_array() || j.empty()) fail_input("schema {}/{}: a list of schemas that is not empty is needed", n.pointer, key);
    std::vector<SchemaNode> out;
    for (size_t i = 0; i < j.size(); ++i) out.push_back({&j[i], n.pointer + "/" + key + "/" + std::to_string(i)});
    return out;
  }

  void apply(State& s, const SchemaNode& n) {
    if (s.shape.pointer.empty()) s.shape.pointer = n.pointer;
    for (auto& [key, value] : n.json->items()) {
      const Keyword* k = find_keyword(key);
      if (!k && !key.starts_with("x-"))
        unsupported(n, escape_pointer(key), "this keyword is not supported; remove it, or begin its name with x- if it is an annotation");
    }
    const Json& j = *n.json;
    if (j.contains("$ref")) {
      if (!j["$ref"].is_string()) fail_input("schema {}/$ref: a text is needed", n.pointer);
      s.todo.push_back(schemas_.resolve(n, j["$ref"].get<std::string>()));
    }
    if (j.contains("allOf"))
      for (auto& part : list(n, "allOf")) s.todo.push_back(part);
    if (j.contains("anyOf")) s.choices.push_back(list(n, "anyOf"));
    if (j.contains("oneOf")) s.choices.push_back(schemas_.once(n, "oneOf", [&] { return schemas_.exclusive(n); }));
    if (j.contains("not")) s.choices.push_back(schemas_.once(n, "not", [&] { return schemas_.negate(child(n, "not")); }));
    if (j.contains("if") && (j.contains("then") || j.contains("else")))
      s.choices.push_back(schemas_.once(n, "if", [&] { return conditional(n); }));
    for (const char* key : {"dependentRequired", "dependentSchemas", "dependencies"}) apply_dependencies(s, n, key);
    apply_values(s.shape, n);
    apply_numbers(s.shape, n);
    apply_strings(s.shape, n);
    apply_object(s, n);
    apply_array(s.shape, n);
  }

  // if A then B else C is (A and B) or (not A and C).
  std::vector<SchemaNode> conditional(const SchemaNode& n) {
    auto both = [&](const SchemaNode& a, const char* key) {
      Json made = {{"allOf", Json::array({*a.json})}};
      if (n.json->contains(key)) made["allOf"].push_back(n.json->at(key));
      return schemas_.keep(std::move(made), n.pointer + "/" + key);
    };
    std::vector<SchemaNode> branches{both(child(n, "if"), "then")};
    for (const SchemaNode& no : schemas_.negate(child(n, "if"))) branches.push_back(both(no, "else"));
    return branches;
  }

  void apply_dependencies(State& s, const SchemaNode& n, const char* key) {
    if (!n.json->contains(key)) return;
    if (!n.json->at(key).is_object()) fail_input("schema {}/{}: an object is needed", n.pointer, key);
    for (auto& [name, needs] : n.json->at(key).items()) {
      const std::string pointer = n.pointer + "/" + key + "/" + escape_pointer(name);
      s.choices.push_back(schemas_.once({&needs, pointer}, key, [&, &name = name, &needs = needs]() -> std::vector<SchemaNode> {
        Json absent = {{"properties", {{name, false}}}};
        Json present = {{"type", "object"}, {"required", Json::array({name})}};
        if (needs.is_array())
          for (auto& r : needs) present["required"].push_back(r);
        else
          present["allOf"] = Json::array({needs});
        return {schemas_.keep(std::move(absent), pointer), schemas_.keep(std::move(present), pointer)};
      }));
    }
  }

  void apply_values(Shape& s, const SchemaNode& n) {
    const Json& j = *n.json;
    if (j.contains("type")) {
      uint8_t types = 0;
      bool integer = false, number = false;
      auto one = [&](const Json& t) {
        if (!t.is_string()) fail_input("schema {}/type: a name or a list of names is needed", n.pointer);
        types |= type_bit(t.get_ref<const std::string&>(), n.pointer);
        integer |= t == "integer";
        number |= t == "number";
      };
      if (j["type"].is_array())
        for (auto& t : j["type"]) one(t);
      else
        one(j["type"]);
      if (j.value("nullable", false)) types |= Shape::null;
      s.types &= types;
      if (integer && !number) s.numbers.integer = true;
    }
    std::optional<std::vector<Json>> listed;
    if (j.contains("enum")) {
      if (!j["enum"].is_array() || j["enum"].empty()) fail_input("schema {}/enum: a list of values that is not empty is needed", n.pointer);
      listed = j["enum"].get<std::vector<Json>>();
    }
    for (auto values : {listed, j.contains("const") ? std::optional(std::vector<Json>{j["const"]}) : std::nullopt}) {
      if (!values) continue;
      if (s.values)
        std::erase_if(*s.values, [&](const Json& v) { return !contains_value(*values, v); });
      else
        s.values = *values;
    }
    if (j.contains("x-vl8-excluded"))
      for (auto& v : j["x-vl8-excluded"]) s.excluded.push_back(v);
  }

  void apply_numbers(Shape& s, const SchemaNode& n) {
    const Json& j = *n.json;
    auto number = [&](const char* key) -> std::optional<Decimal> {
      if (!j.contains(key) || j[key].is_boolean()) return std::nullopt;
      if (!j[key].is_number()) fail_input("schema {}/{}: a number is needed", n.pointer, key);
      return decimal_of(j[key]);
    };
    auto raise = [&](std::optional<Decimal> v, bool exclusive) {
      if (!v) return;
      const int c = s.numbers.min ? compare(*v, *s.numbers.min) : 1;
      if (c > 0) s.numbers.min = v, s.numbers.exclusive_min = exclusive;
      else if (c == 0) s.numbers.exclusive_min |= exclusive;
    };
    auto lower = [&](std::optional<Decimal> v, bool exclusive) {
      if (!v) return;
      const int c = s.numbers.max ? compare(*v, *s.numbers.max) : -1;
      if (c < 0) s.numbers.max = v, s.numbers.exclusive_max = exclusive;
      else if (c == 0) s.numbers.exclusive_max |= exclusive;
    };
    if (j.contains("x-vl8-fractional")) s.numbers.fractional = true;
    auto flag = [&](const char* key) { return j.contains(key) && j[key].is_boolean() && j[key].get<bool>(); };  // draft 4
    raise(number("minimum"), flag("exclusiveMinimum"));
    lower(number("maximum"), flag("exclusiveMaximum"));
    raise(number("exclusiveMinimum"), true);
    lower(number("exclusiveMaximum"), true);
    if (auto m = number("multipleOf")) {
      if (m->negative || m->digits.empty()) fail_input("schema {}/multipleOf: a number above 0 is needed", n.pointer);
      s.numbers.divisors.push_back(*m);
    }
  }

  void apply_strings(Shape& s, const SchemaNode& n) {
    const Json& j = *n.json;
    if (j.contains("minLength")) s.min_length = std::max(s.min_length, count_of(j["minLength"], n.pointer, "minLength"));
    if (j.contains("maxLength")) at_most(s.max_length, count_of(j["maxLength"], n.pointer, "maxLength"));
    auto add = [&](const std::string& text, const std::string& pointer, bool inverted) {
      ExprPtr e;
      auto dfa = schemas_.pattern(text, pointer, &e);
      if (inverted) dfa = std::make_shared<const CharDfa>(dfa->complement());
      s.patterns.push_back(dfa);
      s.single_pattern = inverted ? nullptr : e;
    };
    auto text = [&](const char* key) -> const std::string& {
      if (!j[key].is_string()) fail_input("schema {}/{}: a text is needed", n.pointer, key);
      return j[key].get_ref<const std::string&>();
    };
    if (j.contains("pattern")) add(text("pattern"), n.pointer + "/pattern", false);
    if (j.contains("x-vl8-not-pattern")) add(text("x-vl8-not-pattern"), n.pointer, true);
    if (j.contains("format")) {
      auto pattern = format_pattern(text("format"));
      if (!pattern) unsupported(n, "format", fmt::format("the format '{}' is not supported", text("format")));
      if (!pattern->empty()) add("^(?:" + std::string(*pattern) + ")$", n.pointer + "/format", false);
    }
  }

  void apply_object(State& state, const SchemaNode& n) {
    Shape& s = state.shape;
    const Json& j = *n.json;
    auto object = [&](const char* key) -> const Json& {
      if (!j[key].is_object()) fail_input("schema {}/{}: an object is needed", n.pointer, key);
      return j[key];
    };
    Shape::Members m;
    if (j.contains("properties"))
      for (auto& [name, _] : object("properties").items()) m.properties.emplace_back(name, child(n, "properties", name));
    if (j.contains("patternProperties"))
      for (auto& [pattern, _] : object("patternProperties").items()) {
        SchemaNode c = child(n, "patternProperties", pattern);
        m.patterns.emplace_back(schemas_.pattern(pattern, c.pointer), c);
      }
    if (j.contains("additionalProperties")) m.additional = child(n, "additionalProperties");
    if (!m.properties.empty() || !m.patterns.empty() || m.additional) s.members.push_back(std::move(m));
    if (j.contains("required")) {
      if (!j["required"].is_array()) fail_input("schema {}/required: a list of names is needed", n.pointer);
      for (auto& r : j["required"]) {
        if (!r.is_string()) fail_input("schema {}/required: a list of names is needed", n.pointer);
        if (std::find(s.required.begin(), s.required.end(), r) == s.required.end()) s.required.push_back(r);
      }
    }
    if (j.contains("propertyNames")) s.names.push_back(child(n, "propertyNames"));
    if (j.contains("minProperties")) s.min_properties = std::max(s.min_properties, count_of(j["minProperties"], n.pointer, "minProperties"));
    if (j.contains("maxProperties")) at_most(s.max_properties, count_of(j["maxProperties"], n.pointer, "maxProperties"));
    if (j.contains("unevaluatedProperties")) {
      // It looks at everything merged from here; what came from elsewhere would have to be told apart.
      if (state.roots != 1 || state.seen.size() != 1)
        unsupported(n, "unevaluatedProperties", "it is supported at the root of a value's schema only, not inside allOf, anyOf or $ref");
      s.unevaluated = child(n, "unevaluatedProperties");
    }
  }

  void apply_array(Shape& s, const SchemaNode& n) {
    const Json& j = *n.json;
    Shape::Elements e;
    if (j.contains("prefixItems")) e.prefix = list(n, "prefixItems");
    if (j.contains("items")) {
      if (j["items"].is_array()) {  // up to 2019-09
        if (!j["items"].empty()) e.prefix = list(n, "items");
        if (j.contains("additionalItems")) e.rest = child(n, "additionalItems");
      } else {
        e.rest = child(n, "items");
      }
    }
    if (!e.prefix.empty() || e.rest) s.elements.push_back(std::move(e));
    if (j.contains("minItems")) s.min_items = std::max(s.min_items, count_of(j["minItems"], n.pointer, "minItems"));
    if (j.contains("maxItems")) at_most(s.max_items, count_of(j["maxItems"], n.pointer, "maxItems"));
    if (j.contains("uniqueItems") && j["uniqueItems"] == true) s.unique = true;
    if (j.contains("contains")) {
      if (j.contains("minContains") && j["minContains"] != 1) unsupported(n, "minContains", "only 1 is supported");
      if (j.contains("maxContains")) unsupported(n, "maxContains", "it is not supported");
      s.contains.push_back(child(n, "contains"));
    }
  }

  Schemas& schemas_;
  std::vector<Shape> out_;
};

Schemas::Schemas(const Json& root, const GrammarLimits& limits) : root_(root), limits_(limits) { index_ids(root_, "", 0); }

void Schemas::index_ids(const Json& j, const std::string& pointer, size_t depth) {
  if (depth > 4 * limits_.depth) fail(ErrorKind::unsupported, "the schema is nested deeper than {}", 4 * limits_.depth);
  if (j.is_object()) {
    for (const char* key : {"$id", "id", "$anchor"})
      if (j.contains(key) && j[key].is_string()) {
        const std::string name = (key == std::string_view("$anchor") ? "#" : "") + j[key].get<std::string>();
        ids_.try_emplace(name, SchemaNode{&j, pointer});
      }
    for (auto& [k, v] : j.items()) {
      if (k.starts_with("x-vl8-"))  // how negate() says what has no keyword
        fail(ErrorKind::unsupported, "schema {}/{}: names that begin with x-vl8- are reserved", pointer, escape_pointer(k));
      index_ids(v, pointer + "/" + escape_pointer(k), depth + 1);
    }
  } else if (j.is_array()) {
    for (size_t i = 0; i < j.size(); ++i) index_ids(j[i], pointer + "/" + std::to_string(i), depth + 1);
  }
}

SchemaNode Schemas::keep(Json made, const std::string& pointer) {
  made_.push_back(std::move(made));
  return {&made_.back(), pointer};
}

std::vector<SchemaNode> Schemas::once(const SchemaNode& node, const char* key, const std::function<std::vector<SchemaNode>()>& make) {
  const std::pair<const Json*, std::string> name(node.json, key);
  if (auto known = alternatives_.find(name); known != alternatives_.end()) return known->second;
  if (!in_progress_.insert(name).second)
    fail(ErrorKind::unsupported, "schema {}/{}: it refers to itself without a property or element between", node.pointer, key);
  std::vector<SchemaNode> made;
  try {
    made = make();
  } catch (...) {
    in_progress_.erase(name);
    throw;
  }
  in_progress_.erase(name);
  return alternatives_[name] = std::move(made);
}

SchemaNode Schemas::resolve(const SchemaNode& node, const std::string& ref) {
  if (auto known = ids_.find(ref); known != ids_.end()) return known->second;
  const size_t hash = ref.find('#');
  SchemaNode base = root();
  if (hash != 0) {
    auto known = ids_.find(ref.substr(0, hash));
    if (known == ids_.end())
      fail(ErrorKind::unsupported, "schema {}/$ref: '{}' is not in this document; only references within it are followed", node.pointer, ref);
    base = known->second;
  }
  std::string pointer;
  const std::string fragment = hash == std::string::npos ? "" : ref.substr(hash + 1);
  for (size_t i = 0; i < fragment.size(); ++i) {  // percent-encoding
    if (fragment[i] == '%' && i + 2 < fragment.size() && isxdigit(uint8_t(fragment[i + 1])) && isxdigit(uint8_t(fragment[i + 2])))
      pointer += char(std::stoi(fragment.substr(i + 1, 2), nullptr, 16)), i += 2;
    else
      pointer += fragment[i];
  }
  try {
    return {&base.json->at(Json::json_pointer(pointer)), base.pointer + pointer};
  } catch (const Json::exception&) {
    fail_input("schema {}/$ref: there is nothing at '{}'", node.pointer, ref);
  }
}

std::shared_ptr<const CharDfa> Schemas::pattern(const std::string& text, const std::string& pointer, ExprPtr* expr) {
  auto& known = patterns_[text];
  if (!known.first) {
    const std::string where = "schema " + pointer;
    known.second = parse_regex(text, RegexMatch::search, limits_, where);
    known.first = std::make_shared<const CharDfa>(CharDfa::of(*known.second, limits_.character_states, where));
  }
  if (expr) *expr = known.second;
  return known.first;
}

std::vector<Shape> Schemas::shapes(const Together& together) { return ShapeMerger(*this).merge(together); }

std::optional<std::vector<SchemaNode>> Schemas::alternatives(const SchemaNode& n) {
  if (!n.json->is_object()) return std::nullopt;
  std::string only;
  for (auto& [key, value] : n.json->items()) {
    const Keyword* k = find_keyword(key);
    if (k && k->role == Role::ignored) continue;
    if (!only.empty() || (key != "anyOf" && key != "$ref")) return std::nullopt;
    only = key;
  }
  if (only == "$ref" && n.json->at(only).is_string()) return std::vector<SchemaNode>{resolve(n, n.json->at(only).get<std::string>())};
  if (only != "anyOf" || !n.json->at(only).is_array() || n.json->at(only).empty()) return std::nullopt;
  std::vector<SchemaNode> out;
  for (size_t i = 0; i < n.json->at(only).size(); ++i) out.push_back({&n.json->at(only)[i], n.pointer + "/anyOf/" + std::to_string(i)});
  return out;
}

// not S, as alternatives: one of the things that S says does not hold.
std::vector<SchemaNode> Schemas::negate(const SchemaNode& n, int depth) {
  if (depth > 8) fail(ErrorKind::unsupported, "schema {}: negations are nested too deep", n.pointer);
  std::vector<SchemaNode> out;
  auto add = [&](Json made) { out.push_back(keep(std::move(made), n.pointer)); };
  if (n.json->is_boolean()) {
    add(!n.json->get<bool>());
    return out;
  }
  if (!n.json->is_object()) fail_input("schema {}: a schema is an object, true or false", n.pointer);
  auto negated = [&](const Json& part, const std::string& pointer) { return negate({&part, pointer}, depth + 1); };
  const Json& j = *n.json;
  for (auto& [key, v] : j.items()) {
    const Keyword* k = find_keyword(key);
    const std::string pointer = n.pointer + "/" + escape_pointer(key);
    if ((k && k->role == Role::ignored) || key.starts_with("x-")) continue;
    if (key == "type") {
      Json others = Json::array();
      bool whole = false, number = false;
      uint8_t bits = 0;
      for (const Json& t : v.is_array() ? v : Json::array({v})) {
        if (!t.is_string()) fail_input("schema {}: a name or a list of names is needed", pointer);
        bits |= type_bit(t.get<std::string>(), n.pointer);
        whole |= t == "integer";
        number |= t == "number";
      }
      if (whole && !number) add({{"type", "number"}, {"x-vl8-fractional", true}});
      for (auto [name, bit] : {std::pair("null", Shape::null), {"boolean", Shape::boolean}, {"number", Shape::number},
                               {"string", Shape::string}, {"array", Shape::array}, {"object", Shape::object}})
        if (!(bits & bit)) others.push_back(name);
      if (!others.empty()) add({{"type", others}});
    } else if (key == "enum") {
      add({{"x-vl8-excluded", v}});
    } else if (key == "const") {
      add({{"x-vl8-excluded", Json::array({v})}});
    } else if (key == "pattern") {
      add({{"type", "string"}, {"x-vl8-not-pattern", v}});
    } else if (key == "minimum") {
      add({{"type", "number"}, {"exclusiveMaximum", v}});
    } else if (key == "maximum") {
      add({{"type", "number"}, {"exclusiveMinimum", v}});
    } else if (key == "exclusiveMinimum" && v.is_number()) {
      add({{"type", "number"}, {"maximum", v}});
    } else if (key == "exclusiveMaximum" && v.is_number()) {
      add({{"type", "number"}, {"minimum", v}});
    } else if (key == "minLength" || key == "minItems" || key == "minProperties") {
      const int64_t least = count_of(v, n.pointer, key.c_str());
      const char* type = key == "minLength" ? "string" : key == "minItems" ? "array" : "object";
      if (least > 0) add({{"type", type}, {"max" + key.substr(3), least - 1}});
    } else if (key == "maxLength" || key == "maxItems" || key == "maxProperties") {
      const char* type = key == "maxLength" ? "string" : key == "maxItems" ? "array" : "object";
      add({{"type", type}, {"min" + key.substr(3), count_of(v, n.pointer, key.c_str()) + 1}});
    } else if (key == "required" && v.is_array()) {
      for (auto& name : v)
        if (name.is_string()) add({{"type", "object"}, {"properties", {{name.get<std::string>(), false}}}});
    } else if (key == "properties" && v.is_object()) {
      for (auto& [name, part] : v.items())
        for (const SchemaNode& no : negated(part, pointer + "/" + escape_pointer(name)))
          add({{"type", "object"}, {"required", Json::array({name})}, {"properties", {{name, *no.json}}}});
    } else if (key == "allOf" && v.is_array()) {
      for (auto& part : v)
        for (const SchemaNode& no : negated(part, pointer)) out.push_back(no);
    } else if ((key == "anyOf" || key == "oneOf") && v.is_array() && (key == "anyOf" || v.size() == 1)) {
      Json all = {{"allOf", Json::array()}};
      for (auto& part : v) {
        Json some = {{"anyOf", Json::array()}};
        for (const SchemaNode& no : negated(part, pointer)) some["anyOf"].push_back(*no.json);
        all["allOf"].push_back(some["anyOf"].empty() ? Json(false) : some);
      }
      add(std::move(all));
    } else if (key == "not") {
      out.push_back({&v, pointer});
    } else if (key == "$ref" && v.is_string()) {
      for (const SchemaNode& no : negate(resolve(n, v.get<std::string>()), depth + 1)) out.push_back(no);
    } else {
      fail(ErrorKind::unsupported, "schema {}: this keyword cannot be negated (not, if, or overlapping oneOf need that)", pointer);
    }
  }
  return out;
}

// The values of an enum; none where there is another way, or the schema cannot be used on its own.
std::optional<std::vector<Json>> Schemas::finite_values(const Together& together) {
  std::vector<Json> out;
  try {
    for (const Shape& s : shapes(together)) {
      if (!s.values) return std::nullopt;
      out.insert(out.end(), s.values->begin(), s.values->end());
    }
  } catch (const Error&) {
    return std::nullopt;
  }
  return out;
}

// Cheap proofs that no value of the types `within` has both shapes.
bool Schemas::disjoint(const Shape& s, const Shape& t, uint8_t within) {
  auto values_apart = [&](const std::vector<Json>& u, const std::vector<Json>& v) {
    return std::none_of(u.begin(), u.end(), [&](const Json& e) { return contains_value(v, e); });
  };
  if (s.values && t.values) return values_apart(*s.values, *t.values);
  const uint8_t common = s.types & t.types & within;
  if (!common) return true;
  if (common != Shape::object) return false;
  for (const std::string& name : s.required) {
    if (std::find(t.required.begin(), t.required.end(), name) == t.required.end()) continue;
    const auto u = finite_values(s.for_property(name)), v = finite_values(t.for_property(name));
    if (u && v && values_apart(*u, *v)) return true;
  }
  return false;
}

std::vector<SchemaNode> Schemas::exclusive(const SchemaNode& n) {
  const Json& parts = n.json->at("oneOf");
  if (!parts.is_array() || parts.empty()) fail_input("schema {}/oneOf: a list of schemas that is not empty is needed", n.pointer);
  uint8_t within = Shape::any;
  if (auto t = n.json->find("type"); t != n.json->end() && t->is_string()) within = type_bit(t->get<std::string>(), n.pointer);
  std::vector<SchemaNode> nodes, out;
  for (size_t i = 0; i < parts.size(); ++i) nodes.push_back({&parts[i], n.pointer + "/oneOf/" + std::to_string(i)});
  if (nodes.size() > kMostBranches)
    fail(ErrorKind::unsupported, "schema {}/oneOf: more than {} schemas; anyOf has no such limit", n.pointer, kMostBranches);
  std::vector<std::vector<Shape>> known;
  for (const SchemaNode& node : nodes) known.push_back(shapes({node}));
  auto apart = [&](size_t i, size_t k) {
    for (const Shape& s : known[i])
      for (const Shape& t : known[k])
        if (!disjoint(s, t, within)) return false;
    return true;
  };
  for (size_t i = 0; i < nodes.size(); ++i) {
    Json alone = {{"allOf", Json::array({parts[i]})}};
    for (size_t k = 0; k < nodes.size(); ++k) {
      if (k == i || apart(i, k)) continue;
      Json none = {{"anyOf", Json::array()}};
      for (const SchemaNode& no : negate(nodes[k])) none["anyOf"].push_back(*no.json);
      alone["allOf"].push_back(none["anyOf"].empty() ? Json(false) : none);
    }
    out.push_back(alone["allOf"].size() == 1 ? nodes[i] : keep(std::move(alone), nodes[i].pointer));
  }
  return out;
}

// --- Values of enum and const against the rest ---

bool Schemas::accepts(const Together& together, const Json& value, int depth) {
  if (depth > 64) fail(ErrorKind::unsupported, "a value of enum or const is nested deeper than 64");
  for (const Shape& s : shapes(together))
    if (accepts(s, value, depth)) return true;
  return false;
}

bool Schemas::accepts(const Shape& s, const Json& v, int depth) {
  if (!(s.types & type_of(v))) return false;
  if (s.values && !contains_value(*s.values, v)) return false;
  if (contains_value(s.excluded, v)) return false;
  if (v.is_number()) return number_fits(s.numbers, decimal_of(v));
  if (v.is_string()) {
    const auto& text = v.get_ref<const std::string&>();
    const int64_t length = int64_t(count_code_points(text));
    if (length < s.min_length || (s.max_length >= 0 && length > s.max_length)) return false;
    return std::all_of(s.patterns.begin(), s.patterns.end(), [&](auto& p) { return p->accepts(text); });
  }
  const int64_t size = v.is_array() || v.is_object() ? int64_t(v.size()) : 0;
  if (v.is_object()) {
    if (size < s.min_properties || (s.max_properties >= 0 && size > s.max_properties)) return false;
    for (const std::string& r : s.required)
      if (!v.contains(r)) return false;
    for (auto& [name, part] : v.items()) {
      if (!accepts(s.for_property(name), part, depth + 1)) return false;
      for (const SchemaNode& n : s.names)
        if (!accepts({n}, name, depth + 1)) return false;
    }
  }
  if (v.is_array()) {
    if (size < s.min_items || (s.max_items >= 0 && size > s.max_items)) return false;
    for (size_t i = 0; i < v.size(); ++i) {
      if (!accepts(s.for_element(i), v[i], depth + 1)) return false;
      for (size_t k = 0; s.unique && k < i; ++k)
        if (same_value(v[i], v[k])) return false;
    }
    for (const SchemaNode& c : s.contains)
      if (std::none_of(v.begin(), v.end(), [&](const Json& e) { return accepts({c}, e, depth + 1); })) return false;
  }
  return true;
}

}  // namespace vl8
