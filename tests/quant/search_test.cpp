// The search over formats keeps its promise about size and loss, and targets choose by arithmetic.
#include <gmock/gmock.h>

#include "quant/auto_search.h"
#include "quant/target.h"
#include "tiny_model.h"

namespace vl8 {
namespace {
using namespace testing;
using ::testing::HasSubstr;

struct Model {
  TempFolder dir;
  ThreadPool pool{2};
  ModelConfig config;
  explicit Model(bool moe = false) {
    std::string text = tiny_config(moe, true);
    for (const auto& [from, to] : {std::pair<std::string, std::string>{"\"hidden_size\": 48", "\"hidden_size\": 64"},
                                   {"\"out_hidden_size\": 48", "\"out_hidden_size\": 64"},
                                   {"\"intermediate_size\": 72", "\"intermediate_size\": 128"},
                                   {"\"moe_intermediate_size\": 36", "\"moe_intermediate_size\": 32"}})
      if (size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
    fs::create_directory(dir / "src");
    config = parse_model_config(text, "c");
    write_model(dir / "src", text, tiny_tensors(config, DType::bf16, 3));
  }
  std::vector<Prompt> prompts() const {
    std::vector<Prompt> p;
    for (int i = 0; i < 2; ++i) {
      std::vector<int32_t> ids;
      for (int t = 0; t < 24; ++t) ids.push_back(int32_t((t * 7 + i * 11) % 29));
      p.push_back(prompt_from_ids(ids, {}, {}, config));
    }
    return p;
  }
  AutoResult search(const AutoGoal& goal) { return auto_search(dir / "src", goal, 32, prompts(), {.threads = 2}, pool); }
  uint64_t written(const AutoResult& r, const char* to) {
    QuantizeOptions o{.recipe = "auto", .show_progress = false};
    o.plan.overrides = r.overrides;
    return quantize(dir / "src", dir / to, o, pool).result_bytes;
  }
};

TEST(AutoSearch, SizeIsKeptToTheByte) {
  for (bool moe : {false, true}) {
    Model m(moe);
    const uint64_t all = Checkpoint(m.dir / "src").tensor_bytes();
    for (double share : {0.9, 0.7, 0.5}) {
      AutoGoal goal;
      goal.size_bytes = uint64_t(share * double(all));
      const AutoResult r = m.search(goal);
      EXPECT_LE(r.bytes, goal.size_bytes);
      EXPECT_EQ(m.written(r, ("dst" + std::to_string(int(share * 100))).c_str()), r.bytes) << "what was promised is written";
      EXPECT_TRUE(bind(m.dir / ("dst" + std::to_string(int(share * 100))))->report.warnings.empty());
    }
    AutoGoal impossible;
    impossible.size_bytes = 1000;
    EXPECT_THAT(error_of([&] { m.search(impossible); }), HasSubstr("the smallest this model can be made is"));
  }
}

TEST(AutoSearch, LessLossCostsMoreBytes) {
  Model m;
  AutoGoal loose, tight;
  loose.loss = 0.5, tight.loss = 0.03;
  const AutoResult a = m.search(loose), b = m.search(tight);
  EXPECT_LE(a.measured.top1_changed, 0.5);
  EXPECT_LE(b.measured.top1_changed, 0.03);
  EXPECT_LE(a.bytes, b.bytes);
}

TEST(AutoSearch, Units) {
  EXPECT_EQ(parse_size("5GB"), 5'000'000'000u);
  EXPECT_EQ(parse_size("1.5 GiB"), 1'610'612'736u);
  EXPECT_DOUBLE_EQ(parse_share("0.5%"), 0.005);
  EXPECT_THAT(error_of([] { parse_size("5 bananas"); }), HasSubstr("not a size"));
  EXPECT_THAT(error_of([] { parse_share("200%"); }), HasSubstr("not a share"));
}

TEST(Target, TheFirstThatFits) {
  Model m;
  const Checkpoint checkpoint(m.dir / "src");
  const uint64_t bf16 = checkpoint.tensor_bytes(), kv = uint64_t(m.config.kv_bytes_per_token());
  auto choose = [&](uint64_t memory, bool fp8) {
    static Target t;
    t = {"t", "a machine", memory, 1000, 100, fp8};
    return plan_for_target(t, m.config, checkpoint, 100, 500);
  };
  EXPECT_EQ(choose(bf16 + 1500 + 100 * kv, true).chosen->recipe, "bf16");
  const TargetPlan less = choose(bf16 + 1500 + 99 * kv, true);
  ASSERT_TRUE(less.chosen);
  EXPECT_EQ(less.chosen->recipe, "fp8-block128");
  EXPECT_GE(less.chosen->context, 100);
  EXPECT_THAT(target_text(less), HasSubstr("<- chosen"));
  EXPECT_EQ(choose(bf16 + 1500 + 99 * kv, false).chosen->recipe, "int8");
  EXPECT_EQ(choose(2000, true).chosen, nullptr);
  for (const Target& t : targets()) EXPECT_EQ(&find_target(t.name), &t);
}

}  // namespace
}  // namespace vl8
