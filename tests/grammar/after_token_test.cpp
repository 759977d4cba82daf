#include "grammar/after_token.h"

#include <gtest/gtest.h>

#include <vector>

namespace vl8 {
namespace {

// Allows one token, `only`, then the end token 1.
class OneToken : public TokenConstraint {
 public:
  explicit OneToken(int32_t only) : only_(only) {}
  bool fill_mask(std::span<uint32_t> bits) override {
    std::fill(bits.begin(), bits.end(), 0u);
    const int32_t t = said_ ? 1 : only_;
    bits[size_t(t) / 32] |= 1u << (t % 32);
    return true;
  }
  void accept(int32_t) override { said_ = true; }
  bool can_end() const override { return said_; }
  bool must_end() const override { return said_; }
  void set_budget(int64_t tokens) override { budget = tokens; }
  std::unique_ptr<TokenConstraint> clone() const override { return std::make_unique<OneToken>(*this); }
  int64_t budget = -1;

 private:
  int32_t only_;
  bool said_ = false;
};

std::vector<int32_t> allowed(TokenConstraint& c, int32_t tokens) {
  std::vector<uint32_t> bits(size_t(tokens + 31) / 32 + 1, 0xdeadbeef);  // one word more than needed: padding rows
  EXPECT_TRUE(c.fill_mask(bits));
  std::vector<int32_t> out;
  for (size_t i = 0; i < bits.size() * 32; ++i)
    if (bits[i / 32] >> (i % 32) & 1) out.push_back(int32_t(i));
  return out;
}

TEST(AfterToken, ReasoningIsFreeButMayNotEnd) {
  AfterToken c(7, {1}, 40, -1, std::make_unique<OneToken>(3));
  auto free = allowed(c, 40);
  EXPECT_EQ(free.size(), 39u);  // all of 40 but the end token, and no padding row
  EXPECT_EQ(std::count(free.begin(), free.end(), 1), 0);
  EXPECT_FALSE(c.can_end());
  c.accept(5);
  c.accept(7);
  EXPECT_EQ(allowed(c, 40), std::vector<int32_t>{3});
  auto copy = c.clone();
  c.accept(3);
  EXPECT_TRUE(c.must_end());
  EXPECT_FALSE(copy->can_end());
  EXPECT_EQ(allowed(c, 40), std::vector<int32_t>{1});
}

TEST(AfterToken, LimitAndBudgetCloseTheReasoning) {
  AfterToken limited(7, {1}, 40, 2, std::make_unique<OneToken>(3));
  limited.accept(5);
  EXPECT_EQ(allowed(limited, 40).size(), 39u);
  limited.accept(5);
  EXPECT_EQ(allowed(limited, 40), std::vector<int32_t>{7});

  auto inner = std::make_unique<OneToken>(3);
  OneToken* seen = inner.get();
  AfterToken budgeted(7, {1}, 40, -1, std::move(inner));
  budgeted.set_budget(4);  // two for reasoning
  budgeted.accept(5);
  budgeted.accept(5);
  EXPECT_EQ(allowed(budgeted, 40), std::vector<int32_t>{7});
  budgeted.accept(7);
  EXPECT_EQ(seen->budget, 1);
}

}  // namespace
}  // namespace vl8
