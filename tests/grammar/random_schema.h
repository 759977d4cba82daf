// Random JSON Schemas of the kinds people write, each with at least one document.
#pragma once
#include <nlohmann/json.hpp>
#include <random>
#include <string>

namespace vl8::test {

class SchemaMaker {
 public:
  using Json = nlohmann::ordered_json;
  explicit SchemaMaker(std::mt19937& random) : random_(random) {}

  Json make() {
    Json s = object(3);
    if (recursive_) s["$defs"] = {{"node", {{"type", "object"}, {"properties", {{"name", {{"type", "string"}, {"maxLength", 12}}},
        {"children", {{"type", "array"}, {"maxItems", 3}, {"items", {{"$ref", "#/$defs/node"}}}}}}}, {"required", {"name", "children"}}, {"additionalProperties", false}}}};
    return s;
  }

 private:
  int pick(int n) { return int(random_() % unsigned(n)); }
  std::string name() {
    static const char* const kNames[] = {"id", "name", "label", "box", "score", "tags", "parts", "kind", "note", "count", "état", "a b", "x/y"};
    return kNames[pick(13)];
  }

  Json value(int depth) {
    switch (pick(depth > 0 ? 14 : 9)) {
      case 0: return {{"type", "boolean"}};
      case 1: return {{"type", pick(2) ? "integer" : "number"}, {"minimum", pick(200) - 100}, {"maximum", 100 + pick(1000)}};
      case 2: return {{"type", "integer"}};
      case 3: return {{"type", "string"}, {"minLength", pick(3)}, {"maxLength", 3 + pick(60)}};
      case 4: return {{"type", "string"}};
      case 5: return {{"enum", {"red", "green", "blue", 3, nullptr}}};
      case 6: return {{"type", "string"}, {"pattern", pick(2) ? "^[A-Z]{2,4}-[0-9]+$" : "^(left|right)( side)?$"}};
      case 7: return {{"type", "number"}, {"exclusiveMinimum", 0}, {"exclusiveMaximum", 1}};
      case 8: return {{"type", {"string", "null"}}, {"maxLength", 5 + pick(20)}};
      case 9: return {{"type", "array"}, {"items", value(depth - 1)}, {"minItems", pick(3)}, {"maxItems", 2 + pick(6)}};
      case 10: return {{"anyOf", {value(depth - 1), Json{{"type", "null"}}}}};
      case 11: recursive_ = true; return {{"$ref", "#/$defs/node"}};
      default: return object(depth - 1);
    }
  }

  Json object(int depth) {
    Json properties = Json::object(), required = Json::array();
    for (int n = 1 + pick(5); n > 0; --n) {
      const std::string key = name();
      if (properties.contains(key)) continue;
      properties[key] = value(depth);
      if (pick(3)) required.push_back(key);
    }
    Json out = {{"type", "object"}, {"properties", std::move(properties)}};
    if (!required.empty()) out["required"] = std::move(required);
    if (pick(4)) out["additionalProperties"] = false;
    else if (pick(2)) out["additionalProperties"] = {{"type", "integer"}};
    return out;
  }

  std::mt19937& random_;
  bool recursive_ = false;
};

inline nlohmann::ordered_json random_schema(std::mt19937& random) { return SchemaMaker(random).make(); }

}  // namespace vl8::test
