// A tokenizer whose tokens are single bytes.
#pragma once
#include "text/tokenizer.h"

namespace vl8::testing {

// A vocabulary of single bytes: id = byte.
inline Tokenizer byte_tokenizer() {
  // The byte alphabet of byte-level BPE: printable bytes are themselves, the rest start at U+0100.
  std::string vocab;
  int next = 256;
  for (int b = 0; b < 256; ++b) {
    bool self = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae);
    int code = self ? b : next++;
    char text[16];
    std::snprintf(text, sizeof text, "\\u%04x", code);
    vocab += (b ? ",\"" : "\"") + std::string(text) + "\":" + std::to_string(b);
  }
  return Tokenizer::from_json(R"({"version":"1.0","normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false},
    "decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false},"added_tokens":[],
    "model":{"type":"BPE","vocab":{)" + vocab + R"(},"merges":[]}})", "test");
}

}  // namespace vl8::testing
