// The two towers as equations over Ops: one text for every size (dense and MoE), every precision and every device.
// MODEL.md has the same equations in words.
#pragma once
#include <span>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace vl8 {

// Hands every weight to the backend once (Ops::prepare).
void prepare(Ops& op, const ModelConfig& config, ModelWeights& weights);

// The features of one or more pictures or clips, rows in the order of their placeholders.
struct VisionFeatures {
  Kept main;                    // [N / merge², C]
  std::vector<Kept> deepstack;  // one for each tap
  std::vector<int32_t> tokens;  // the 2x2 groups that the rows are of, where they were chosen by their features; empty: as planned
};

// A part of the tower's work: only these 2x2 groups (ascending, counted over all grids) are computed, and have rows in the
// result. With `memory` (of one picture: one grid with t = 1; Ops::vision_attention_memory) they attend to the remembered keys
// and values of the others and replace their own; without it they attend to each other.
struct VisionGate {
  std::span<const int32_t> groups;
  KvCache* memory = nullptr;
};

// The vision tower in pieces, so that other steps can be computed in between: between two calls of advance() the arena is
// free. patches: host F32 [N, patch features] in merge-block order (spec 5.4), which must outlive the run. Each frame
// group of a grid attends to itself.
class VisionRun {
 public:
  VisionRun(Ops& op, const VisionConfig& config, const VisionWeights& weights, const Tensor& patches, std::span<const Grid> grids,
            const VisionGate* gate = nullptr);
  bool advance(int64_t blocks);  // computes at most so many more (at least 1); true when all are done
  VisionFeatures take();         // once, when done

 private:
  void run_block(int64_t i, Tensor& x, const Rope& rope);

  Ops& op_;
  const VisionConfig& c_;
  const VisionWeights& w_;
  Tensor patches_;
  std::vector<Grid> grids_;
  std::vector<int32_t> segments_;
  bool gated_ = false;
  KvCache* memory_ = nullptr;   // of the gate
  std::vector<int32_t> rows_;   // of the kept groups, where gated
  int64_t next_ = 0;  // block
  Kept x_;            // [N, Cv], before block next_; empty at first
  VisionFeatures out_;
};

// All of it at once.
VisionFeatures vision_forward(Ops& op, const VisionConfig& config, const VisionWeights& weights, const Tensor& patches,
                              std::span<const Grid> grids, const VisionGate* gate = nullptr);

// One step for all sequences of the batch. Writes their keys and values into `kv`; returns the logits [R, V] of
// batch.logit_rows (valid until the next step), or nothing where none are wanted.
enum class Head : uint8_t { logits, hidden };  // hidden: the normed hidden state [R, C] of these rows instead
Tensor text_forward(Ops& op, const TextConfig& config, const ModelWeights& weights, const BatchView& batch, KvCache& kv, Head head = Head::logits);

}  // namespace vl8
