// `vl8 dump tokens` and `vl8 dump prompt`: one JSON object per line in, one per line out, for comparison with
// the reference. Special tokens that a text spells out are recognised, as the reference does;
// "literal_specials": true in a line of dump_prompt asks for what vl8 itself feeds its models, where words of
// users never become control tokens.
#pragma once
#include <filesystem>
#include <iosfwd>

namespace vl8 {

// {"text"} -> {"ids", "decoded"}
void dump_tokens(const std::filesystem::path& model, std::istream& in, std::ostream& out);

// {"messages", "tools"?, "add_vision_id"?, "add_generation_prompt"? (true), "extra"?, "literal_specials"?
// (false)} ->
// {"rendered", "ids"}, before placeholders are expanded.
void dump_prompt(const std::filesystem::path& model, std::istream& in, std::ostream& out);

// Both throw Error(input) naming the line that is wrong; lines before it have been answered.

}  // namespace vl8
