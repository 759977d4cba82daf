// Gated visual work on the bundled model: dense where nothing is dropped, right positions where something is, and a stream's
// memory that equals a fresh look once everything has been looked at.
#include "engine/gating.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "engine/engine.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;

class GatingTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    EngineOptions o;
    o.precision = Precision::f32;
    engine = Engine::load(fs::path(VL8_SOURCE_DIR) / "assets/nano", o);
  }
  static void TearDownTestSuite() { engine.reset(); }

  static ChatRequest ask(const std::string& question, std::vector<std::string> pictures = {"block.png"}) {
    ChatRequest r;
    nlohmann::ordered_json content = nlohmann::ordered_json::array();
    for (const std::string& p : pictures) {
      r.images.push_back({read_image_file(fs::path(VL8_SOURCE_DIR) / "assets/demo" / p), p});
      content.push_back({{"type", "image"}});
    }
    content.push_back({{"type", "text"}, {"text", question}});
    r.messages = nlohmann::ordered_json::array();
    r.messages.push_back({{"role", "user"}, {"content", content}});
    r.max_tokens = 24;
    return r;
  }
  static Answer answer(const ChatRequest& r) {
    return engine->chat(r, [](const AnswerDelta&) { return true; });
  }
  VisualInput picture(uint32_t seed, int64_t side = 8) {
    std::mt19937 rng(seed);
    std::uniform_real_distribution<float> pixel(-1, 1);
    auto patches = std::make_shared<PatchBuffer>(DType::f32, side * side, engine->config().vision.patch_features());
    for (int64_t i = 0; i < patches->rows() * patches->columns(); ++i) static_cast<float*>(patches->data())[i] = pixel(rng);
    return {patches, {1, side, side}, {}, nullptr};
  }
  static std::vector<float> features(const VisualInput& v) {
    VisionFeatures f = encode_visual(engine->ops(), engine->config(), engine->model().weights, v);
    return engine->ops().download(f.main.tensor);
  }
  static std::unique_ptr<Engine> engine;
};
std::unique_ptr<Engine> GatingTest::engine;

TEST_F(GatingTest, AShareOfOneIsDense) {
  ChatRequest r = ask("Which screw is missing?");
  const Answer dense = answer(r);
  EXPECT_EQ(dense.activation, 1);
  for (const char* s : {"1", "1:question", "1:uniform"}) {
    r.sparsity = parse_sparsity(s);
    const Answer gated = answer(r);
    EXPECT_EQ(gated.text, dense.text) << s;
    EXPECT_EQ(gated.visual_tokens, dense.visual_tokens);
    EXPECT_EQ(gated.activation, 1);
  }
}

TEST_F(GatingTest, FewerTokensKeepTheirPositions) {
  ChatRequest r = ask("Which screw is missing?", {"block.png", "label.png"});
  const PreparedChat dense = engine->prepare(r);
  for (const char* s : {"0.3", "0.5:uniform", "auto", "0.4:change"}) {
    r.sparsity = parse_sparsity(s);
    const PreparedChat gated = engine->prepare(r);
    SCOPED_TRACE(s);
    ASSERT_EQ(gated.prompt.runs.size(), dense.prompt.runs.size());
    EXPECT_LT(gated.prompt.ids.size(), dense.prompt.ids.size());
    EXPECT_EQ(gated.prompt.positions.next, dense.prompt.positions.next);
    EXPECT_LT(gated.activation, 1);
    EXPECT_NE(gated.prompt.visuals[0].hash, dense.prompt.visuals[0].hash);
    const size_t td = dense.prompt.ids.size(), tg = gated.prompt.ids.size();
    for (size_t n = 0; n < gated.prompt.runs.size(); ++n) {
      const VisualRun &g = gated.prompt.runs[n], &d = dense.prompt.runs[n];
      ASSERT_EQ(g.h, d.h);
      for (size_t i = 0; i < g.kept.size(); ++i)
        for (size_t axis = 0; axis < 3; ++axis)
          ASSERT_EQ(gated.prompt.positions.axes[axis * tg + size_t(g.begin) + i],
                    dense.prompt.positions.axes[axis * td + size_t(d.begin) + size_t(g.kept[i])]);
    }
    EXPECT_FALSE(answer(r).text.empty());
  }
}

// A late choice moves tokens; their positions move along.
TEST_F(GatingTest, ALateChoiceKeepsPositionsToo) {
  ChatRequest r = ask("Which screw is missing?");
  r.sparsity = parse_sparsity("0.4:question");
  PreparedChat chat = engine->prepare(r);
  ASSERT_NE(chat.prompt.visuals[0].gate->late, nullptr);
  EXPECT_FALSE(chat.prompt.visuals[0].gate->question.empty());
  VisionFeatures f = encode_visual(engine->ops(), engine->config(), engine->model().weights, chat.prompt.visuals[0]);
  ASSERT_EQ(int64_t(f.tokens.size()), f.main.tensor.rows());
  ASSERT_EQ(f.tokens.size(), chat.prompt.visuals[0].gate->tokens.size());
  adopt_choice(chat.prompt, 0, f);
  const VisualRun& run = chat.prompt.runs[0];
  EXPECT_EQ(run.kept, f.tokens);
  const size_t t = chat.prompt.ids.size();
  for (size_t i = 0; i < run.kept.size(); ++i) {
    const int32_t base = chat.prompt.positions.axes[size_t(run.begin)];
    EXPECT_EQ(chat.prompt.positions.axes[t + size_t(run.begin) + i], base + run.kept[i] / int32_t(run.w));
    EXPECT_EQ(chat.prompt.positions.axes[2 * t + size_t(run.begin) + i], base + run.kept[i] % int32_t(run.w));
  }
}

TEST_F(GatingTest, AStreamRemembersAndRenews) {
  VisualStream camera{std::make_shared<VisionMemory>(), {}};
  const Sparsity all = parse_sparsity("1");
  VisualInput first = picture(1), fresh = picture(1);
  gate_visual(first, all, engine->config(), &camera);
  EXPECT_EQ(features(first), features(fresh));  // the first look is dense, bit for bit

  VisualInput same = picture(1);
  gate_visual(same, all, engine->config(), &camera);
  EXPECT_TRUE(same.gate->tower.empty());  // nothing changed: nothing is computed
  EXPECT_EQ(features(same), features(fresh));
  EXPECT_EQ(camera.memory->feature_distance(), 0);

  // One group changes: it is computed again, the others keep their features.
  VisualInput changed = picture(1);
  {
    auto patches = std::make_shared<PatchBuffer>(DType::f32, 64, engine->config().vision.patch_features());
    std::copy_n(static_cast<const float*>(changed.patches->data()), 64 * patches->columns(), static_cast<float*>(patches->data()));
    for (int64_t i = 0; i < 4 * patches->columns(); ++i) static_cast<float*>(patches->data())[i] = i % 512 < 256 ? 1.0f : -1.0f;  // group 0
    changed.patches = patches;
  }
  gate_visual(changed, all, engine->config(), &camera);
  EXPECT_THAT(changed.gate->tower, ::testing::ElementsAre(0, 1, 4, 5));  // with its neighbours
  std::vector<float> now = features(changed), before = features(fresh);
  const size_t c = now.size() / 16;
  EXPECT_NE(std::vector<float>(now.begin(), now.begin() + int64_t(c)), std::vector<float>(before.begin(), before.begin() + int64_t(c)));
  EXPECT_EQ(std::vector<float>(now.end() - int64_t(c), now.end()), std::vector<float>(before.end() - int64_t(c), before.end()));
  EXPECT_GT(camera.memory->feature_distance(), 0);

  // Another picture: everything changes, everything is computed, and the result is that of a fresh look.
  VisualInput other = picture(2), other_fresh = picture(2);
  gate_visual(other, all, engine->config(), &camera);
  EXPECT_EQ(other.gate->tower.size(), 16u);
  EXPECT_EQ(features(other), features(other_fresh));

  // Another size: the memory begins anew.
  VisualInput small = picture(3, 4), small_fresh = picture(3, 4);
  gate_visual(small, all, engine->config(), &camera);
  EXPECT_EQ(features(small), features(small_fresh));
}

TEST_F(GatingTest, ABudgetLimitsTheTower) {
  VisualStream camera{std::make_shared<VisionMemory>(), {}};
  VisualInput first = picture(1), second = picture(2);
  gate_visual(first, parse_sparsity("0.25"), engine->config(), &camera);
  EXPECT_EQ(first.gate->tower.size(), 16u);  // of a new stream everything must be seen once
  EXPECT_EQ(first.gate->tokens.size(), 4u);
  EXPECT_EQ(features(first).size(), size_t(4 * engine->config().text.hidden_size));
  gate_visual(second, parse_sparsity("0.25"), engine->config(), &camera);
  EXPECT_EQ(second.gate->tower.size(), 4u);
  VisualInput third = picture(2);
  features(second);
  gate_visual(third, parse_sparsity("0.25"), engine->config(), &camera);
  EXPECT_EQ(third.gate->tower.size(), 4u);  // what had to wait is still a change
  for (int32_t g : third.gate->tower) EXPECT_FALSE(std::binary_search(second.gate->tower.begin(), second.gate->tower.end(), g));
}

}  // namespace
}  // namespace vl8
