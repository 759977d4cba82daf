// The pieces of JSON (RFC 8259) that every grammar of JSON is made of.
#pragma once
#include "grammar/json_schema.h"

namespace vl8 {

class JsonText {
 public:
  JsonText(Grammar& grammar, JsonSpacing spacing);

  ExprPtr string() const { return rule_ref(string_); }  // any, with every legal escape
  ExprPtr character() const { return character_; }      // one, inside a string
  ExprPtr quoted(ExprPtr content) const { return sequence({literal("\""), std::move(content), literal("\"")}); }
  ExprPtr value() const { return rule_ref(value_); }    // any
  ExprPtr object() const { return rule_ref(object_); }
  ExprPtr array() const { return rule_ref(array_); }
  ExprPtr number() const;
  ExprPtr literal_value(const nlohmann::ordered_json& value) const;  // with the spacing's separators

  ExprPtr comma() const;
  ExprPtr colon() const;
  // Braces or brackets: empty where `content` is null.
  ExprPtr enclosed(char open, ExprPtr content, char close) const;
  ExprPtr member(ExprPtr key, ExprPtr value) const { return sequence({std::move(key), colon(), std::move(value)}); }
  ExprPtr list(const ExprPtr& element, int64_t min, int64_t max) const;  // separated; min >= 1

 private:
  ExprPtr space() const;
  void write(const nlohmann::ordered_json& value, std::string& out) const;
  JsonSpacing spacing_;
  ExprPtr character_;
  int32_t space_ = 0, string_ = 0, value_ = 0, object_ = 0, array_ = 0;
};

}  // namespace vl8
