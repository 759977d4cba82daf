// One answer's limits: reasoning budgets that leave room, constraints that begin after the reasoning, ends.
#include "engine/generation.h"

#include <gtest/gtest.h>

#include "byte_tokenizer.h"

namespace vl8 {
namespace {

constexpr int32_t kEnd = 256, kClose = 1, kVocab = 257;

// Allows the bytes of `text` one after another, then the end.
class Spelled : public TokenConstraint {
 public:
  explicit Spelled(std::string text, int64_t* budget = nullptr) : text_(std::move(text)), budget_(budget) {}
  bool fill_mask(std::span<uint32_t> bits) override {
    std::fill(bits.begin(), bits.end(), 0u);
    const size_t t = can_end() ? size_t(kEnd) : size_t(static_cast<unsigned char>(text_[at_]));
    bits[t / 32] |= 1u << (t % 32);
    return true;
  }
  void accept(int32_t token) override {
    ASSERT_EQ(token, int32_t(static_cast<unsigned char>(text_[at_])));
    ++at_;
  }
  bool can_end() const override { return at_ == text_.size(); }
  bool must_end() const override { return can_end(); }
  void set_budget(int64_t tokens) override {
    if (budget_) *budget_ = tokens;
  }
  std::unique_ptr<TokenConstraint> clone() const override { return std::make_unique<Spelled>(*this); }

 private:
  std::string text_;
  int64_t* budget_;
  size_t at_ = 0;
};

struct Result {
  std::string text, reasoning;
  Finish finish;
  int64_t tokens, reasoned;
};

// The model would always say 'x'.
Result generate(GenerationRequest r, const std::string& close, char says = 'x') {
  Tokenizer t = testing::byte_tokenizer();
  GenerationRules rules{&t, {kEnd}, {}};
  for (char c : close) rules.close_thinking.push_back(static_cast<unsigned char>(c));
  std::vector<int32_t> prompt{1, 2, 3};
  Generation g(r, rules, prompt);
  std::vector<float> logits(size_t(kVocab), 0.0f);
  logits[size_t(says)] = 3;
  Result out{};
  for (bool done = false; !done;) {
    GenerationEvent e = g.next(logits);
    out.text += e.delta.text, out.reasoning += e.delta.reasoning;
    done = e.done, out.finish = e.finish;
  }
  out.tokens = g.answer_tokens(), out.reasoned = g.reasoning_tokens();
  return out;
}

TEST(Generation, EndsAtItsLimit) {
  GenerationRequest r;
  r.max_tokens = 5;
  Result out = generate(std::move(r), "</think>");
  EXPECT_EQ(out.text, "xxxxx");
  EXPECT_EQ(out.finish, Finish::length);
}

TEST(Generation, ReasoningIsClosedWhenItsBudgetIsUsedUp) {
  GenerationRequest r;
  r.max_tokens = 40, r.starts_thinking = true, r.thinking_budget = 6;
  Result out = generate(std::move(r), "</think>");
  EXPECT_EQ(out.reasoning, "xxxxxx");
  EXPECT_EQ(out.text, std::string(40 - 6 - 8, 'x'));
  r = {};
  r.max_tokens = 40, r.starts_thinking = true, r.thinking_budget = 1000;  // more than there is: a quarter stays
  out = generate(std::move(r), "</think>");
  EXPECT_EQ(out.reasoning.size(), 40u - 10 - 8);
  EXPECT_EQ(out.text.size(), 10u);
  r = {};
  r.max_tokens = 20, r.starts_thinking = true, r.thinking_budget = 0;
  EXPECT_EQ(generate(std::move(r), "</think>").reasoning, "");
}

TEST(Generation, AConstraintBeginsAfterTheReasoning) {
  int64_t budget = 0;
  GenerationRequest r;
  r.max_tokens = 60, r.starts_thinking = true;
  r.constraint = std::make_unique<Spelled>("{\"a\":1}", &budget);
  Result out = generate(std::move(r), "</think>");
  EXPECT_EQ(out.reasoning, std::string(22, 'x'));  // half, less the eight of </think>
  EXPECT_EQ(out.text, "{\"a\":1}");
  EXPECT_EQ(out.finish, Finish::stop);
  EXPECT_EQ(budget, 30);
  r = {};
  r.max_tokens = 60;
  r.constraint = std::make_unique<Spelled>("[]");
  out = generate(std::move(r), "</think>");
  EXPECT_EQ(out.text, "[]");
  EXPECT_EQ(out.reasoning, "");
}

TEST(Generation, ReasoningCannotEndTheAnswerBeforeItsStructure) {
  GenerationRequest r;
  r.max_tokens = 40, r.starts_thinking = true, r.ignore_end = false;
  r.constraint = std::make_unique<Spelled>("[1]");
  Tokenizer t = testing::byte_tokenizer();
  GenerationRules rules{&t, {kEnd}, {'<', '/', 't', 'h', 'i', 'n', 'k', '>'}};
  Generation g(r, rules, std::vector<int32_t>{1});
  std::vector<float> logits(size_t(kVocab), 0.0f);
  logits[kEnd] = 9;  // the model wants to end at once
  std::string text;
  for (bool done = false; !done;) {
    GenerationEvent e = g.next(logits);
    text += e.delta.text, done = e.done;
  }
  EXPECT_EQ(text, "[1]");
}

TEST(Generation, EndTokensAndIgnoreEnd) {
  Tokenizer t = testing::byte_tokenizer();
  GenerationRules rules{&t, {kEnd}, {kClose}};
  std::vector<float> logits(size_t(kVocab), 0.0f);
  logits[kEnd] = 9;
  GenerationRequest r;
  r.max_tokens = 3;
  Generation ends(r, rules, std::vector<int32_t>{1});
  EXPECT_EQ(ends.next(logits).finish, Finish::stop);
  r = {};
  r.max_tokens = 3, r.ignore_end = true;
  Generation goes_on(r, rules, std::vector<int32_t>{1});
  EXPECT_FALSE(goes_on.next(logits).done);
  EXPECT_FALSE(goes_on.next(logits).done);
  EXPECT_EQ(goes_on.next(logits).finish, Finish::length);
}

}  // namespace
}  // namespace vl8
