// Batch-invariant routing: an answer's numbers do not depend on what else is in the step, nor on how its prompt was cut.
//
// The CPU kernels compute a row of a matrix product in one of two ways: up to kFewRows rows straight from the stored
// weights, more rows through packed tiles. The sums differ in their order, and so in the last bit; within either way a row
// is bit-equal whatever rows are beside it (tests/engine/invariance_test.cpp holds all instruction sets to that). So rows of
// prompts always go the second way and rows of answers the first: a step becomes one pass for prompts and one for each
// kFewRows answers. The price is reading the weights once a pass (docs/notes/engine.md has it measured).
#pragma once
#include <memory>

#include "engine/step_model.h"

namespace vl8 {

class InvariantModel : public StepModel {
 public:
  static constexpr int64_t kFewRows = 8;
  static constexpr int64_t kLeastChunk = kFewRows + 1;  // StepLimits::least_chunk to plan with

  explicit InvariantModel(std::unique_ptr<StepModel> inner) : inner_(std::move(inner)) {}
  KvPool& pool() override { return inner_->pool(); }
  std::unique_ptr<Encoding> start(std::span<const VisualInput* const> visuals) override { return inner_->start(visuals); }
  StepOutput step(std::span<const StepWork> work) override;

 private:
  std::unique_ptr<StepModel> inner_;
};

}  // namespace vl8
