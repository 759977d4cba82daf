// Gated visual work of a request: which 2x2 patch groups of a picture or clip go through the vision tower, and which of
// them become tokens of the language model. Tokens keep their own rotary positions and DeepStack rows, so that places in
// answers stay right. Selection (sparse/) makes the indices here; the model only consumes them.
#pragma once
#include <memory>

#include "engine/prompt.h"
#include "model/model.h"
#include "sparse/patch_scores.h"
#include "sparse/select.h"

namespace vl8 {

// What a camera's stream remembers between looks: keys and values of every block of the vision tower and the features of
// the last state of each group, so that a look computes only what changed and still attends to everything. Memory:
// 2 x depth x patches x hidden values (bf16 or f32 as the key/value cache): 510 MB for 1024x1024 in the 8B tower in bf16.
// Belongs to one stream: looks one after another. Made empty; the first look fills it.
class VisionMemory {
 public:
  VisionMemory() = default;
  ~VisionMemory();
  VisionMemory(const VisionMemory&) = delete;
  VisionMemory& operator=(const VisionMemory&) = delete;

  // Of pictures of another size than the last one nothing is known.
  bool knows(const Grid& grid) const { return !kv_.k.empty() && grid == grid_; }
  // On the engine thread, always with the same Ops, which outlives this. Runs `groups` through the tower (all of them on the first look) and returns the features of every group.
  const VisionFeatures& look(Ops& op, const ModelConfig& config, const VisionWeights& weights, const Tensor& patches, const Grid& grid,
                             std::span<const int32_t> groups);
  double feature_distance() const { return distance_; }  // 1 - cosine of the mean features of the last two looks

 private:
  void take_over(const VisionFeatures& part, std::span<const int32_t> groups);
  Ops* op_ = nullptr;  // since the first look
  Grid grid_;
  KvCache kv_;
  VisionFeatures features_;
  std::vector<float> mean_;
  double distance_ = 0;
};

// Of one visual. Group g of frame group t in a grid of h x w groups has the number t h w + y w + x.
struct VisualGate {
  std::vector<int32_t> tower;   // through the tower, ascending
  std::vector<int32_t> tokens;  // into the language model, ascending, at least one a frame group; without memory a part of tower
  const GatePolicy* late = nullptr;      // tokens are chosen again from features, as many as before; null: they stay
  GroupScores scores;                    // from pixels, for the late choice
  std::vector<int32_t> question;         // ids of the words around the visuals, for the late choice
  std::shared_ptr<VisionMemory> memory;  // of a stream; null: a picture by itself
};

// A stream's pixels as they were last computed, and its memory. One look at a time.
struct VisualStream {
  std::shared_ptr<VisionMemory> memory;
  GroupSketch reference;  // empty before the first look
};

// Decides by `sparsity`, from pixels; changes nothing where it is off. `stream`, when given, supplies the reference and is
// moved on: what is sent through the tower becomes the new reference.
void gate_visual(VisualInput& visual, const Sparsity& sparsity, const ModelConfig& config, VisualStream* stream = nullptr);

// Lets a late choice know the prompt's words: called once the ids are known.
void note_question(Prompt& prompt);

// Features of the visual's tokens, in their order. After a late choice the result names them (VisionFeatures::tokens).
VisionFeatures encode_visual(Ops& op, const ModelConfig& config, const ModelWeights& weights, const VisualInput& visual);

// After a late choice: puts the tokens that were chosen, and with them their positions, into the prompt. Nothing to do for others.
void adopt_choice(Prompt& prompt, size_t visual, const VisionFeatures& features);

// The share of visual work that is done: floating-point operations of the kept groups in the tower and of the kept tokens in
// the layers of the language model, over those of all. 1 without a gate, 0 without visuals to do.
double activation(const Prompt& prompt, const ModelConfig& config);

}  // namespace vl8
