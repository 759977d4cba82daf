// The batching engine on a model that checks every page it is given (fake_model.h): sharing, preemption, cancelling,
// failures, and a random mixture of everything in which each answer must still be the one its prompt gets alone.
#include "engine/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "byte_tokenizer.h"
#include "engine/invariant_model.h"
#include "fake_model.h"

namespace vl8 {
namespace {
using testing::FakeModel;
using testing::FakePrompt;
using testing::kFakeEnd;

struct Outcome {
  std::vector<int32_t> tokens;
  GenerationEvent last;
  int done = 0;
};

class Bench {
 public:
  Bench(int64_t pages, int64_t page_tokens, ServiceOptions o = {}, bool invariant = false) : tokenizer_(testing::byte_tokenizer()) {
    auto fake = std::make_unique<FakeModel>(pages, page_tokens);
    model = fake.get();
    std::unique_ptr<StepModel> m = std::move(fake);
    if (invariant) m = std::make_unique<InvariantModel>(std::move(m));
    batcher = std::make_unique<Batcher>(std::move(m), GenerationRules{&tokenizer_, {kFakeEnd}, {1}}, o, invariant ? InvariantModel::kLeastChunk : 0);
  }
  uint64_t add(Prompt prompt, int64_t max_tokens, std::string salt = "", int32_t priority = 0) {
    GenerationRequest r;
    r.prompt = std::move(prompt), r.max_tokens = max_tokens, r.cache_salt = std::move(salt), r.priority = priority;
    return add(std::move(r));
  }
  uint64_t add(GenerationRequest r) {
    const uint64_t id = next_++;
    batcher->add(id, std::move(r), [this, id](GenerationEvent e) {
      Outcome& o = out[id];
      EXPECT_EQ(o.done, 0) << "an event after the last one";
      for (const SampledToken& t : e.tokens) o.tokens.push_back(t.token);
      o.done += e.done;
      o.last = std::move(e);
    });
    return id;
  }
  void run(int most_steps = 100000) {
    while (batcher->step()) ASSERT_GT(most_steps--, 0) << "requests that never end";
  }
  void expect_all_pages_free() { EXPECT_EQ(model->pool().free_pages(), model->pool().pages()); }

  FakeModel* model;
  std::unique_ptr<Batcher> batcher;
  std::map<uint64_t, Outcome> out;

 private:
  Tokenizer tokenizer_;
  uint64_t next_ = 1;
};

Prompt text(int64_t n, uint64_t seed) {
  FakePrompt p;
  p.text(n, seed);
  return p.build();
}
Prompt picture(int64_t before, uint64_t content, int64_t after, uint64_t seed = 5) {
  FakePrompt p;
  p.text(before, seed);
  p.image(4, 4, content);
  p.text(after, seed + 1);
  return p.build();
}

TEST(Batcher, ManyAnswersAtOnce) {
  Bench b(200, 8);
  std::map<uint64_t, std::vector<int32_t>> want;
  for (uint64_t i = 0; i < 20; ++i) {
    Prompt p = text(3 + int64_t(i) * 7, i);
    auto answer = testing::true_answer(p, 40);
    want[b.add(std::move(p), 40)] = answer;
  }
  b.run();
  for (auto& [id, tokens] : want) {
    EXPECT_EQ(b.out[id].tokens, tokens);
    EXPECT_EQ(b.out[id].last.finish, tokens.back() == kFakeEnd ? Finish::stop : Finish::length);
  }
  b.expect_all_pages_free();
}

TEST(Batcher, ASharedBeginningIsComputedOnce) {
  Bench b(100, 8);
  Prompt p = text(100, 1);
  b.add(p, 4);
  b.run();
  const int64_t rows = b.model->rows;
  const uint64_t second = b.add(p, 4);
  b.run();
  EXPECT_EQ(b.out[second].last.usage.cached_tokens, 96);
  EXPECT_LE(b.model->rows - rows, 4 + 4);
  EXPECT_EQ(b.out[second].tokens, testing::true_answer(p, 4));
}

TEST(Batcher, SamplesOfOnePromptShareIt) {  // n > 1: submitted together, before anything is computed
  Bench b(200, 8);
  Prompt p = picture(40, 1, 40);
  for (int i = 0; i < 8; ++i) b.add(p, 4);
  b.run();
  EXPECT_LT(b.model->rows, 96 + 7 * (8 + 4) + 4);
  EXPECT_EQ(b.model->encoded, 1);
  for (auto& [id, o] : b.out) EXPECT_EQ(o.tokens, testing::true_answer(p, 4));
}

TEST(Batcher, TwoPicturesOfEqualSizeNeverShare) {
  Bench b(200, 8);
  const Prompt one = picture(20, 1, 20), two = picture(20, 2, 20);
  ASSERT_EQ(one.ids, two.ids);
  ASSERT_EQ(one.positions.axes, two.positions.axes);
  const uint64_t a = b.add(one, 8);
  b.run();
  const uint64_t c = b.add(two, 8), again = b.add(one, 8);
  b.run();
  EXPECT_EQ(b.out[a].tokens, testing::true_answer(one, 8));
  EXPECT_EQ(b.out[c].tokens, testing::true_answer(two, 8));
  EXPECT_EQ(b.out[again].tokens, testing::true_answer(one, 8));
  EXPECT_EQ(b.out[c].last.usage.cached_tokens, 16);  // the text before the picture
  EXPECT_GT(b.out[again].last.usage.cached_tokens, 40);
  EXPECT_EQ(b.model->encoded, 2);
}

TEST(Batcher, PicturesWithoutAHashAreToldApartByTheirPixels) {
  Bench b(100, 8);
  auto with_pixels = [](float value) {
    FakePrompt p;
    p.image(2, 2, 0);
    p.images[0].hash = {};
    auto patches = std::make_shared<PatchBuffer>(DType::f32, 16, 4);
    std::fill_n(static_cast<float*>(patches->data()), 64, value);
    p.images[0].patches = patches;
    p.text(30, 3);
    return p.build();
  };
  b.add(with_pixels(1), 2);
  b.run();
  const uint64_t other = b.add(with_pixels(2), 2);
  b.run();
  EXPECT_EQ(b.out[other].last.usage.cached_tokens, 0);
  EXPECT_EQ(b.model->encoded, 2);
}

TEST(Batcher, SaltsKeepCachesApart) {
  Bench b(200, 8);
  Prompt p = picture(20, 1, 60);
  b.add(p, 2, "alice");
  b.run();
  const uint64_t other = b.add(p, 2, "bob"), same = b.add(p, 2, "alice");
  b.run();
  EXPECT_EQ(b.out[other].last.usage.cached_tokens, 0);
  EXPECT_EQ(b.out[other].last.usage.visuals_cached, 0);
  EXPECT_GT(b.out[same].last.usage.cached_tokens, 80);
}

TEST(Batcher, PagesRunOutAndEveryAnswerIsStillRight) {
  Bench b(12, 8);
  std::vector<std::pair<uint64_t, std::vector<int32_t>>> want;
  for (uint64_t i = 0; i < 6; ++i) {
    Prompt p = text(24, 100 + i);
    auto answer = testing::true_answer(p, 60);
    want.emplace_back(b.add(std::move(p), 60), answer);
  }
  b.run();
  int64_t preemptions = 0;
  for (auto& [id, tokens] : want) {
    EXPECT_EQ(b.out[id].tokens, tokens);
    preemptions += b.out[id].last.usage.preemptions;
  }
  EXPECT_GT(preemptions, 0);
  EXPECT_EQ(b.batcher->stats().preemptions, preemptions);
  b.expect_all_pages_free();
}

TEST(Batcher, CancelGivesPagesBackAtOnce) {
  Bench b(50, 8);
  const uint64_t a = b.add(text(40, 1), 1000000), c = b.add(text(40, 2), 3);
  for (int i = 0; i < 3; ++i) b.batcher->step();
  b.batcher->cancel(a);
  b.batcher->cancel(a);
  b.batcher->cancel(999);
  EXPECT_EQ(b.out[a].last.finish, Finish::cancelled);
  EXPECT_EQ(b.out[a].done, 1);
  b.run();
  EXPECT_EQ(b.out[c].done, 1);
  b.expect_all_pages_free();
}

TEST(Batcher, DeadlineEndsItWithWhatItHas) {
  Bench b(50, 8);
  GenerationRequest r;
  r.prompt = text(10, 3), r.max_tokens = 100, r.ignore_end = true;
  r.deadline = SteadyClock::now() + std::chrono::hours(1);
  const uint64_t a = b.add(std::move(r));
  r = {};
  r.prompt = text(10, 4), r.max_tokens = 100;
  r.deadline = SteadyClock::now() - std::chrono::seconds(1);
  const uint64_t late = b.add(std::move(r));
  b.run();
  EXPECT_EQ(b.out[a].last.finish, Finish::length);
  EXPECT_EQ(b.out[late].last.finish, Finish::deadline);
  EXPECT_TRUE(b.out[late].tokens.empty());
  EXPECT_EQ(b.batcher->stats().expired, 1);
}

TEST(Batcher, AFailedStepFailsItsRequestsAndNoOthers) {
  Bench b(50, 8);
  const uint64_t a = b.add(text(10, 1), 50);
  b.batcher->step();
  b.model->fail_in = 1;
  b.batcher->step();
  EXPECT_EQ(b.out[a].last.finish, Finish::error);
  ASSERT_TRUE(b.out[a].last.error);
  EXPECT_EQ(b.out[a].last.error->message, "the device went away");
  b.expect_all_pages_free();
  Prompt p = text(10, 1);
  const uint64_t c = b.add(p, 5);
  b.run();
  EXPECT_EQ(b.out[c].tokens, testing::true_answer(p, 5));
}

TEST(Batcher, APictureThatFailsEndsItsRequestAlone) {
  Bench b(50, 8);
  b.model->fail_encoding_in = 1;
  const uint64_t bad = b.add(picture(10, 1, 10), 5), good = b.add(text(10, 1), 5);
  b.run();
  EXPECT_EQ(b.out[bad].last.finish, Finish::error);
  EXPECT_EQ(b.out[bad].last.error->message, "the picture is too large");
  EXPECT_EQ(b.out[good].tokens, testing::true_answer(text(10, 1), 5));
  b.expect_all_pages_free();
}

// The tower runs a block at a time while a stream answers, and the stream gets a token each step.
TEST(Batcher, APictureDoesNotStopAStream) {
  Bench b(100, 8);
  GenerationRequest r;
  r.prompt = text(8, 1), r.max_tokens = 60, r.ignore_end = true;
  const uint64_t stream = b.add(std::move(r));
  b.batcher->step();
  const uint64_t with_picture = b.add(picture(4, 1, 4), 2);
  for (int i = 0; i < 3; ++i) {
    const size_t before = b.out[stream].tokens.size();
    EXPECT_EQ(b.model->encoded, 0);
    b.batcher->step();
    ASSERT_EQ(b.out[stream].tokens.size(), before + 1);
  }
  EXPECT_EQ(b.model->encoded, 1);
  b.batcher->cancel(with_picture);
  b.run();
}

TEST(Batcher, AFeatureSlotIsFilledAndUsed) {
  Bench b(100, 8);
  Prompt p = picture(4, 1, 4);
  p.visuals[0].slot = std::make_shared<FeatureSlot>();
  b.add(p, 2, "one");
  b.run();
  ASSERT_TRUE(p.visuals[0].slot->features);
  b.add(p, 2, "two");  // another salt: nothing comes from the caches
  b.run();
  EXPECT_EQ(b.model->encoded, 1);
}

TEST(Batcher, PooledPromptsGiveAVectorOfLengthOne) {
  Bench b(50, 8);
  GenerationRequest r;
  r.prompt = text(30, 1), r.pooled = true;
  const uint64_t a = b.add(std::move(r));
  const uint64_t c = b.add(text(12, 9), 3);
  b.run();
  ASSERT_EQ(b.out[a].last.embedding.size(), 2u);
  EXPECT_NEAR(std::hypot(b.out[a].last.embedding[0], b.out[a].last.embedding[1]), 1, 1e-6);
  EXPECT_EQ(b.out[c].tokens, testing::true_answer(text(12, 9), 3));
  b.expect_all_pages_free();
}

TEST(Batcher, ALongPromptDoesNotStopAStream) {
  ServiceOptions o;
  o.step_tokens = 32, o.step_target_ms = 0;
  Bench b(400, 8, o);
  GenerationRequest r;
  r.prompt = text(8, 1), r.max_tokens = 60, r.ignore_end = true;
  const uint64_t stream = b.add(std::move(r));
  b.batcher->step();
  b.add(text(1000, 2), 2);
  for (int i = 0; i < 20; ++i) {
    const size_t before = b.out[stream].tokens.size();
    b.batcher->step();
    ASSERT_EQ(b.out[stream].tokens.size(), before + 1);
  }
  b.run();
}

// Everything at once, at random: shared beginnings, equal sizes with different pictures, salts, priorities, cancels, few
// pages. Whatever happens, who finishes has the answer of its prompt, everyone ends, and no page is lost.
void random_life(bool invariant, bool prefix_cache, uint64_t seed) {
  SCOPED_TRACE(seed);
  std::mt19937_64 rng(seed);
  auto below = [&](int64_t n) { return int64_t(rng() % uint64_t(n)); };
  ServiceOptions o;
  o.max_running = 1 + below(8), o.step_tokens = 1 + below(60), o.step_target_ms = double(below(2)), o.prefix_cache = prefix_cache;
  o.vision_cache_bytes = below(3) * 500, o.ageing_s = 0.001;
  const int64_t pages = 24 + below(40), page_tokens = 4 + below(8);
  Bench b(pages, page_tokens, o, invariant);
  std::map<uint64_t, std::vector<int32_t>> want;
  std::vector<uint64_t> open;
  int left = 60;
  for (int steps = 0; left > 0 || !b.batcher->idle(); ++steps) {
    ASSERT_LT(steps, 200000) << "requests that never end";
    while (left > 0 && below(3) == 0) {
      --left;
      FakePrompt p;
      p.text(below(3) * 10, 1);  // one of few beginnings
      if (below(2)) p.image(1 + below(3), 2, uint64_t(below(3)));
      p.text(below(25), uint64_t(below(3)));
      if (below(3) == 0) p.image(2, 2, uint64_t(below(3)));
      p.text(1 + below(10), uint64_t(below(4)));
      Prompt prompt = p.build();
      const int64_t room = pages * page_tokens - int64_t(prompt.ids.size());
      if (room < 1) continue;
      const int64_t most = 1 + below(std::min<int64_t>(room, 50));
      auto answer = testing::true_answer(prompt, most);
      const uint64_t id = b.add(std::move(prompt), most, below(4) ? "" : "salt", int32_t(below(3)));
      want[id] = answer;
      open.push_back(id);
    }
    if (!open.empty() && below(12) == 0) b.batcher->cancel(open[size_t(below(int64_t(open.size())))]);
    b.batcher->step();
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
  for (auto& [id, tokens] : want) {
    const Outcome& out = b.out[id];
    ASSERT_EQ(out.done, 1);
    if (out.last.finish == Finish::cancelled) {
      ASSERT_LE(out.tokens.size(), tokens.size());
      tokens.resize(out.tokens.size());
    } else {
      ASSERT_NE(out.last.finish, Finish::error) << out.last.error->message;
    }
    ASSERT_EQ(out.tokens, tokens);
  }
  b.expect_all_pages_free();
  EXPECT_EQ(b.batcher->stats().queued_bytes, 0);
}

TEST(Batcher, RandomLife) {
  const uint64_t seed = std::random_device{}();
  for (uint64_t i = 0; i < 60; ++i) random_life(false, i % 4 != 0, seed + i);
}
TEST(Batcher, RandomLifeBatchInvariant) {
  const uint64_t seed = std::random_device{}();
  for (uint64_t i = 0; i < 60; ++i) random_life(true, i % 4 != 0, seed + i);
}

}  // namespace
}  // namespace vl8
