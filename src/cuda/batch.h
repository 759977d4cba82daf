// The arrays of one step as the kernels read them: sequences, page tables, where each new key goes, and the work lists
// of the attention kernels. Laid out on the host in one block that goes to the device in one copy. No CUDA in here.
#pragma once
#include <cstdint>
#include <vector>

#include "cuda/step_types.h"
#include "ops/batch_view.h"

namespace vl8::cuda {

// Offsets in bytes from the start of the block, each a multiple of 16. `pages` comes last: it alone changes size while
// sequences grow, so that a recorded step finds everything else where it was.
struct StepLayout {
  size_t ids, positions, kv_slot, row_seq, logit_rows, seqs, tiles, decode_rows, pages, bytes;
  int32_t tokens, sequences, tile_count, decode_count, logit_count;
};

struct HostStep {
  StepLayout layout{};
  std::vector<char> block;
  template <typename T>
  T* at(size_t offset) { return reinterpret_cast<T*>(block.data() + offset); }
};

// Fills `step` (its memory is reused). Prefill tiles come in order of falling work, so that the longest start first.
void lay_out_step(const BatchView& batch, int64_t page_tokens, HostStep& step);

}  // namespace vl8::cuda
