// Tile choice and its cache: plain host code, no GPU and no toolkit.
#include <gtest/gtest.h>

#include "cuda/choose/gemm_table.h"

namespace vl8::cuda {
namespace {

GemmProblem fp8(int64_t m, int64_t n, int64_t k, int sm = 90) {
  return {sm, 132, m, n, k, 1, Format::e4m3, Format::e4m3, Format::bf16, Scales::block};
}
GemmProblem bf16(int64_t m, int64_t n, int64_t k, int sm = 90) {
  return {sm, 132, m, n, k, 1, Format::bf16, Format::bf16, Format::bf16, Scales::none};
}

TEST(GemmChoice, FewRowsStreamWeightsManyRowsTile) {
  EXPECT_EQ(choose_gemm(fp8(1, 4096, 4096)).kernel, GemmKernel::gemv);
  EXPECT_EQ(choose_gemm(fp8(16, 24576, 4096)).kernel, GemmKernel::stream);
  EXPECT_EQ(choose_gemm(fp8(64, 24576, 4096)).tile.columns, 64);
  EXPECT_EQ(choose_gemm(fp8(4096, 24576, 4096)).kernel, GemmKernel::tiles);
  EXPECT_EQ(choose_gemm(fp8(4096, 24576, 4096)).tile.rows, 128);
  EXPECT_EQ(choose_gemm(fp8(4096, 24576, 4096, 89)).kernel, GemmKernel::mma);
  EXPECT_EQ(choose_gemm(bf16(4096, 4096, 4096, 80)).kernel, GemmKernel::mma);
}

// 1152 = 8 x 144: 256 tiles of 144 columns fill two waves of 132, 288 of 128 need three.
TEST(GemmChoice, TileWidthFillsTheWaves) { EXPECT_EQ(choose_gemm(bf16(4096, 1152, 1152)).tile.columns, 144); }

TEST(GemmChoice, CublasLtWhereItIsThereAndTakesTheProduct) {
  GemmProblem p = bf16(4096, 4096, 4096);
  p.library = true;
  EXPECT_EQ(choose_gemm(p).kernel, GemmKernel::library);
  p.m = 2;
  EXPECT_EQ(choose_gemm(p).kernel, GemmKernel::gemv);
}

TEST(GemmChoice, OddProductsGoToThePlainKernel) {
  GemmProblem p = fp8(100, 320, 192);
  p.scales = Scales::row_block;
  EXPECT_EQ(choose_gemm(p).kernel, GemmKernel::any);
  p = fp8(100, 320, 192);
  p.aligned = false;
  EXPECT_EQ(choose_gemm(p).kernel, GemmKernel::any);
  p = bf16(100, 320, 192);
  p.x = Format::f32;
  EXPECT_EQ(choose_gemm(p).kernel, GemmKernel::any);
  p = fp8(100, 200, 256);
  p.fused = true;  // 100 gate rows: not whole halves of a tile
  EXPECT_EQ(choose_gemm(p).kernel, GemmKernel::any);
}

TEST(GemmChoice, RulesChooseOnlyCandidates) {
  for (int sm : {80, 87, 89, 90, 120})
    for (int64_t m : {1, 3, 8, 40, 64, 100, 300, 5000})
      for (int64_t n : {512, 6144, 24576})
        for (int64_t experts : {1, 16, 128})
          for (bool fused : {false, true})
            for (GemmProblem p : {fp8(m, n, 2048, sm), bf16(m, n, 2048, sm)}) {
              p.experts = experts, p.fused = fused;
              auto all = gemm_candidates(p);
              ASSERT_FALSE(all.empty());
              GemmChoice c = choose_gemm(p);
              EXPECT_NE(std::find(all.begin(), all.end(), c), all.end()) << describe(p, c);
              if (c.kernel == GemmKernel::stream || c.kernel == GemmKernel::tiles) EXPECT_EQ(sm, 90);
            }
}

TEST(GemmChoice, GemvSplitBalances) {
  EXPECT_EQ(gemv_split(100000, 8, 264, 16), 1);   // tasks enough
  EXPECT_EQ(gemv_split(1024, 8, 264, 16), 4);     // 256 blocks of 264
  EXPECT_LE(gemv_split(4, 2, 264, 16), 2);        // never more warps than steps
}

TEST(GemmTable, KeepsChoicesThroughText) {
  GemmTable table;
  GemmProblem p = fp8(1000, 4096, 4096);
  GemmChoice c{GemmKernel::tiles, {128, 128, 2}, 32};
  auto all = gemm_candidates(p);
  c = *std::find_if(all.begin(), all.end(), [](const GemmChoice& x) { return x.tile.rows == 128 && x.kernel == GemmKernel::tiles; });
  table.set(p, c);
  GemmTable again = GemmTable::parse(table.text("card"), "card", 90, 132);
  EXPECT_EQ(again.size(), 1u);
  EXPECT_EQ(again.choose(fp8(900, 4096, 4096)), c);  // same bucket
  EXPECT_EQ(again.choose(fp8(9000, 4096, 4096)), c);  // more rows than were measured
  EXPECT_EQ(again.choose(fp8(16, 4096, 4096)), choose_gemm(fp8(16, 4096, 4096)));
}

TEST(GemmTable, RefusesWhatItCannotTrust) {
  GemmTable table;
  table.set(fp8(1, 4096, 4096), {GemmKernel::gemv, {}, 0});
  std::string text = table.text("card");
  EXPECT_EQ(GemmTable::parse(text, "other card", 90, 132).size(), 0u);
  EXPECT_EQ(GemmTable::parse("", "card", 90, 132).size(), 0u);
  std::string head = text.substr(0, text.find('\n') + 1);
  EXPECT_EQ(GemmTable::parse(head + "1 4096 4096 1 2 2 1 2 0 9 0 0 1 0 1\n", "card", 90, 132).size(), 0u);   // no such kernel
  EXPECT_EQ(GemmTable::parse(head + "1 4096 4096 1 7 2 1 2 0 1 0 0 1 0 1\n", "card", 90, 132).size(), 0u);   // no such format
  EXPECT_EQ(GemmTable::parse(head + "4096 4096 4096 1 2 2 1 2 0 1 0 0 1 0 1\n", "card", 90, 132).size(), 0u);  // gemv of 4096 rows
  EXPECT_EQ(GemmTable::parse(head + "junk\n", "card", 90, 132).size(), 0u);
}

TEST(GemmTable, Buckets) {
  EXPECT_EQ(GemmTable::bucket(1), 1);
  EXPECT_EQ(GemmTable::bucket(3), 4);
  EXPECT_EQ(GemmTable::bucket(4096), 4096);
  EXPECT_EQ(GemmTable::bucket(100000), 32768);
}

}  // namespace
}  // namespace vl8::cuda
