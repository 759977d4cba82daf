// Whether a document satisfies a JSON Schema, by an independent judge (valijson).
#pragma once
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

namespace vl8::test {

inline bool is_valid(const nlohmann::ordered_json& schema, const nlohmann::json& document) {
  const nlohmann::json plain = nlohmann::json::parse(schema.dump());
  valijson::Schema parsed;
  valijson::SchemaParser parser;
  parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(plain), parsed);
  valijson::Validator validator;
  return validator.validate(parsed, valijson::adapters::NlohmannJsonAdapter(document), nullptr);
}

}  // namespace vl8::test
