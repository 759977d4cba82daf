#include "text/stream_decoder.h"

#include "text/utf8.h"

namespace vl8 {

std::string StreamDecoder::push(TokenId id) {
  if (skip_special_ && tokenizer_->is_special(id)) return {};
  held_ += tokenizer_->token_bytes(id);
  std::string out;
  std::string_view rest = held_;
  while (!rest.empty()) {
    Utf8Step step = utf8_step(rest);
    if (step.part == Utf8Part::incomplete) break;
    if (step.part == Utf8Part::valid)
      out += rest.substr(0, step.bytes);
    else
      append_utf8(out, 0xFFFD);
    rest.remove_prefix(step.bytes);
  }
  held_.erase(0, held_.size() - rest.size());
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  if (!held_.empty()) append_utf8(out, 0xFFFD);
  held_.clear();
  return out;
}

}  // namespace vl8
