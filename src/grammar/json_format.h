// The `format` values of JSON Schema (2020-12, validation, section 7.3) as patterns.
#pragma once
#include <optional>
#include <string_view>

namespace vl8 {

// What a format means for generation: a pattern for the whole string; an empty pattern for a format that says nothing about the
// text (int32, password, ...); nothing for an unknown one. The patterns generate a subset: what every validator agrees on.
std::optional<std::string_view> format_pattern(std::string_view name);

}  // namespace vl8
