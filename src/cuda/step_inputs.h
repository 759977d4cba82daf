// The arrays of the step in progress on the device, in one block at a fixed place: a recorded step reads them where they
// always are. The host fills one of two page-locked copies while the other may still be on its way.
#pragma once
#include <cuda_runtime.h>

#include "cuda/batch.h"
#include "cuda/device.h"

namespace vl8::cuda {

struct DeviceStep {
  const int32_t *ids, *positions, *kv_slot, *row_seq, *logit_rows, *decode_rows, *pages;
  const SeqMeta* seqs;
  const QueryTile* tiles;
  StepLayout layout;
};

class StepInputs {
 public:
  StepInputs(DeviceHeap& heap, Stream stream);
  ~StepInputs();
  // Copies the batch to the device. True where the block had to move (recorded steps are void then).
  bool upload(const BatchView& batch, int64_t page_tokens);
  const DeviceStep& device() const { return device_; }

 private:
  struct Side {
    PinnedBuffer host;
    cudaEvent_t sent = nullptr;
  };
  void grow(size_t bytes);
  DeviceHeap& heap_;
  Stream stream_;
  HostStep step_;
  Side sides_[2];
  int next_ = 0;
  char* block_ = nullptr;
  size_t capacity_ = 0;
  DeviceStep device_{};
};

}  // namespace vl8::cuda
