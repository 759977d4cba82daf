// Which kernel multiplies, and with what tile: plain host code from the problem's numbers to a printable answer, tested
// without a GPU. The rules and the measurements behind them: docs/notes/cuda-gemm.md.
#pragma once
#include <string>
#include <vector>

#include "cuda/gemm.h"

namespace vl8::cuda {

struct GemmProblem {
  int sm = 0, sm_count = 0;
  int64_t m = 0, n = 0, k = 0, experts = 1;  // m: rows of all experts
  Format x = Format::bf16, w = Format::bf16, y = Format::bf16;
  Scales scales = Scales::none;
  bool fused = false;    // silu_mul
  bool aligned = true;   // rows of x and W start at multiples of 16 bytes
  bool plain = true;     // no bias or residual together with silu_mul
  bool library = false;  // cuBLASLt is there and takes this product (cublaslt.h)
};

enum class GemmKernel : uint8_t {
  any,     // float32 FMA, every combination
  gemv,    // W streamed through registers, m <= 4
  stream,  // sm90: W as the 128-row operand of wgmma, tokens as its columns, k split over blocks; few rows
  tiles,   // sm90: wgmma on tiles of x by W; many rows
  mma,     // sm80 and up: mma.sync, E4M3 widened in registers where the chip has no FP8 units
  library, // cuBLASLt; only where it measured better
};

struct TileShape {
  int rows = 0, columns = 0, cluster = 1;
  bool operator==(const TileShape&) const = default;
};

struct GemmChoice {
  GemmKernel kernel = GemmKernel::any;
  TileShape tile;  // tiles, mma: rows of x by rows of W; stream: tile.columns is the tokens of a tile
  int band = 0;    // tiles: row tiles that are walked together
  int splits = 1;  // mma: blocks that share a tile along k
  bool operator==(const GemmChoice&) const = default;
};

// Limits of the kernels that a choice must keep; the kernels include them from here.
constexpr int kGemvSharedBytes = 98 * 1024, kGemvMaxRows = 4;
constexpr int kStreamMaxExperts = 256, kStreamMaxTiles = 16384;

// Warps that share one task of a matrix-vector product along k: a power of two up to `warps` (those of a block), at most
// one a step of k, so that `blocks` persistent blocks have equal work.
int gemv_split(int64_t tasks, int steps, int blocks, int warps);

// By rules; and every choice worth timing on a card (never empty, the best rule first is not promised).
GemmChoice choose_gemm(const GemmProblem& problem);
std::vector<GemmChoice> gemm_candidates(const GemmProblem& problem);
std::string describe(const GemmProblem& problem, const GemmChoice& choice);

}  // namespace vl8::cuda
