// The GPT-2 byte alphabet, in which vocabularies of byte-level BPE are written: printable bytes stand for
// themselves, the other 68 are moved to U+0100 and up (space is U+0120).
#pragma once
#include <string>
#include <string_view>

namespace vl8 {

// Appends the bytes that `written` (valid UTF-8) stands for. False, with `out` unchanged, if it has any other
// letter.
bool append_bytes_of(std::string_view written, std::string& out);
std::string written_byte(unsigned char byte);  // the letter of one byte

}  // namespace vl8
