// The batching engine as a whole, on a shape with random weights or on the bundled model: tokens per second over the number
// of streams, what batch invariance costs, the gap that a long prompt tears into running streams, and a soak of sessions.
//
//   bench_engine streams --shape config.json          knee and ratio, with and without batch invariance
//   bench_engine gap --shape config.json              worst gap while a long prompt arrives, with and without a step target
//   bench_engine soak --frames 100000                 a session on a very small random model; resident memory must stay flat
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <fstream>
#include <future>
#include <random>

#include "core/file.h"
#include "engine/batcher.h"
#include "engine/engine.h"
#include "engine/invariant_model.h"
#include "engine/runner.h"
#include "engine/session.h"
#include "io/random_checkpoint.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;

struct Options {
  std::string shape, random = "fp8", isa;
  std::vector<int64_t> streams{1, 2, 4, 8, 16, 32};
  int64_t prompt = 128, gen = 24, layers = 0, long_prompt = 2048, frames = 100000, side = 32;
};

const fs::path kNano = fs::path(VL8_SOURCE_DIR) / "assets" / "nano";

LoadedModel load(const Options& o) {
  EngineOptions e;
  if (o.shape.empty()) return load_model(kNano, e);
  LoadedModel m;
  m.ops = make_ops(e);
  m.config = parse_model_config(read_file(o.shape, 1 << 20), o.shape);
  if (o.layers > 0) m.config.text.layers = std::min(o.layers, m.config.text.layers);
  m.store = std::make_shared<WeightStore>();
  ThreadPool pool;
  RandomOptions random;
  random.format = o.random == "fp8" ? RandomFormat::fp8 : RandomFormat::bf16;
  RandomBinder binder(m.store, pool, random);
  m.weights.each(m.config, binder);
  prepare(*m.ops, m.config, m.weights);
  return m;
}

class Bench {
 public:
  Bench(const Options& o) : o_(o), model_(load(o)), tokenizer_(Tokenizer::load(kNano)) {}

  std::unique_ptr<Batcher> batcher(ServiceOptions s, int64_t tokens) {
    std::unique_ptr<StepModel> m = std::make_unique<Runner>(*model_.ops, model_.config, model_.weights, tokens / 64 + s.max_running + 1, 64);
    if (s.batch_invariant) m = std::make_unique<InvariantModel>(std::move(m));
    return std::make_unique<Batcher>(std::move(m), GenerationRules::of(tokenizer_, {}), s, s.batch_invariant ? InvariantModel::kLeastChunk : 0);
  }

  GenerationRequest request(int64_t prompt, int64_t gen, uint64_t seed) {
    std::mt19937_64 rng(seed);
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < prompt; ++i) ids.push_back(int32_t(rng() % uint64_t(model_.config.text.vocab_size / 2)));
    GenerationRequest r;
    r.prompt = prompt_from_ids(std::move(ids), {}, {}, model_.config);
    r.max_tokens = gen, r.ignore_end = true;
    return r;
  }

  // Tokens per second of `n` streams once all of them answer, and the worst gap.
  std::pair<double, double> streams(int64_t n, bool invariant) {
    ServiceOptions s;
    s.max_running = n, s.batch_invariant = invariant, s.prefix_cache = false, s.step_target_ms = 0;
    auto b = batcher(s, n * (o_.prompt + o_.gen));
    int64_t first = 0, tokens = 0;
    for (int64_t i = 0; i < n; ++i)
      b->add(uint64_t(i + 1), request(o_.prompt, o_.gen, uint64_t(i)), [&](GenerationEvent e) {
        first += e.usage.answer_tokens == 1, tokens += int64_t(e.tokens.size());
      });
    while (first < n) b->step();
    const int64_t before = tokens;
    std::vector<double> steps;
    double all = 0;
    for (bool more = true; more;) {
      const auto start = SteadyClock::now();
      more = b->step();
      steps.push_back(std::chrono::duration<double>(SteadyClock::now() - start).count());
      all += steps.back();
    }
    std::sort(steps.begin(), steps.end());
    return {double(tokens - before) / double(steps.size()) / steps[steps.size() / 2], steps.back()};
  }

  void print_streams() {
    fmt::print("{} {} layers, prompt {}, {} tokens each\n streams   tokens/s  x one   invariant tokens/s  x one  cost\n", model_.ops->name(),
               model_.config.text.layers, o_.prompt, o_.gen);
    double one = 0, one_invariant = 0;
    for (int64_t n : o_.streams) {
      const double plain = streams(n, false).first, invariant = streams(n, true).first;
      if (one == 0) one = plain, one_invariant = invariant;
      fmt::print("{:8} {:10.2f} {:6.2f} {:20.2f} {:6.2f} {:5.1f} %\n", n, plain, plain / one, invariant, invariant / one_invariant, 100 * (1 - invariant / plain));
      std::fflush(stdout);
    }
  }

  // Four streams answer; after some steps a long prompt comes. The worst time between two tokens of a stream.
  void gap(const char* name, double target_ms, int64_t step_tokens, bool invariant) {
    ServiceOptions s;
    s.max_running = 8, s.step_target_ms = target_ms, s.step_tokens = step_tokens, s.batch_invariant = invariant, s.prefix_cache = false;
    auto b = batcher(s, 4 * (o_.prompt + 4096) + o_.long_prompt);
    std::vector<SteadyClock::time_point> last(4);
    double worst = 0, sum = 0;
    int64_t gaps = 0;
    bool measure = false, done = false;
    for (size_t i = 0; i < 4; ++i)
      b->add(i + 1, request(o_.prompt, 4000, i), [&, i](GenerationEvent e) {
        const auto now = SteadyClock::now();
        if (measure && !e.tokens.empty()) {
          const double gap = std::chrono::duration<double>(now - last[i]).count();
          worst = std::max(worst, gap), sum += gap, ++gaps;
        }
        last[i] = now;
      });
    for (int i = 0; i < 12; ++i) b->step();
    measure = true;
    for (int i = 0; i < 8; ++i) b->step();
    const double quiet = worst;
    worst = 0, sum = 0, gaps = 0;
    double first_ms = 0;
    b->add(9, request(o_.long_prompt, 1, 99), [&](GenerationEvent e) { done = e.done, first_ms = e.usage.first_token_ms; });
    while (!done) b->step();
    fmt::print("{:34} quiet {:6.0f} ms; with {} prompt tokens arriving: worst {:6.0f} ms, mean {:6.0f} ms; its first token after {:.1f} s\n", name, quiet * 1e3,
               o_.long_prompt, worst * 1e3, sum / double(gaps) * 1e3, first_ms / 1e3);
    std::fflush(stdout);
    b->cancel_all();
  }

 private:
  const Options& o_;
  LoadedModel model_;
  Tokenizer tokenizer_;
};

int64_t resident_kb() {
  std::ifstream in("/proc/self/statm");
  int64_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * 4;
}

// Frames as fast as they go through, a question every 1,000. The model is the bundled one.
void soak(const Options& o) {
  ServiceOptions s;
  s.kv_bytes = 64 << 20;
  auto service = Service::start(Engine::load(kNano, {}), s);
  SessionOptions so;
  so.window_frames = 8, so.slack_frames = 24, so.key_frames = 2;
  Session session(*service, so);
  ImageOverrides small;
  small.min_pixels = 1024, small.max_pixels = o.side * o.side;
  Image picture(int(o.side), int(o.side));
  std::mt19937_64 rng(1);
  const auto start = SteadyClock::now();
  int64_t begin_kb = 0, most_kb = 0, answers = 0;
  for (int64_t i = 0; i < o.frames; ++i) {
    for (size_t p = 0; p < picture.bytes(); p += 8) picture.rgb[p] = uint8_t(rng());
    SessionFrame f = session_frame(service->engine(), picture, double(i), small);
    f.key = i % 500 == 0;
    session.append(std::move(f));
    if (i % 4 == 3) session.flush();
    if (i % 1000 == 999) {
      GenerationRequest r;
      r.max_tokens = 8, r.ignore_end = true;
      std::promise<void> done;
      session.ask("What is missing?", std::move(r), [&](GenerationEvent e) {
        if (e.done) answers += e.finish == Finish::length, done.set_value();
      });
      done.get_future().get();
    }
    if (i == o.frames / 10) begin_kb = resident_kb();
    if (i > o.frames / 10) most_kb = std::max(most_kb, resident_kb());
    if (i % (o.frames / 10) == 0) {
      fmt::print("{:7} frames, {:6.1f} s, {:7.1f} MB resident, {} in view, {} pages used, {} kept\n", i, std::chrono::duration<double>(SteadyClock::now() - start).count(),
                 double(resident_kb()) / 1024, session.stats().in_view, service->stats().kv_pages_used, service->stats().kv_pages_cached);
      std::fflush(stdout);
    }
  }
  session.flush();
  const SessionStats st = session.stats();
  fmt::print("{} frames, {} answers, {} rebuilds, {} tokens computed; resident after a tenth {:.1f} MB, most since {:.1f} MB ({:+.2f} %)\n", st.appended, answers,
             st.rebuilds, st.computed_tokens, double(begin_kb) / 1024, double(most_kb) / 1024, 100.0 * double(most_kb - begin_kb) / double(begin_kb));
}

int run(int argc, char** argv) {
  CLI::App app("the batching engine: streams, gap, soak");
  Options o;
  std::string what;
  app.add_option("what", what, "streams, gap or soak")->required()->check(CLI::IsMember({"streams", "gap", "soak"}));
  app.add_option("--shape", o.shape, "config.json of a model; random weights (default: the bundled model)");
  app.add_option("--random", o.random, "fp8 or bf16")->check(CLI::IsMember({"fp8", "bf16"}));
  app.add_option("--layers", o.layers, "only so many decoder layers");
  app.add_option("--streams", o.streams, "numbers of streams");
  app.add_option("--prompt", o.prompt, "tokens of a stream's prompt");
  app.add_option("--gen", o.gen, "tokens of a stream's answer");
  app.add_option("--long", o.long_prompt, "tokens of the prompt that arrives (gap)");
  app.add_option("--frames", o.frames, "frames of the soak");
  app.add_option("--side", o.side, "pixels of a frame's side (soak)");
  CLI11_PARSE(app, argc, argv);
  if (what == "soak") return soak(o), 0;
  Bench b(o);
  if (what == "streams") return b.print_streams(), 0;
  b.gap("target 250 ms", 250, 512, false);
  b.gap("no target, 512 tokens a step", 0, 512, false);
  b.gap("target 250 ms, batch-invariant", 250, 512, true);
  return 0;
}

}  // namespace
}  // namespace vl8

int main(int argc, char** argv) { return vl8::run(argc, argv); }
