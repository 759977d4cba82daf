// Few rows of x: W streams through shared memory once, at memory speed.
#pragma once
#include "cuda/choose/gemm_choice.h"
#include "cuda/gemm_args.h"

namespace vl8::cuda::sm90 {

// tokens: columns of a tile, 8, 16, 32 or 64; more rows than that take several passes. x and W of one format, E4M3 or
// BF16. Needs context.workspace.
void launch_stream_e4m3(const GemmArgs& args, int tokens, const GemmContext& context);
void launch_stream_bf16(const GemmArgs& args, int tokens, const GemmContext& context);

}  // namespace vl8::cuda::sm90
