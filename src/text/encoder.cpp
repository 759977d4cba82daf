#include "text/encoder.h"

#include <cstring>

namespace vl8 {
namespace {
constexpr size_t kKeptBytes = 1 << 20;  // of each buffer, between calls

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
std::vector<std::string_view> views_of(const TokenizerFile& file) {
  std::vector<std::string_view> views;
  for (const TokenBytes& t : file.tokens)
    views.push_back(std::string_view(file.blob).substr(t.offset, t.size));
  return views;
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

// Pieces whose entries of the tables are on their way from memory.
struct Encoder::Batch {
  static constexpr size_t kSize = 32;
  std::string_view piece[kSize];
  WholeTokens::Key key[kSize];
  PieceKey cache_key[kSize];
  TokenId whole[kSize];
  size_t count = 0;
};

Encoder::Encoder(const TokenizerFile& file)
    : file_(file), unicode_(UnicodeTable::get()), bpe_(file.byte_ids, file.merges, views_of(file)) {
  qwen_pattern_ =
      file.splits.size() == 1 && !file.splits[0].literal && file.splits[0].pattern == kQwenPattern;
  for (const SplitStep& s : file.splits)
    splitters_.emplace_back(s.pattern, s.literal, file.origin + ": pre_tokenizer");
  std::vector<bool> added(file.tokens.size());
  for (const AddedToken& t : file.added) added[size_t(t.id)] = true;
  if (file.ignore_merges) any_token_ = std::make_unique<StringIds>(file.tokens.size());
  whole_ = WholeTokens(file.tokens.size());
  for (size_t id = 0; id < file.tokens.size(); ++id) {
    const TokenBytes& t = file.tokens[id];
    std::string_view bytes = std::string_view(file.blob).substr(t.offset, t.size);
    if (!t.present || added[id]) continue;
    bool whole = any_token_ ? any_token_->add(bytes, TokenId(id)) : bpe_.is_whole(TokenId(id));
    if (whole && bytes.size() <= WholeTokens::kMaxBytes) whole_.add(bytes, TokenId(id));
  }
}

void Encoder::merge(std::string_view piece, EncoderScratch& s) const {
  if (any_token_)
    if (TokenId id = any_token_->find(piece); id >= 0) return s.ids.push_back(id);
  TokenId* out = s.ids.room(piece.size());
  s.ids.add(bpe_.encode(piece, out, s.work));
}

void Encoder::encode_cached(std::string_view piece, const PieceKey& key, EncoderScratch& s) const {
  size_t n = piece.size();
  CachedPiece& entry = s.cache[key.hash & (EncoderScratch::kCacheEntries - 1)];
  if (same(entry, key, n)) {
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

void Encoder::flush(Batch& batch, EncoderScratch& s) const {
  for (size_t i = 0; i < batch.count; ++i) {
    std::string_view piece = batch.piece[i];
    batch.whole[i] = piece.size() <= WholeTokens::kMaxBytes ? whole_.find(batch.key[i], piece.size()) : -1;
    if (batch.whole[i] >= 0) continue;
    bpe_.prefetch(piece);
    if (piece.size() > CachedPiece::kMaxBytes) continue;
    batch.cache_key[i] = key_of(piece);
    __builtin_prefetch(&s.cache[batch.cache_key[i].hash & (EncoderScratch::kCacheEntries - 1)]);
  }
  for (size_t i = 0; i < batch.count; ++i) {
    if (batch.whole[i] >= 0) [[likely]]
      s.ids.push_back(batch.whole[i]);
    else if (batch.piece[i].size() <= CachedPiece::kMaxBytes)
      encode_cached(batch.piece[i], batch.cache_key[i], s);
    else
      merge(batch.piece[i], s);
  }
  batch.count = 0;
}

void Encoder::encode(std::string_view text, EncoderScratch& s) const {
  Batch batch;
  auto put = [&](std::string_view piece) {
    batch.piece[batch.count] = piece;
    if (piece.size() <= WholeTokens::kMaxBytes) {
      batch.key[batch.count] = WholeTokens::key_of(piece);
      whole_.prefetch(batch.key[batch.count]);
    }
    if (++batch.count == Batch::kSize) flush(batch, s);
  };
  if (qwen_pattern_) {
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const char* q = qwen_piece_end(unicode_, p, end);
      put({p, size_t(q - p)});
      p = q;
    }
  } else {
    s.pieces = split(text, true);
    for (std::string_view piece : s.pieces) put(piece);
  }
  flush(batch, s);
}

void Encoder::encode_piece(std::string_view piece, EncoderScratch& s) const {
  Batch batch;
  batch.piece[0] = piece;
  if (piece.size() <= WholeTokens::kMaxBytes) batch.key[0] = WholeTokens::key_of(piece);
  batch.count = 1;
  flush(batch, s);
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
