#include "cuda/choose/gemm_choice.h"

#include <algorithm>
#include <iterator>

namespace vl8::cuda {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Bytes of float32 x in shared memory, rounded up to whole steps, and the sums that warps exchange.
int64_t gemv_shared_bytes(int64_t m, int64_t k) { return (m == 3 ? 4 : m) * (ceil_div(k, 512) * 512 * 4 + 256); }

bool gemv_fits(const GemmProblem& p) {
  int64_t m = p.experts > 1 ? 1 : p.m;
  return p.sm >= 80 && p.aligned && m <= kGemvMaxRows && gemv_shared_bytes(m, p.k) <= kGemvSharedBytes &&
         (p.w == Format::e4m3 || p.scales != Scales::block);
}

// Both operands of wgmma in one format; block scales only where they come with E4M3.
bool wgmma_fits(const GemmProblem& p) {
  bool scales = p.w == Format::e4m3 || p.scales == Scales::none || p.scales == Scales::row;
  int64_t columns = p.fused ? p.n / 2 : p.n;
  return p.sm == 90 && p.aligned && p.x == p.w && p.w != Format::f32 && scales && (!p.fused || columns % 64 == 0);
}

// mma.sync: BF16 by BF16, BF16 by E4M3, E4M3 by E4M3.
bool mma_fits(const GemmProblem& p) {
  bool formats = (p.x == Format::bf16 && p.w != Format::f32) || (p.x == Format::e4m3 && p.w == Format::e4m3);
  bool scales = p.w == Format::e4m3 || p.scales == Scales::none || p.scales == Scales::row;
  int64_t columns = p.fused ? p.n / 2 : p.n;
  return p.sm >= 80 && p.aligned && formats && scales && (!p.fused || columns % 64 == 0);
}

int64_t mma_tiles(const GemmProblem& p, int rows) {
  return ceil_div(p.n, 128) * (p.experts > 1 ? p.m / rows + p.experts : ceil_div(p.m, rows));
}
// Sums of one tile of one of the blocks along k: rows x 128 in float32.
bool mma_splits_fit(const GemmProblem& p, int rows, int splits) {
  if (splits == 1) return true;
  int64_t tiles = mma_tiles(p, rows), bytes = tiles * splits * rows * 128 * 4 + kStreamMaxTiles * 4;
  int64_t steps = ceil_div(p.k, p.x == Format::e4m3 ? 128 : 64);
  return tiles <= kStreamMaxTiles && bytes <= int64_t(kGemmWorkspaceBytes) && splits * 2 <= steps;
}

GemmChoice choose_mma(const GemmProblem& p) {
  int64_t rows_each = ceil_div(p.m, p.experts);
  int rows = rows_each <= 32 || (rows_each <= 96 && rows_each % 128 <= 64) ? 32 : 128, splits = 1;
  // Few rows: enough blocks along k that every multiprocessor reads.
  while (splits < 8 && mma_tiles(p, rows) * splits * 2 <= 2 * p.sm_count && mma_splits_fit(p, rows, splits * 2)) splits *= 2;
  return {GemmKernel::mma, {rows, 128, 1}, 0, splits};
}

int64_t stream_tiles(const GemmProblem& p, int tokens) {
  return ceil_div(p.n, 128) * (p.experts > 1 ? p.m / tokens + p.experts : ceil_div(p.m, tokens));
}

// Tile shapes that are built, with the rate each reached on large products relative to the best of its format (measured on an
// H200, docs/notes/cuda-gemm.md); `fused`: also built for silu_mul.
struct TileRow {
  Format format;
  TileShape shape;
  bool fused;
  double rate;
};
constexpr TileRow kTiles[] = {
    {Format::e4m3, {128, 128, 1}, true, 1.00},  {Format::e4m3, {256, 128, 1}, true, 0.70},
    {Format::e4m3, {128, 128, 2}, true, 0.65},  {Format::e4m3, {256, 128, 2}, true, 0.57},
    {Format::bf16, {128, 128, 1}, false, 1.00}, {Format::bf16, {128, 144, 1}, false, 0.95},
    {Format::bf16, {128, 192, 1}, false, 0.73}, {Format::bf16, {128, 216, 1}, false, 0.63},
    {Format::bf16, {128, 256, 1}, false, 0.61}, {Format::bf16, {128, 256, 2}, true, 0.53},
    {Format::bf16, {128, 128, 2}, false, 0.55},
};

// Time of the product in units of one multiprocessor's outputs: whole waves of whole tiles, over the tile's rate.
double tile_cost(const GemmProblem& p, const TileRow& t) {
  int64_t columns = p.fused ? p.n / 2 : p.n, tile_columns = p.fused ? t.shape.columns / 2 : t.shape.columns;
  // Experts get uneven rows: the last tile of each is half empty on average.
  int64_t rows = p.experts > 1 ? (p.m + p.experts * t.shape.rows / 2) / t.shape.rows : ceil_div(p.m, t.shape.rows);
  int64_t clusters = rows * ceil_div(ceil_div(columns, tile_columns), t.shape.cluster);
  int64_t waves = ceil_div(clusters, std::max(1, p.sm_count / t.shape.cluster));
  return double(waves) * t.shape.rows * t.shape.columns / t.rate;
}

// Row tiles walked together: a band of x of at most 16 MB stays in L2 beside the part of W of the same wave of tiles.
int tile_band(const GemmProblem& p, const TileShape& t) {
  int64_t bytes = std::max<int64_t>(t.rows * p.k * format_bytes(p.x), 1);
  return int(std::clamp<int64_t>((int64_t(16) << 20) / bytes, 4, 32));
}

GemmChoice choose_tiles(const GemmProblem& p) {
  const TileRow* best = nullptr;
  for (const TileRow& t : kTiles)
    if (t.format == p.w && (t.fused || !p.fused) && (!best || tile_cost(p, t) < tile_cost(p, *best))) best = &t;
  if (!best) return {};
  return {GemmKernel::tiles, best->shape, tile_band(p, best->shape)};
}

const char* kernel_name(GemmKernel k) {
  constexpr const char* names[] = {"any", "gemv", "stream", "tiles", "mma", "cuBLASLt"};
  return names[int(k)];
}
const char* format_name(Format f) { return f == Format::f32 ? "f32" : f == Format::bf16 ? "bf16" : "e4m3"; }

}  // namespace

int gemv_split(int64_t tasks, int steps, int blocks, int warps) {
  int best = 1;
  double best_share = 0;
  for (int split = 1; split <= warps && split <= steps; split *= 2) {
    int64_t wanted = ceil_div(tasks, warps / split);  // block steps in all
    double share = double(wanted) / double(ceil_div(wanted, blocks) * blocks);
    if (share > best_share * 1.03) best = split, best_share = share;  // joining costs about 3 % a doubling
  }
  return best;
}

GemmChoice choose_gemm(const GemmProblem& p) {
  if (p.scales == Scales::row_block || !p.plain) return {};
  int64_t rows = p.experts > 1 ? ceil_div(p.m, p.experts) : p.m;
  if (gemv_fits(p) && (p.experts == 1 ? p.m <= 2 : p.m <= 8)) return {GemmKernel::gemv, {}, 0};
  // cuBLASLt measured faster from 16 rows on. Its E4M3 mode has been timed but its results not yet compared on a card
  // (gemm_bench check does), so only autotuning, which a user asks for, turns to it.
  if (p.library && p.m >= 16 && p.w == Format::bf16) return {GemmKernel::library, {}, 0};
  if (wgmma_fits(p)) {
    bool few = rows <= 64 || (p.experts == 1 && p.m <= 128 && ceil_div(p.n, 128) * ceil_div(p.m, 128) < p.sm_count);
    int tokens = rows <= 8 ? 8 : rows <= 16 ? 16 : rows <= 32 ? 32 : 64;
    if (few && p.experts <= kStreamMaxExperts && stream_tiles(p, tokens) <= kStreamMaxTiles)
      return {GemmKernel::stream, {0, tokens, 1}, 0};
    GemmChoice tiles = choose_tiles(p);
    if (tiles.kernel == GemmKernel::tiles) return tiles;
  }
  if (gemv_fits(p) && p.experts == 1) return {GemmKernel::gemv, {}, 0};
  if (mma_fits(p)) return choose_mma(p);
  return {};
}

std::vector<GemmChoice> gemm_candidates(const GemmProblem& p) {
  std::vector<GemmChoice> all;
  if (p.scales == Scales::row_block || !p.plain) return {{}};
  if (gemv_fits(p) && (p.experts == 1 || p.m <= 64)) all.push_back({GemmKernel::gemv, {}, 0});
  int64_t rows = ceil_div(p.m, p.experts);
  if (wgmma_fits(p)) {
    for (int tokens : {8, 16, 32, 64})
      if (rows <= 4 * tokens && (tokens == 8 || rows > tokens / 4) && p.experts <= kStreamMaxExperts &&
          stream_tiles(p, tokens) <= kStreamMaxTiles)
        all.push_back({GemmKernel::stream, {0, tokens, 1}, 0});
    if (rows > 16 || all.empty() || all.back().kernel != GemmKernel::stream)
      for (const TileRow& t : kTiles)
        if (t.format == p.w && (t.fused || !p.fused)) all.push_back({GemmKernel::tiles, t.shape, tile_band(p, t.shape)});
  }
  if (mma_fits(p) && (!wgmma_fits(p) || rows <= 64))
    for (int r : {32, 128})
      for (int splits : {1, 2, 4, 8})
        if (mma_splits_fit(p, r, splits) && (r == 32 ? rows <= 256 : rows > 16))
          all.push_back({GemmKernel::mma, {r, 128, 1}, 0, splits});
  if (p.library && rows >= 16) all.push_back({GemmKernel::library, {}, 0});
  if (all.empty()) all.push_back({});
  return all;
}

std::string describe(const GemmProblem& p, const GemmChoice& c) {
  std::string s = std::string(format_name(p.x)) + " x " + format_name(p.w) + " m " + std::to_string(p.m) + " n " +
                  std::to_string(p.n) + " k " + std::to_string(p.k);
  if (p.experts > 1) s += " experts " + std::to_string(p.experts);
  if (p.fused) s += " silu_mul";
  s += std::string(": ") + kernel_name(c.kernel);
  if (c.kernel == GemmKernel::stream) s += " of " + std::to_string(c.tile.columns) + " tokens";
  if (c.kernel == GemmKernel::mma) s += " of " + std::to_string(c.tile.rows) + " rows, " + std::to_string(c.splits) + " along k";
  if (c.kernel == GemmKernel::tiles)
    s += " " + std::to_string(c.tile.rows) + "x" + std::to_string(c.tile.columns) + " cluster " +
         std::to_string(c.tile.cluster) + " band " + std::to_string(c.band);
  return s;
}

}  // namespace vl8::cuda
