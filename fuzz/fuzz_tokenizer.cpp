// First byte even: a text, which must survive encoding and decoding. Odd: a tokenizer.json.
#include <fstream>
#include <iterator>

#include "fuzz.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vl8;
  fuzz::Input in(data, size);
  const bool file = in.byte() % 2;
  return fuzz::answer([&] {
    if (file) {
      const Tokenizer t = Tokenizer::from_json(in.rest(), "fuzz");
      t.decode(t.encode("Hello, 世界 <|im_end|>\n"));
      return;
    }
    static const Tokenizer t = Tokenizer::load(VL8_SOURCE_DIR "/assets/nano");
    const std::string text = to_valid_utf8(in.rest());
    std::string buffer;
    const std::string normal(to_nfc(text, buffer));
    for (Special special : {Special::literal, Special::recognise})
      if (t.decode(t.encode(text, special)) != normal) std::abort();
  });
}
