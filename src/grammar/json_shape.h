// What schemas say together about one value. Several schemas that hold at once (allOf, $ref with siblings, properties named by
// several) are merged into shapes; where they offer alternatives there is one shape each.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "grammar/char_dfa.h"
#include "grammar/json_number.h"

namespace vl8 {

using Json = nlohmann::ordered_json;

// A schema within its document.
struct SchemaNode {
  const Json* json;
  std::string pointer;
  bool operator<(const SchemaNode& o) const { return json < o.json; }
  bool operator==(const SchemaNode& o) const { return json == o.json; }
};
using Together = std::vector<SchemaNode>;  // all hold; sorted, distinct; empty: anything

struct Shape {
  enum Type : uint8_t { null = 1, boolean = 2, number = 4, string = 8, array = 16, object = 32, any = 63 };
  uint8_t types = any;
  std::optional<std::vector<Json>> values;  // enum and const
  std::vector<Json> excluded;               // by `not`

  NumberBounds numbers;

  int64_t min_length = 0, max_length = -1;
  std::vector<std::shared_ptr<const CharDfa>> patterns;  // all hold
  ExprPtr single_pattern;                                // the only one, as written

  // Keywords that look at each other act per schema that has them.
  struct Members {
    std::vector<std::pair<std::string, SchemaNode>> properties;
    std::vector<std::pair<std::shared_ptr<const CharDfa>, SchemaNode>> patterns;
    std::optional<SchemaNode> additional;
  };
  std::vector<Members> members;
  std::vector<std::string> required;
  std::vector<SchemaNode> names;  // propertyNames
  std::optional<SchemaNode> unevaluated;
  int64_t min_properties = 0, max_properties = -1;

  struct Elements {
    std::vector<SchemaNode> prefix;
    std::optional<SchemaNode> rest;
  };
  std::vector<Elements> elements;
  std::vector<SchemaNode> contains;
  int64_t min_items = 0, max_items = -1;
  bool unique = false;
  std::string pointer;  // of one schema that took part, for messages

  Together for_property(const std::string& name) const;
  Together for_element(size_t index) const;  // index beyond all prefixes: the rest
  size_t prefix_size() const;
};

// The document: resolves references and merges. Nodes stay valid as long as it lives.
class Schemas {
 public:
  Schemas(const Json& root, const GrammarLimits& limits);

  SchemaNode root() const { return {&root_, ""}; }
  // All ways to satisfy the schemas together; none: nothing does.
  std::vector<Shape> shapes(const Together& together);
  // Whether the schemas only offer alternatives (or refer), so that each can be a rule of its own.
  std::optional<std::vector<SchemaNode>> alternatives(const SchemaNode& node);
  bool accepts(const Together& together, const Json& value, int depth = 0);
  bool accepts(const Shape& shape, const Json& value, int depth);

 private:
  friend class ShapeMerger;
  SchemaNode resolve(const SchemaNode& node, const std::string& ref);
  SchemaNode keep(Json made, const std::string& pointer);  // a schema that stands for others
  std::vector<SchemaNode> negate(const SchemaNode& node, int depth = 0);
  std::vector<SchemaNode> exclusive(const SchemaNode& node);  // of oneOf
  std::optional<std::vector<Json>> finite_values(const Together& together);
  bool disjoint(const Shape& s, const Shape& t, uint8_t within);
  // What `make` gives for a keyword of a schema, made only once: rules are shared by the identity of schemas, and recursion ends there.
  std::vector<SchemaNode> once(const SchemaNode& node, const char* key, const std::function<std::vector<SchemaNode>()>& make);
  void index_ids(const Json& j, const std::string& pointer, size_t depth);
  std::shared_ptr<const CharDfa> pattern(const std::string& text, const std::string& pointer, ExprPtr* expr = nullptr);

  Json root_;
  GrammarLimits limits_;
  std::deque<Json> made_;
  std::map<std::string, SchemaNode> ids_;
  std::map<std::pair<const Json*, std::string>, std::vector<SchemaNode>> alternatives_;
  std::set<std::pair<const Json*, std::string>> in_progress_;
  std::map<std::string, std::pair<std::shared_ptr<const CharDfa>, ExprPtr>> patterns_;
};

std::string escape_pointer(std::string_view key);  // one step of a JSON pointer (RFC 6901)

}  // namespace vl8
