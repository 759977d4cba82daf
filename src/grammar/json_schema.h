// JSON Schema (2020-12, with the spellings of draft 4 to 2019-09 that are still written) as a grammar of the JSON texts that
// satisfy it.
//
// Of all satisfying texts the grammar has one form: properties in the order of the schema, required ones that it does not
// describe next, additional ones last; strings escape only what they must where their content is constrained; integers without
// fraction. Numbers keep to what binary64 holds. A keyword that cannot be kept exactly is an Error(unsupported) that names its JSON
// pointer; annotations (title, description, default, examples, x-...) are ignored.
#pragma once
#include <nlohmann/json.hpp>
#include <string_view>

#include "grammar/expr.h"

namespace vl8 {

enum class JsonSpacing : uint8_t {
  flexible,  // where JSON allows it, none, one space, or a line break with up to 32 spaces or tabs
  compact,   // none
  spaced,    // one space behind every comma and colon, as Python's json.dumps writes
};

// Throws Error(input) for a malformed schema, or one that nothing satisfies, and Error(unsupported).
Grammar json_schema_grammar(const nlohmann::ordered_json& schema, JsonSpacing spacing, const GrammarLimits& limits);
Grammar parse_json_schema(std::string_view schema_text, JsonSpacing spacing, const GrammarLimits& limits);

// The same as rules of a larger grammar; returns the rule of a whole value.
int32_t add_json_schema(Grammar& grammar, const nlohmann::ordered_json& schema, JsonSpacing spacing, const GrammarLimits& limits);

// Any object.
Grammar json_object_grammar(JsonSpacing spacing);

}  // namespace vl8
