// Normalised text without added tokens -> ids: split into pieces, look each up in a cache of recent pieces,
// merge those that are new.
#pragma once
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe.h"
#include "text/splitter.h"
#include "text/string_ids.h"
#include "text/tokenizer_file.h"
#include "text/whole_tokens.h"

namespace vl8 {

// Ids under construction: grows without clearing, and always has room for kSlack more than asked for, so that
// the cache can copy a whole entry.
class IdBuffer {
 public:
  static constexpr size_t kSlack = 8;

  TokenId* begin() { return data_.get(); }
  TokenId* end() { return data_.get() + size_; }
  size_t size() const { return size_; }
  void clear() { size_ = 0; }
  TokenId* room(size_t count) {  // where `count` ids (and the slack) may be written; then call `add`
    if (size_ + count + kSlack > capacity_) grow(size_ + count + kSlack);
    return data_.get() + size_;
  }
  void add(size_t count) { size_ += count; }
  void push_back(TokenId id) { *room(1) = id, add(1); }
  void trim(size_t capacity) {
    if (capacity_ > capacity) data_.reset(), capacity_ = size_ = 0;
  }

 private:
  void grow(size_t needed) {
    size_t capacity = std::max(needed, capacity_ * 2);
    std::unique_ptr<TokenId[]> bigger(new TokenId[capacity]);
    std::copy(begin(), end(), bigger.get());
    data_ = std::move(bigger);
    capacity_ = capacity;
  }
  std::unique_ptr<TokenId[]> data_;
  size_t size_ = 0, capacity_ = 0;
};

// One cache line: a piece of up to 32 bytes and its tokens.
struct alignas(64) CachedPiece {
  static constexpr size_t kMaxBytes = 32, kMaxIds = 7;
  uint64_t key[4];
  TokenId ids[kMaxIds];
  uint8_t bytes;  // length of the piece; 0 marks an empty entry
  uint8_t count;
};

// The words that, with the length, determine a piece of at most CachedPiece::kMaxBytes.
struct PieceKey {
  uint64_t w[4];
  uint64_t hash;
};

// Memory of one running encode call. The cache is for pieces of several tokens; its 2 MiB
// are more than worth their place on text that comes back to its words.
struct EncoderScratch {
  static constexpr size_t kCacheEntries = 32768;
  EncoderScratch() : cache(kCacheEntries) {}

  LargeVector<CachedPiece> cache;
  BpeWork work;
  IdBuffer ids;
  std::string normal;
  std::vector<std::string_view> pieces;

  void trim();  // gives back what an unusually long text needed
};

class Encoder {
 public:
  explicit Encoder(const TokenizerFile& file);  // `file` must outlive the encoder

  void encode(std::string_view text, EncoderScratch& s) const;         // appends to s.ids
  void encode_piece(std::string_view piece, EncoderScratch& s) const;  // a piece is not empty
  std::vector<std::string_view> split(std::string_view text, bool by_pcre) const;

 private:
  struct Batch;
  void merge(std::string_view piece, EncoderScratch& s) const;
  void encode_cached(std::string_view piece, const PieceKey& key, EncoderScratch& s) const;
  void flush(Batch& batch, EncoderScratch& s) const;

  const TokenizerFile& file_;
  const UnicodeTable& unicode_;
  Bpe bpe_;
  bool qwen_pattern_ = false;
  std::vector<PcreSplitter> splitters_;
  WholeTokens whole_;                     // tokens of a few bytes that their own bytes give back
  std::unique_ptr<StringIds> any_token_;  // all tokens by their bytes, only with ignore_merges
};

}  // namespace vl8
