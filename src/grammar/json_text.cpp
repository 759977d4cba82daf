#include "grammar/json_text.h"

#include "grammar/json_number.h"
#include "grammar/network.h"

namespace vl8 {
namespace {

constexpr int64_t kIndent = 32;

ExprPtr one_of(std::string_view letters) {
  std::vector<CodePoints::Interval> v;
  for (char c : letters) v.emplace_back(char32_t(uint8_t(c)), char32_t(uint8_t(c)));
  return chars(CodePoints::of(std::move(v)));
}

// \uXXXX of a code point of the basic plane, or a pair of surrogates: half a pair is text that many readers refuse.
ExprPtr unicode_escape() {
  ExprPtr hex = one_of("0123456789abcdefABCDEF");
  ExprPtr basic = choice({sequence({one_of("0123456789abcefABCEF"), hex, hex, hex}), sequence({one_of("dD"), one_of("01234567"), hex, hex})});
  ExprPtr pair = sequence({one_of("dD"), one_of("89abAB"), hex, hex, literal("\\u"), one_of("dD"), one_of("cdefCDEF"), hex, hex});
  return sequence({literal("\\u"), choice({basic, pair})});
}

}  // namespace

JsonText::JsonText(Grammar& g, JsonSpacing spacing) : spacing_(spacing) {
  character_ = choice({chars(plain_characters()), sequence({literal("\\"), one_of("\"\\/bfnrt")}), unicode_escape()});
  string_ = g.add("string", quoted(repeat(character_, 0, kUnlimited)));
  space_ = g.add("space", choice({nothing(), literal(" "), sequence({literal("\n"), repeat(one_of(" \t"), 0, kIndent)})}));
  value_ = g.add("value");
  ExprPtr pair = member(string(), value());
  object_ = g.add("object", choice({enclosed('{', nullptr, '}'), enclosed('{', list(pair, 1, kUnlimited), '}')}));
  array_ = g.add("array", choice({enclosed('[', nullptr, ']'), enclosed('[', list(value(), 1, kUnlimited), ']')}));
  g.rules[size_t(value_)].body = choice({object(), array(), string(), number(), literal("true"), literal("false"), literal("null")});
}

ExprPtr JsonText::number() const { return number_expr({}, {}, ""); }

ExprPtr JsonText::space() const { return spacing_ == JsonSpacing::flexible ? rule_ref(space_) : nothing(); }

ExprPtr JsonText::comma() const {
  return spacing_ == JsonSpacing::spaced ? literal(", ") : sequence({literal(","), space()});
}
ExprPtr JsonText::colon() const {
  if (spacing_ == JsonSpacing::spaced) return literal(": ");
  return spacing_ == JsonSpacing::compact ? literal(":") : sequence({literal(":"), optional_of(literal(" "))});
}

ExprPtr JsonText::enclosed(char open, ExprPtr content, char close) const {
  ExprPtr left = literal(std::string_view(&open, 1)), right = literal(std::string_view(&close, 1));
  if (!content) return sequence({left, space(), right});
  return sequence({left, space(), std::move(content), space(), right});
}

ExprPtr JsonText::list(const ExprPtr& element, int64_t min, int64_t max) const {
  return sequence({element, repeat(sequence({comma(), element}), min - 1, max < 0 ? max : max - 1)});
}

ExprPtr JsonText::literal_value(const nlohmann::ordered_json& value) const {
  std::string out;
  write(value, out);
  return literal(out);
}

void JsonText::write(const nlohmann::ordered_json& v, std::string& out) const {
  if (!v.is_structured()) {
    out += v.dump();
    return;
  }
  const std::string_view comma = spacing_ == JsonSpacing::compact ? "," : ", ", colon = spacing_ == JsonSpacing::compact ? ":" : ": ";
  out += v.is_object() ? '{' : '[';
  bool first = true;
  for (auto& [key, part] : v.items()) {
    if (!first) out += comma;
    first = false;
    if (v.is_object()) out += nlohmann::ordered_json(key).dump(), out += colon;
    write(part, out);
  }
  out += v.is_object() ? '}' : ']';
}

}  // namespace vl8
