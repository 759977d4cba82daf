#include "cuda/batch.h"

#include <algorithm>
#include <cstring>

namespace vl8::cuda {
namespace {

struct Cursor {
  size_t at = 0;
  size_t take(size_t bytes) {
    size_t here = at;
    at += (bytes + 15) / 16 * 16;
    return here;
  }
};

StepLayout plan(const BatchView& b, int64_t page_tokens) {
  StepLayout l{};
  int64_t pages = 0;
  for (const SequenceView& s : b.sequences) {
    pages += (s.kv_len + page_tokens - 1) / page_tokens;
    if (s.q_len <= kDecodeRows) l.decode_count += s.q_len;
    else l.tile_count += (s.q_len + kQueryTile - 1) / kQueryTile;
  }
  l.tokens = int32_t(b.tokens()), l.sequences = int32_t(b.sequences.size()), l.logit_count = int32_t(b.logit_rows.size());
  Cursor c;
  const size_t t = size_t(l.tokens);
  l.ids = c.take(4 * t), l.positions = c.take(12 * t), l.kv_slot = c.take(4 * t), l.row_seq = c.take(4 * t);
  l.logit_rows = c.take(4 * size_t(l.logit_count));
  l.seqs = c.take(sizeof(SeqMeta) * size_t(l.sequences));
  l.tiles = c.take(sizeof(QueryTile) * size_t(l.tile_count)), l.decode_rows = c.take(4 * size_t(l.decode_count));
  l.pages = c.take(4 * size_t(pages));
  l.bytes = c.at;
  return l;
}

}  // namespace

void lay_out_step(const BatchView& b, int64_t page_tokens, HostStep& step) {
  const StepLayout l = step.layout = plan(b, page_tokens);
  step.block.resize(std::max(step.block.size(), l.bytes));
  std::copy(b.token_ids.begin(), b.token_ids.end(), step.at<int32_t>(l.ids));
  if (b.positions) std::copy_n(b.positions, 3 * l.tokens, step.at<int32_t>(l.positions));
  std::copy(b.logit_rows.begin(), b.logit_rows.end(), step.at<int32_t>(l.logit_rows));
  int32_t *slot = step.at<int32_t>(l.kv_slot), *row_seq = step.at<int32_t>(l.row_seq), *decode = step.at<int32_t>(l.decode_rows);
  int32_t *pages = step.at<int32_t>(l.pages), page_begin = 0;
  QueryTile* tile = step.at<QueryTile>(l.tiles);
  SeqMeta* meta = step.at<SeqMeta>(l.seqs);
  for (int32_t i = 0; i < l.sequences; ++i) {
    const SequenceView& s = b.sequences[size_t(i)];
    const int64_t n = (s.kv_len + page_tokens - 1) / page_tokens;
    meta[i] = {s.q_begin, s.q_len, s.kv_len, page_begin};
    std::copy_n(s.pages, n, pages + page_begin);
    page_begin += int32_t(n);
    for (int32_t r = 0; r < s.q_len; ++r) {
      const int64_t key = s.kv_len - s.q_len + r;
      slot[s.q_begin + r] = int32_t(s.pages[key / page_tokens] * page_tokens + key % page_tokens);
      row_seq[s.q_begin + r] = i;
      if (s.q_len <= kDecodeRows) *decode++ = s.q_begin + r;
    }
    if (s.q_len > kDecodeRows)
      for (int32_t r = 0; r < s.q_len; r += kQueryTile) *tile++ = {i, r};
  }
  // A tile's work is the keys its last row sees.
  QueryTile* first = step.at<QueryTile>(l.tiles);
  auto keys = [&](const QueryTile& t) {
    const SeqMeta& m = meta[t.seq];
    return m.kv_len - m.q_len + std::min(t.row + kQueryTile, m.q_len);
  };
  std::stable_sort(first, tile, [&](const QueryTile& a, const QueryTile& c) { return keys(a) > keys(c); });
}

}  // namespace vl8::cuda
