#include "text/tokenizer.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "text/added_tokens.h"
#include "text/encoder.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace vl8 {

struct Tokenizer::State {
  explicit State(TokenizerFile read) : file(std::move(read)), encoder(file) {
    std::vector<AddedToken> raw, normal;
    flags.assign(file.tokens.size(), 0);
    std::string buffer;
    for (const AddedToken& t : file.added) {
      flags[size_t(t.id)] = uint8_t(t.special ? 3 : 1);
      added_by_content.emplace(t.content, t.id);
      if (!t.normalized)
        raw.push_back(t);
      else
        normal.push_back(t);
      if (t.normalized && file.nfc) normal.back().content = std::string(to_nfc(t.content, buffer));
    }
    raw_matcher = AddedTokenMatcher(std::move(raw));
    normal_matcher = AddedTokenMatcher(std::move(normal));
  }

  TokenizerFile file;
  Encoder encoder;
  AddedTokenMatcher raw_matcher, normal_matcher;
  std::vector<uint8_t> flags;  // by id: 1 added, 2 special
  std::unordered_map<std::string, TokenId> added_by_content;

  // Encoders' scratch memory, one for each call in flight, kept for the next one.
  std::mutex mutex;
  std::vector<std::unique_ptr<EncoderScratch>> idle;

  std::unique_ptr<EncoderScratch> take() {
    std::lock_guard lock(mutex);
    if (idle.empty()) return std::make_unique<EncoderScratch>();
    auto s = std::move(idle.back());
    idle.pop_back();
    return s;
  }
  void give(std::unique_ptr<EncoderScratch> s) {
    s->trim();
    std::lock_guard lock(mutex);
    idle.push_back(std::move(s));
  }

  void encode_segment(std::string_view text, std::span<const TrustSpan> spans, size_t base,
                      EncoderScratch& s) const;
  void encode_all(std::string_view text, std::span<const TrustSpan> spans, EncoderScratch& s) const;
  std::vector<TokenId> encode(std::string_view text, std::span<const TrustSpan> spans);
};

namespace {
// Moves spans that refer to `text` to bytes of the part that begins at `base` and has `size` bytes.
std::vector<TrustSpan> spans_of_part(std::span<const TrustSpan> spans, size_t base, size_t size) {
  std::vector<TrustSpan> out;
  auto it =
      std::partition_point(spans.begin(), spans.end(), [&](const TrustSpan& s) { return s.end <= base; });
  for (; it != spans.end() && it->begin < base + size; ++it)
    out.push_back({std::max(it->begin, base) - base, std::min(it->end, base + size) - base, it->trust});
  return out;
}

// Marked text with ill-formed bytes: each span is repaired by itself, so no mark can move.
MarkedText repaired(std::string_view text, std::span<const TrustSpan> spans) {
  MarkedText out;
  size_t done = 0;
  for (const TrustSpan& s : spans) {
    out.append(to_valid_utf8(text.substr(done, s.begin - done)), Trust::author);
    out.append(to_valid_utf8(text.substr(s.begin, s.end - s.begin)), s.trust);
    done = s.end;
  }
  out.append(to_valid_utf8(text.substr(done)), Trust::author);
  return out;
}
}  // namespace

// `text` holds no token of raw_matcher; `base` is its place in the text that `spans` refer to.
void Tokenizer::State::encode_segment(std::string_view text, std::span<const TrustSpan> spans, size_t base,
                                      EncoderScratch& s) const {
  std::string_view normal = file.nfc ? to_nfc(text, s.normal) : text;
  if (normal_matcher.empty()) return encoder.encode(normal, s);
  auto part = spans_of_part(spans, base, text.size());
  // Where normalisation moved bytes, marks have no place any more: then the worst one counts for all.
  if (!part.empty() && normal != text) {
    Trust worst =
        std::max_element(part.begin(), part.end(), [](auto& a, auto& b) { return a.trust < b.trust; })->trust;
    part = {{0, normal.size(), worst}};
  }
  for (size_t at = 0; at < normal.size();) {
    auto m = normal_matcher.next(normal, at, part);
    encoder.encode(normal.substr(at, m.begin - at), s);
    if (m.id >= 0) s.ids.push_back(m.id);
    at = m.end;
  }
}

void Tokenizer::State::encode_all(std::string_view text, std::span<const TrustSpan> spans,
                                  EncoderScratch& s) const {
  if (raw_matcher.empty()) return encode_segment(text, spans, 0, s);
  for (size_t at = 0; at < text.size();) {
    auto m = raw_matcher.next(text, at, spans);
    if (m.begin > at) encode_segment(text.substr(at, m.begin - at), spans, at, s);
    if (m.id >= 0) s.ids.push_back(m.id);
    at = m.end;
  }
}

std::vector<TokenId> Tokenizer::State::encode(std::string_view text, std::span<const TrustSpan> spans) {
  auto scratch = take();
  scratch->ids.clear();
  if (is_valid_utf8(text)) {
    encode_all(text, spans, *scratch);
  } else {
    MarkedText valid = repaired(text, spans);
    encode_all(valid.view(), valid.spans(), *scratch);
  }
  std::vector<TokenId> out(scratch->ids.begin(), scratch->ids.end());
  give(std::move(scratch));
  return out;
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  std::error_code ec;
  auto file = std::filesystem::is_directory(path, ec) ? path / "tokenizer.json" : path;
  if (!vl8::is_file(file))
    fail_input("{} is missing; a model folder needs the tokenizer.json of its repository", file.string());
  return from_json(read_file(file, kMaxTokenizerBytes), file.string());
}

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& origin) {
  return Tokenizer(std::make_unique<State>(parse_tokenizer_file(json, origin)));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, Special special) const {
  TrustSpan all{0, text.size(), Trust::user};
  bool literal = special == Special::literal && !text.empty();
  return state_->encode(text, literal ? std::span<const TrustSpan>(&all, 1) : std::span<const TrustSpan>());
}

std::vector<TokenId> Tokenizer::encode_prompt(const MarkedText& prompt) const {
  return state_->encode(prompt.view(), prompt.spans());
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string out;
  for (TokenId id : ids)
    if (!skip_special || !is_special(id)) out += token_bytes(id);
  return is_valid_utf8(out) ? out : to_valid_utf8(out);
}

std::string_view Tokenizer::token_bytes(TokenId id) const {
  if (!has_token(id)) return {};
  const TokenBytes& t = state_->file.tokens[size_t(id)];
  return std::string_view(state_->file.blob).substr(t.offset, t.size);
}
bool Tokenizer::has_token(TokenId id) const {
  return id >= 0 && size_t(id) < state_->file.tokens.size() && state_->file.tokens[size_t(id)].present;
}
bool Tokenizer::is_special(TokenId id) const {
  return has_token(id) && (state_->flags[size_t(id)] & 2);
}
bool Tokenizer::is_added(TokenId id) const {
  return has_token(id) && (state_->flags[size_t(id)] & 1);
}
TokenId Tokenizer::id_limit() const {
  return TokenId(state_->file.tokens.size());
}

std::optional<TokenId> Tokenizer::find_added(std::string_view content) const {
  auto it = state_->added_by_content.find(std::string(content));
  if (it == state_->added_by_content.end()) return std::nullopt;
  return it->second;
}

std::vector<TokenId> Tokenizer::encode_piece(std::string_view piece) const {
  auto scratch = state_->take();
  scratch->ids.clear();
  if (!piece.empty()) state_->encoder.encode_piece(piece, *scratch);
  std::vector<TokenId> out(scratch->ids.begin(), scratch->ids.end());
  state_->give(std::move(scratch));
  return out;
}

std::vector<std::string_view> Tokenizer::split(std::string_view text, bool by_pcre) const {
  check(is_valid_utf8(text), "split is for valid UTF-8");
  return state_->encoder.split(text, by_pcre);
}

}  // namespace vl8
