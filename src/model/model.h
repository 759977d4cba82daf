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
};

// patches: host F32 [N, patch features] in merge-block order (spec 5.4). Each frame group of a grid attends to itself.
VisionFeatures vision_forward(Ops& op, const VisionConfig& config, const VisionWeights& weights, const Tensor& patches,
                              std::span<const Grid> grids);

// Valid until the next step; empty where no rows are wanted.
struct TextOutput {
  Tensor logits;  // [R, V], of batch.logit_rows
  Tensor hidden;  // [H, C], of batch.hidden_rows, after the final norm
};

// One step for all sequences of the batch. Writes their keys and values into `kv`.
TextOutput text_forward(Ops& op, const TextConfig& config, const ModelWeights& weights, const BatchView& batch, KvCache& kv);

}  // namespace vl8
