// Byte-level BPE from a Hugging Face `tokenizer.json` (spec section 3): text <-> token ids.
//
// What is read: model BPE (vocabulary, merges as "a b" strings or pairs, ignore_merges), normalizer null or
// NFC, pre-tokenizer Split patterns and ByteLevel, decoder ByteLevel, added tokens with all their flags.
// Whatever else would change ids (dropout, prefix space, templates that add tokens, other models) is refused
// by name. The file is not trusted: ids, duplicates, merges and sizes are checked before use. `truncation`
// and `padding` are settings of training scripts and are ignored, as the reference does.
//
// Invalid UTF-8 in the input: each maximal ill-formed part (Unicode 15, section 3.9, table 3-8) counts as one
// U+FFFD, which is what Python's errors="replace" makes of the same bytes.
//
// A Tokenizer does not change after loading and may be used from any number of threads at once.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/marked_text.h"
#include "text/token_id.h"

namespace vl8 {

// What happens to added tokens (`<|im_end|>`, `<think>`, ...) that are spelled out in the text.
enum class Special {
  recognise,  // they become their id, as in the reference
  literal,    // they are ordinary text
};

class Tokenizer {
 public:
  // `path` is a model folder or a tokenizer.json. Throws Error(input | unsupported) naming file, field and
  // fix.
  static Tokenizer load(const std::filesystem::path& path);
  static Tokenizer from_json(std::string_view json, const std::string& origin);  // origin: name for errors

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  std::vector<TokenId> encode(std::string_view text, Special special = Special::recognise) const;
  // Chat prompts: an added token is recognised only where all of its bytes are trusted enough: "special"
  // tokens need Trust::author, the others (<think>, <tool_call>, ...) Trust::model or better. Text on both
  // sides of a mark is still one text to the BPE, so a prompt without literal tokens has the same ids as in
  // the reference.
  std::vector<TokenId> encode_prompt(const MarkedText& prompt) const;

  // The text of ids; bytes that are not UTF-8 become U+FFFD by the rule above. An id without a token (the
  // embedding may have more rows than the vocabulary) gives nothing. Negative or huge ids do as well.
  std::string decode(std::span<const TokenId> ids, bool skip_special = false) const;

  std::string_view token_bytes(TokenId id) const;  // raw bytes of one token; empty if there is none
  bool has_token(TokenId id) const;
  bool is_special(TokenId id) const;  // added, with "special": true
  bool is_added(TokenId id) const;
  std::optional<TokenId> find_added(std::string_view content) const;  // e.g. "<|im_end|>"
  TokenId id_limit() const;  // one more than the largest id that has a token

  // The merges only, for one piece of text as the split pattern gives it; tests and benchmarks use it.
  std::vector<TokenId> encode_piece(std::string_view piece) const;
  // The pieces that the split pattern makes of normalised text (valid UTF-8). `by_pcre` forces the general
  // matcher.
  std::vector<std::string_view> split(std::string_view text, bool by_pcre = false) const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vl8
