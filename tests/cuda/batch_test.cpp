// How a step is laid out for the device: host logic.
#include "cuda/batch.h"

#include <gtest/gtest.h>

namespace vl8::cuda {
namespace {

TEST(Batch, LaysOutSlotsRowsAndTiles) {
  const std::vector<int32_t> pages_a{5, 2}, pages_b{7, 1, 3};
  const std::vector<int32_t> ids(142, 9), positions(3 * 142, 4), logits{1, 141};
  const std::vector<SequenceView> sequences{{0, 2, 6, pages_a.data()}, {2, 140, 140, pages_b.data()}};
  HostStep step;
  lay_out_step({ids, positions.data(), sequences, {}, logits}, 64, step);
  const StepLayout& l = step.layout;
  EXPECT_EQ(l.tokens, 142);
  EXPECT_EQ(l.decode_count, 2);
  EXPECT_EQ(l.tile_count, 2);
  EXPECT_EQ(l.logit_count, 2);
  EXPECT_EQ(step.at<int32_t>(l.kv_slot)[0], 5 * 64 + 4);        // key 4 of the first sequence
  EXPECT_EQ(step.at<int32_t>(l.kv_slot)[2 + 64], 1 * 64 + 0);   // key 64 of the second is the first of its second page
  EXPECT_EQ(step.at<int32_t>(l.row_seq)[1], 0);
  EXPECT_EQ(step.at<int32_t>(l.row_seq)[2], 1);
  EXPECT_EQ(step.at<int32_t>(l.decode_rows)[1], 1);
  EXPECT_EQ(step.at<QueryTile>(l.tiles)[0].row, 128);  // the tile that sees more keys comes first
  EXPECT_EQ(step.at<SeqMeta>(l.seqs)[1].page_begin, 1);
  EXPECT_EQ(step.at<int32_t>(l.pages)[1], 7);
}

// A recorded step reads the same places while its sequences grow.
TEST(Batch, PlacesDependOnTheNumberOfTokensAlone) {
  const std::vector<int32_t> pages(40, 3), ids{1, 2}, positions(6), rows{0, 1};
  HostStep step;
  auto layout = [&](int32_t kv) {
    const std::vector<SequenceView> s{{0, 1, kv, pages.data()}, {1, 1, 2 * kv, pages.data()}};
    lay_out_step({ids, positions.data(), s, {}, rows}, 64, step);
    return step.layout;
  };
  const StepLayout a = layout(10), b = layout(1000);
  EXPECT_EQ(a.pages, b.pages);
  EXPECT_EQ(a.seqs, b.seqs);
  EXPECT_EQ(a.decode_rows, b.decode_rows);
  EXPECT_LT(a.bytes, b.bytes);
}

}  // namespace
}  // namespace vl8::cuda
