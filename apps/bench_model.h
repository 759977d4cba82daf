// The model under a clock: prompts and decode steps with nothing around them but what a step needs. Tokens are chosen where
// the logits are.
#pragma once
#include "engine/loaded_model.h"

namespace vl8 {

class BenchModel {
 public:
  // Room for `sequences` of `context` tokens. References must outlive it.
  BenchModel(Ops& op, const ModelConfig& config, const ModelWeights& weights, int64_t sequences, int64_t context, int64_t page_tokens);
  ~BenchModel();
  BenchModel(const BenchModel&) = delete;
  BenchModel& operator=(const BenchModel&) = delete;

  // Runs the prompt of one sequence from its start, `chunk` tokens a step. Returns with the work done.
  void prefill(int64_t sequence, std::span<const int32_t> ids, int64_t chunk);
  void decode();  // one token more for every sequence; returns with the tokens known

 private:
  std::vector<int32_t> step(std::span<const int32_t> ids, std::span<const SequenceView> views, std::span<const int32_t> logit_rows);
  Ops& op_;
  const ModelConfig& config_;
  const ModelWeights& weights_;
  int64_t context_, page_tokens_;
  KvCache cache_;
  std::vector<std::vector<int32_t>> pages_;  // of each sequence
  std::vector<int32_t> length_, next_;
};

}  // namespace vl8
