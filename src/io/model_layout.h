// The names and shapes of every stored tensor of a model, from its config alone: the same visits that the
// model's list of weights makes, with outputs that are thrown away. For writers of checkpoints, the quantiser
// and counting.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"
#include "model/config.h"

namespace vl8 {

enum class TensorRole : uint8_t {
  norm,      // scale of a norm
  bias,      // of a norm or a linear
  table,     // embeddings, position table
  linear,    // a matrix that is never quantised (vision, router)
  quantised  // a language linear or an expert: FP8 in FP8 checkpoints
};

struct LayoutTensor {
  std::string name;  // canonical, with `.weight`
  Shape shape;       // experts: [E, in, out], as published
  TensorRole role = TensorRole::linear;
};

// In the order of use. The tied head is left out.
std::vector<LayoutTensor> model_layout(const ModelConfig& config);

// Is a linear (module name) one that FP8 checkpoints quantise: those of the decoder layers, but not the
// router.
bool is_language_linear(std::string_view module);

}  // namespace vl8
