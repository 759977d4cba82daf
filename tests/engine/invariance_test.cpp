// What InvariantModel relies on, held for every instruction set: the logits of a sequence, bit for bit, are the same
// whatever chunks its prompt comes in (at least kLeastChunk tokens each) and whatever is computed beside it.
#include <gtest/gtest.h>

#include <random>

#include "cpu/cpu_ops.h"
#include "cpu/isa.h"
#include "engine/invariant_model.h"
#include "engine/loaded_model.h"
#include "engine/runner.h"
#include "engine/scheduler.h"

namespace vl8 {
namespace {

struct Setting {
  cpu::Isa isa;
  Precision precision;
};
void PrintTo(const Setting& s, std::ostream* to) { *to << s.isa.name; }

std::vector<Setting> settings() {
  std::vector<Setting> out;
  for (const cpu::Isa& isa : cpu::isa_rows())
    if (isa.supported())
      for (Precision p : {Precision::bf16, Precision::f32}) out.push_back({isa, p});
  return out;
}

class Invariance : public ::testing::TestWithParam<Setting> {};

struct Track {
  Sequence sequence;
  std::vector<int32_t> answer;                // forced, so that all runs go the same way
  std::vector<std::vector<float>> logits;     // after the prompt and after each token of the answer
  bool done() const { return logits.size() > answer.size(); }
  void take(std::span<const float> row) {
    logits.emplace_back(row.begin(), row.end());
    if (!done()) sequence.tokens.push_back(answer[logits.size() - 1]);
  }
};

std::vector<Track> tracks(const ModelConfig& c, uint64_t seed, bool slow) {
  std::mt19937_64 rng(seed);
  std::vector<Track> out;
  for (int i = 0; i < (slow ? 3 : 11); ++i) {
    const int64_t lengths[] = {1, 5, 8, 9, 17, 64, 65, 100, 191, 193, 260};
    std::vector<int32_t> ids;
    for (int64_t n = lengths[rng() % (slow ? 6 : 11)]; n-- > 0;) ids.push_back(int32_t(rng() % 2000));
    Track t{Sequence(prompt_from_ids(ids, {}, {}, c)), {}, {}};
    for (int n = slow ? 3 : 4; n-- > 0;) t.answer.push_back(int32_t(rng() % 2000));
    out.push_back(std::move(t));
  }
  return out;
}

TEST_P(Invariance, ChunksAndCompanyDoNotMatter) {
  const Setting& s = GetParam();
  const bool slow = s.isa.name == "scalar";
  EngineOptions o;
  o.precision = s.precision, o.threads = 2;
  LoadedModel m = load_model(std::filesystem::path(VL8_SOURCE_DIR) / "assets" / "nano", o);
  m.ops = cpu::make_ops(s.precision, 2, s.isa);
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  InvariantModel model(std::make_unique<Runner>(*m.ops, m.config, m.weights, 200, 16));
  std::vector<Track> alone = tracks(m.config, seed, slow), together = tracks(m.config, seed, slow);
  for (Track& t : alone) {
    while (!t.done()) {
      const StepWork w{&t.sequence, t.sequence.pending()};
      t.take(model.step(std::span(&w, 1)).row(0));
    }
    model.pool().release(t.sequence.pages);
  }
  std::mt19937_64 rng(seed + 1);
  for (bool busy = true; busy;) {
    std::vector<StepWork> work;
    std::vector<Track*> ends;
    busy = false;
    for (Track& t : together) {
      if (t.done()) continue;
      busy = true;
      if (rng() % 3 == 0) continue;
      const Sequence& q = t.sequence;
      const ScheduleItem item{.prompt_tokens = q.prompt_tokens(), .tokens = int64_t(q.tokens.size()), .cached = q.cached};
      work.push_back({&t.sequence, next_chunk(item, 1 + int64_t(rng() % 120), InvariantModel::kLeastChunk)});
      if (work.back().tokens == q.pending()) ends.push_back(&t);
    }
    if (work.empty()) continue;
    const StepOutput out = model.step(work);
    for (size_t i = 0; i < ends.size(); ++i) ends[i]->take(out.row(int64_t(i)));
  }
  for (size_t i = 0; i < alone.size(); ++i)
    for (size_t n = 0; n < alone[i].logits.size(); ++n)
      ASSERT_EQ(alone[i].logits[n], together[i].logits[n]) << "prompt of " << alone[i].sequence.prompt_tokens() << ", token " << n;
}

INSTANTIATE_TEST_SUITE_P(Isa, Invariance, ::testing::ValuesIn(settings()), [](const auto& info) {
  return std::string(info.param.isa.name) + (info.param.precision == Precision::bf16 ? "_bf16" : "_f32");
});

}  // namespace
}  // namespace vl8
