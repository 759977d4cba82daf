#include "text/encoder.h"

#include <cstring>

namespace vl8 {
namespace {
constexpr size_t kKeptBytes = 1 << 20;  // of each buffer, between calls

// The words that, with the length, determine a piece of at most CachedPiece::kMaxBytes.
struct PieceKey {
  uint64_t w[4];
  uint64_t hash;
};
PieceKey key_of(std::string_view piece) {
  const char* p = piece.data();
  size_t n = piece.size();
  PieceKey k;
  if (n <= 16) {
    TwoWords t = two_words(p, n);
    k = {{t.a, t.b, 0, 0}, mix(t.a ^ n, t.b)};
  } else {
    k = {{load_u64(p), load_u64(p + 8), load_u64(p + n - 16), load_u64(p + n - 8)}, 0};
    k.hash = mix(k.w[0] ^ n, k.w[1]) ^ mix(k.w[2], k.w[3] ^ n);
  }
  return k;
}
bool same(const CachedPiece& c, const PieceKey& k, size_t n) {
  return c.bytes == n && c.key[0] == k.w[0] && c.key[1] == k.w[1] && c.key[2] == k.w[2] && c.key[3] == k.w[3];
}
}  // namespace

void EncoderScratch::trim() {
  ids.trim(kKeptBytes / sizeof(TokenId));
  if (normal.capacity() > kKeptBytes) std::string().swap(normal);
  if (pieces.capacity() * sizeof pieces[0] > kKeptBytes) std::vector<std::string_view>().swap(pieces);
  if (work.symbols.capacity() * sizeof work.symbols[0] > kKeptBytes) work = {};
}

Encoder::Encoder(const TokenizerFile& file)
    : file_(file), unicode_(UnicodeTable::get()), bpe_(file.byte_ids, file.merges) {
  qwen_pattern_ =
      file.splits.size() == 1 && !file.splits[0].literal && file.splits[0].pattern == kQwenPattern;
  for (const SplitStep& s : file.splits)
    splitters_.emplace_back(s.pattern, s.literal, "tokenizer.json: pre_tokenizer");
  if (!file.ignore_merges) return;
  whole_ = std::make_unique<StringIds>(file.tokens.size());
  std::vector<bool> added(file.tokens.size());
  for (const AddedToken& t : file.added) added[size_t(t.id)] = true;
  for (size_t id = 0; id < file.tokens.size(); ++id) {
    const TokenBytes& t = file.tokens[id];
    if (t.present && !added[id])
      whole_->add(std::string_view(file.blob).substr(t.offset, t.size), TokenId(id));
  }
}

void Encoder::merge(std::string_view piece, EncoderScratch& s) const {
  if (whole_)
    if (TokenId id = whole_->find(piece); id >= 0) return s.ids.push_back(id);
  TokenId* out = s.ids.room(piece.size());
  s.ids.add(bpe_.encode(piece, out, s.work));
}

void Encoder::encode_piece(std::string_view piece, EncoderScratch& s) const {
  size_t n = piece.size();
  if (n == 1) return s.ids.push_back(bpe_.byte_id(uint8_t(piece[0])));
  if (n > CachedPiece::kMaxBytes) return merge(piece, s);
  PieceKey key = key_of(piece);
  CachedPiece& entry = s.cache[key.hash & (EncoderScratch::kCacheEntries - 1)];
  if (same(entry, key, n)) [[likely]] {
    std::memcpy(s.ids.room(0), entry.ids, sizeof entry.ids);
    return s.ids.add(entry.count);
  }
  size_t was = s.ids.size();
  merge(piece, s);
  size_t count = s.ids.size() - was;
  if (count > CachedPiece::kMaxIds) return;
  std::memcpy(entry.key, key.w, sizeof entry.key);
  std::memcpy(entry.ids, s.ids.begin() + was, count * sizeof(TokenId));
  entry.bytes = uint8_t(n);
  entry.count = uint8_t(count);
}

void Encoder::encode(std::string_view text, EncoderScratch& s) const {
  const char *p = text.data(), *end = p + text.size();
  if (!qwen_pattern_) {
    s.pieces = split(text, true);
    for (std::string_view piece : s.pieces) encode_piece(piece, s);
    return;
  }
  while (p < end) {
    const char* q = qwen_piece_end(unicode_, p, end);
    encode_piece({p, size_t(q - p)}, s);
    p = q;
  }
}

std::vector<std::string_view> Encoder::split(std::string_view text, bool by_pcre) const {
  std::vector<std::string_view> pieces;
  if (text.empty()) return pieces;
  if (qwen_pattern_ && !by_pcre) {
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const char* q = qwen_piece_end(unicode_, p, end);
      pieces.emplace_back(p, size_t(q - p));
      p = q;
    }
    return pieces;
  }
  pieces.push_back(text);
  for (const PcreSplitter& splitter : splitters_) {
    std::vector<std::string_view> finer;
    for (std::string_view piece : pieces) splitter.split(piece, finer);
    pieces = std::move(finer);
  }
  return pieces;
}

}  // namespace vl8
