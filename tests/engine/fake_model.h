// A model without weights for tests of the batching engine. Its "keys" are a digest of all that a token's keys may depend
// on, stored in the pages it is given and read back through them, so that a page which was shared wrongly, given away too
// early or written while others read it changes the answer or fails at once. The next token is a function of what was read.
#pragma once
#include <gtest/gtest.h>

#include <cstring>

#include "engine/batcher.h"

namespace vl8::testing {

inline uint64_t mix(uint64_t h, uint64_t v) {
  h ^= v + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
  h *= 0xff51afd7ed558ccdull;
  return h ^ (h >> 33);
}

constexpr int64_t kFakeVocab = 300;
constexpr int32_t kFakeEnd = 299;

// What stands at token i of a sequence, by the sequence itself.
inline uint64_t token_digest(const Sequence& s, int64_t i) {
  uint64_t h = mix(uint64_t(s.tokens[size_t(i)]), 1);
  for (int64_t axis = 0; axis < 3; ++axis) h = mix(h, uint64_t(position_of(s.prompt, axis, i)));
  for (size_t r = 0; r < s.prompt.runs.size(); ++r) {
    const VisualRun& run = s.prompt.runs[r];
    if (i < run.begin || i >= run.begin + run.tokens()) continue;
    const Prompt::RunSource& source = s.prompt.sources[r];
    const ContentHash& hash = s.prompt.visuals[source.visual].hash;
    h = mix(mix(mix(h, hash.low), hash.high), uint64_t(source.first_row + i - run.begin));
  }
  return h;
}

inline int32_t next_token(uint64_t h) { return h % 37 == 0 ? kFakeEnd : int32_t(h % 256); }

// The answer that a prompt must get, without any pages.
inline std::vector<int32_t> true_answer(const Prompt& prompt, int64_t max_tokens) {
  Sequence s(prompt);
  uint64_t h = 0;
  for (int64_t i = 0; i < s.prompt_tokens(); ++i) h = mix(h, token_digest(s, i));
  std::vector<int32_t> out;
  while (int64_t(out.size()) < max_tokens) {
    out.push_back(next_token(h));
    if (out.back() == kFakeEnd) break;
    s.tokens.push_back(out.back());
    h = mix(h, token_digest(s, int64_t(s.tokens.size()) - 1));
  }
  return out;
}

class FakeModel : public StepModel {
 public:
  FakeModel(int64_t pages, int64_t page_tokens) : pool_(pages, page_tokens), keys_(size_t(pages * page_tokens)) {}
  KvPool& pool() override { return pool_; }

  // Three blocks; a picture is counted when it is done.
  struct FakeEncoding : Encoding {
    FakeModel* model;
    std::vector<VisualInput> visuals;
    int64_t done = 0;
    int64_t blocks() const override { return 3; }
    bool advance(int64_t blocks) override {
      if (model->fail_encoding_in > 0 && --model->fail_encoding_in == 0) fail(ErrorKind::resource, "the picture is too large");
      EXPECT_LT(done, 3);
      return (done += blocks) >= 3;
    }
    std::vector<FeaturesPtr> take() override {
      std::vector<FeaturesPtr> out;
      for (const VisualInput& v : visuals) {
        ++model->encoded;
        auto owner = std::make_shared<std::vector<float>>(std::max<size_t>(4, size_t(v.grid.tokens(2))));
        std::memcpy(owner->data(), &v.hash, sizeof v.hash);
        auto f = std::make_shared<VisionFeatures>();
        f->main = {{owner->data(), DType::f32, {int64_t(owner->size()), 1}}, owner};
        out.push_back(f);
      }
      return out;
    }
  };
  std::unique_ptr<Encoding> start(std::span<const VisualInput* const> visuals) override {
    auto e = std::make_unique<FakeEncoding>();
    e->model = this;
    for (const VisualInput* v : visuals) e->visuals.push_back(*v);
    return e;
  }

  StepOutput step(std::span<const StepWork> work) override {
    if (fail_in > 0 && --fail_in == 0) fail(ErrorKind::resource, "the device went away");
    ++steps;
    StepOutput out;
    out.vocab = kFakeVocab, out.width = 2;
    for (const StepWork& w : work) {
      Sequence& s = *w.sequence;
      EXPECT_GT(w.tokens, 0);
      EXPECT_LE(w.tokens, s.pending());
      rows += w.tokens;
      if (!pool_.grow(s.pages, s.cached + w.tokens)) fail(ErrorKind::resource, "the plan wants more pages than there are");
    }
    for (const StepWork& w : work) run(w, out);
    return out;
  }

  int64_t encoded = 0, steps = 0, rows = 0, fail_in = 0, fail_encoding_in = 0;

 private:
  uint64_t& key(const Sequence& s, int64_t i) {
    return keys_[size_t(s.pages[size_t(i / pool_.page_tokens())] * pool_.page_tokens() + i % pool_.page_tokens())];
  }

  void run(const StepWork& w, StepOutput& out) {
    Sequence& s = *w.sequence;
    for (int64_t i = s.cached; i < s.cached + w.tokens; ++i) {
      EXPECT_EQ(pool_.users(s.pages[size_t(i / pool_.page_tokens())]), 1) << "a page that others use is written";
      key(s, i) = token_digest(s, i);
    }
    each_visual_in(s.prompt, s.cached, s.cached + w.tokens, [&](size_t v) {
      ASSERT_TRUE(s.features[v]) << "a step without the features it needs";
      EXPECT_EQ(std::memcmp(s.features[v]->main.tensor.data, &s.prompt.visuals[v].hash, sizeof(ContentHash)), 0) << "features of another picture";
    });
    s.cached += w.tokens;
    uint64_t h = 0;
    for (int64_t i = 0; i < s.cached; ++i) {
      EXPECT_EQ(key(s, i), token_digest(s, i)) << "token " << i << " reads the keys of something else";
      h = mix(h, key(s, i));
    }
    if (s.pending() > 0) return;
    if (w.pooled) {
      out.hidden.insert(out.hidden.end(), {float(h % 1000), 1.0f});
      return;
    }
    std::vector<float> logits(size_t(kFakeVocab), 0.0f);
    logits[size_t(next_token(h))] = 1;
    out.values.insert(out.values.end(), logits.begin(), logits.end());
  }

  KvPool pool_;
  std::vector<uint64_t> keys_;
};

// A prompt of text with pictures in it. Pictures have no pixels: the fake model goes by their hash.
struct FakePrompt {
  std::vector<int32_t> ids;
  std::vector<VisualInput> images;

  void text(int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; ++i) ids.push_back(int32_t(mix(seed, uint64_t(i)) % 250));
  }
  void image(int64_t h, int64_t w, uint64_t content) {  // in merged patches
    ids.insert(ids.end(), size_t(h * w), kImageId);
    images.push_back({nullptr, {1, 2 * h, 2 * w}, {content, content * 7 + 1}});
  }
  Prompt build() const {
    ModelConfig c;
    c.tokens.image = kImageId, c.tokens.video = kImageId + 1;
    c.vision.merge_size = 2;
    return prompt_from_ids(ids, images, {}, c);
  }
  static constexpr int32_t kImageId = 280;
};

}  // namespace vl8::testing
