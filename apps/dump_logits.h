// Logits, positions, greedy tokens and named intermediates of one case, for comparison with the reference.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace vl8 {

struct DumpLogits {
  std::filesystem::path model, out;
  std::vector<std::string> inputs;  // safetensors files with the golden keys; a later file gives what earlier ones lack
  EngineOptions engine;
  std::string probe;    // glob of intermediates; empty: none
  int64_t greedy = 24;  // tokens to decode after the prompt
  int64_t chunk = 0;    // tokens of the prompt per step; 0: all at once
};

// Needs no tokenizer. Writes logits [T, V], position_ids [3, T], greedy_ids and the probed tensors.
void dump_logits(const DumpLogits& options);

}  // namespace vl8
