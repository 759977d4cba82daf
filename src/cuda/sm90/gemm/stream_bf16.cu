#include "cuda/sm90/gemm/stream.cuh"

namespace vl8::cuda::sm90 {

void launch_stream_bf16(const GemmArgs& a, int tokens, const GemmContext& context) {
  launch_stream<Format::bf16>(a, tokens, context);
}

}  // namespace vl8::cuda::sm90
