#include "cuda/step_inputs.h"

#include <algorithm>
#include <cstring>

#include "cuda/launch.h"

namespace vl8::cuda {
namespace {
constexpr size_t kFirstCapacity = size_t(1) << 20;  // 64 sequences of 32K tokens, or a prompt of 16K tokens in one step
}

StepInputs::StepInputs(DeviceHeap& heap, Stream stream) : heap_(heap), stream_(stream) {
  for (Side& s : sides_) check_cuda(cudaEventCreateWithFlags(&s.sent, cudaEventDisableTiming), "event");
  grow(kFirstCapacity);
}

StepInputs::~StepInputs() {
  for (Side& s : sides_) cudaEventDestroy(s.sent);
}

void StepInputs::grow(size_t bytes) {
  check_cuda(cudaStreamSynchronize(stream_), "step");
  if (block_) heap_.release(block_);
  capacity_ = std::max(bytes, 2 * capacity_);
  block_ = static_cast<char*>(heap_.allocate(capacity_, "step"));
  for (Side& s : sides_) s.host = PinnedBuffer(capacity_);
}

bool StepInputs::upload(const BatchView& batch, int64_t page_tokens) {
  lay_out_step(batch, page_tokens, step_);
  const StepLayout& l = step_.layout;
  const bool moved = l.bytes > capacity_;
  if (moved) grow(l.bytes);
  Side& side = sides_[next_ ^= 1];
  check_cuda(cudaEventSynchronize(side.sent), "step upload");
  std::memcpy(side.host.data(), step_.block.data(), l.bytes);
  check_cuda(cudaMemcpyAsync(block_, side.host.data(), l.bytes, cudaMemcpyHostToDevice, stream_), "step upload");
  check_cuda(cudaEventRecord(side.sent, stream_), "step upload");
  auto ints = [&](size_t at) { return reinterpret_cast<const int32_t*>(block_ + at); };
  device_ = {ints(l.ids), ints(l.positions), ints(l.kv_slot), ints(l.row_seq), ints(l.logit_rows), ints(l.decode_rows), ints(l.pages),
             reinterpret_cast<const SeqMeta*>(block_ + l.seqs), reinterpret_cast<const QueryTile*>(block_ + l.tiles), l};
  return moved;
}

}  // namespace vl8::cuda
