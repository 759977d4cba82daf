#include "bench_model.h"

#include <algorithm>
#include <numeric>

namespace vl8 {

BenchModel::BenchModel(Ops& op, const ModelConfig& config, const ModelWeights& weights, int64_t sequences, int64_t context, int64_t page_tokens)
    : op_(op), config_(config), weights_(weights), context_(context), page_tokens_(page_tokens) {
  const int64_t each = (context + page_tokens - 1) / page_tokens;
  cache_ = op.make_kv_cache(config.text.layers, config.text.kv_heads, config.text.head_dim, page_tokens, each * sequences);
  pages_.resize(size_t(sequences)), length_.resize(size_t(sequences)), next_.assign(size_t(sequences), 1);
  // Pages alternate between sequences, as they do in service.
  for (int64_t s = 0; s < sequences; ++s)
    for (int64_t p = 0; p < each; ++p) pages_[size_t(s)].push_back(int32_t(p * sequences + s));
}

BenchModel::~BenchModel() { op_.free_kv_cache(cache_); }

std::vector<int32_t> BenchModel::step(std::span<const int32_t> ids, std::span<const SequenceView> views, std::span<const int32_t> logit_rows) {
  std::vector<int32_t> positions(3 * ids.size());
  for (const SequenceView& v : views)
    for (int32_t i = 0; i < v.q_len; ++i)
      for (size_t axis = 0; axis < 3; ++axis) positions[axis * ids.size() + size_t(v.q_begin + i)] = v.kv_len - v.q_len + i;
  const BatchView batch{ids, positions.data(), views, {}, logit_rows};
  Tensor logits = text_forward(op_, config_.text, weights_, batch, cache_);
  if (logit_rows.empty()) return {};
  return op_.argmax(logits);
}

void BenchModel::prefill(int64_t sequence, std::span<const int32_t> ids, int64_t chunk) {
  const int64_t n = int64_t(ids.size());
  check(n <= context_, "{} tokens in a context of {}", n, context_);
  for (int64_t at = 0; at < n; at += chunk) {
    const int64_t end = std::min(at + chunk, n);
    const SequenceView view{0, int32_t(end - at), int32_t(end), pages_[size_t(sequence)].data()};
    const std::vector<int32_t> rows = end == n ? std::vector<int32_t>{int32_t(end - at - 1)} : std::vector<int32_t>();
    const std::vector<int32_t> token = step(ids.subspan(size_t(at), size_t(end - at)), std::span(&view, 1), rows);
    if (!token.empty()) next_[size_t(sequence)] = token[0];
  }
  length_[size_t(sequence)] = int32_t(n);
}

void BenchModel::decode() {
  std::vector<SequenceView> views;
  std::vector<int32_t> rows(next_.size());
  std::iota(rows.begin(), rows.end(), 0);
  for (size_t s = 0; s < next_.size(); ++s) {
    check(length_[s] < context_, "the context of {} tokens is full", context_);
    views.push_back({int32_t(s), 1, ++length_[s], pages_[s].data()});
  }
  const std::vector<int32_t> ids = next_;
  next_ = step(ids, views, rows);
}

}  // namespace vl8
