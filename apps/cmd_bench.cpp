// vl8 bench: decode, prefill and vision of a real or a random model, each against the ceiling measured in the same run.
#include <algorithm>
#include <chrono>
#include <random>

#include "bench_model.h"
#include "bench_sparse.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/usage.h"
#include "cpu/ceiling.h"
#include "cuda/ceiling.h"
#include "io/random_checkpoint.h"
#include "ops/meter_ops.h"
#include "options.h"

namespace vl8 {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int64_t kDecodeWarmUp = 3;  // a step is recorded at its second run and first replayed at its third

struct BenchOptions {
  ModelOptions model;
  std::string part;
  SparseBench sparse;
  std::string shape, random = "fp8", image, write_random;
  int64_t prompt = 512, gen = 32, batch = 1, layers = 0, chunk = 512, repeat = 3;
  std::vector<std::string> sweep;  // PROMPT:GEN:BATCH
  bool json = false, breakdown = false;
};

// "4096:16:1" as options of one more run of the same model.
BenchOptions sweep_options(const BenchOptions& base, const std::string& text) {
  BenchOptions o = base;
  o.image.clear();
  char rest = 0;
  if (std::sscanf(text.c_str(), "%ld:%ld:%ld%c", &o.prompt, &o.gen, &o.batch, &rest) != 3 || o.prompt < 1 || o.gen < 2 || o.batch < 1 || o.batch > 4096)
    fail_usage("--sweep has '{}'; write PROMPT:GEN:BATCH with at least 1 token of prompt and 2 to decode, e.g. 4096:16:1", text);
  return o;
}

double ms_since(Clock::time_point t) { return std::chrono::duration<double, std::milli>(Clock::now() - t).count(); }
double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v[v.size() / 2];
}
double round3(double v) { return std::round(v * 1000) / 1000; }

RandomFormat parse_random(const std::string& name) {
  if (auto format = random_format(name)) return *format;
  fail_usage("--random is '{}'; there are bf16, fp8, int8, int4 and fp4", name);
}

// Random weights of a config as a model folder, for trying the quantiser and the loader on any size.
int write_random(const BenchOptions& o) {
  if (o.shape.empty()) fail_usage("--write-random needs --shape CONFIG.json");
  ThreadPool pool(o.model.threads);
  const auto start = Clock::now();
  write_random_checkpoint(o.write_random, read_file(o.shape, 1 << 20), {.format = parse_random(o.random)}, pool);
  const double mb = double(Checkpoint(o.write_random).file_bytes()) * 1e-6, seconds = ms_since(start) / 1000;
  fmt::print("{}: {:.1f} MB in {:.1f} s ({:.0f} MB/s), {:.0f} MB of memory at most\n", o.write_random, mb, seconds, mb / seconds, peak_rss_mb());
  return 0;
}

// Random weights of a config, in memory; `layers` fewer than the config's where the whole would not fit.
LoadedModel random_model(const BenchOptions& o, const EngineOptions& engine) {
  LoadedModel m;
  m.ops = make_ops(engine);
  m.config = parse_model_config(read_file(o.shape, 1 << 20), o.shape);
  if (o.layers > 0) m.config.text.layers = std::min(o.layers, m.config.text.layers);
  m.store = std::make_shared<WeightStore>();
  ThreadPool pool(engine.threads);
  RandomOptions random;
  random.format = parse_random(o.random);
  RandomBinder binder(m.store, pool, random);
  m.weights.each(m.config, binder);
  prepare(*m.ops, m.config, m.weights);
  return m;
}

std::vector<int32_t> random_ids(int64_t n, int64_t vocab, uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::vector<int32_t> ids;
  // the upper half of the vocabulary holds placeholders in small models; text ids are enough here
  for (int64_t i = 0; i < n; ++i) ids.push_back(int32_t(rng() % uint64_t(std::max<int64_t>(1, vocab / 2))));
  return ids;
}

class Bench {
 public:
  Bench(const BenchOptions& o, LoadedModel& m, const EngineOptions& engine, std::optional<CudaCeiling> cuda)
      : o_(o), m_(m), meter_(*m.ops), threads_(engine.threads > 0 ? engine.threads : available_cpus()), cuda_(cuda) {
    run_ = std::make_unique<BenchModel>(meter_, m.config, m.weights, o.batch, o.prompt + o.gen + 2, engine.page_tokens);
  }

  Json prefill() {
    std::vector<double> times;
    for (int64_t r = 0; r < o_.repeat; ++r) {
      throw_if_interrupted();
      meter_.clear();
      auto start = Clock::now();
      run_->prefill(0, prompt_ids(0), o_.chunk);
      times.push_back(ms_since(start));
    }
    VerbCost total = meter_.total();
    if (o_.breakdown) print_breakdown("prefill", median(times));
    for (int64_t b = 1; b < o_.batch; ++b) run_->prefill(b, prompt_ids(b), o_.chunk);
    const double ms = median(times), tflops = total.flops / ms / 1e9;
    return {{"ms", round3(ms)}, {"tokens_per_s", round3(double(o_.prompt) * 1000 / ms)}, {"tflops", round3(tflops)},
            {"ceiling_tflops", round3(peak_tflops())}, {"share_pct", round3(100 * tflops / peak_tflops())}};
  }

  Json decode() {
    std::vector<double> times;
    VerbCost total;
    for (int64_t g = 0; g < o_.gen; ++g) {
      throw_if_interrupted();
      meter_.clear();
      auto start = Clock::now();
      run_->decode();
      if (g >= kDecodeWarmUp || g + 1 == o_.gen) times.push_back(ms_since(start));
      total = meter_.total();
    }
    if (o_.breakdown) print_breakdown("decode", median(times));
    const double ms = median(times), bytes = total.weight_bytes + total.kv_bytes, gbs = bytes / ms / 1e6, ceiling = read_gbs();
    return {{"ms_per_token", round3(ms)}, {"tokens_per_s", round3(double(o_.batch) * 1000 / ms)}, {"bytes_per_token", bytes / double(o_.batch)},
            {"gb_per_s", round3(gbs)}, {"ceiling_gb_per_s", round3(ceiling)}, {"share_pct", round3(100 * gbs / ceiling)}};
  }

  Json vision() {
    Grid grid = image_grid();
    PatchBuffer patches(DType::f32, grid.patches(), m_.config.vision.patch_features());
    std::mt19937 rng(5);
    std::uniform_real_distribution<float> pixel(-1, 1);
    std::generate_n(static_cast<float*>(patches.data()), patches.rows() * patches.columns(), [&] { return pixel(rng); });
    std::vector<double> times;
    for (int64_t r = 0; r < o_.repeat; ++r) {
      throw_if_interrupted();
      meter_.clear();
      auto start = Clock::now();
      vision_forward(meter_, m_.config.vision, m_.weights.vision, patches.tensor(), std::span(&grid, 1));
      meter_.synchronize();
      times.push_back(ms_since(start));
    }
    if (o_.breakdown) print_breakdown("vision", median(times));
    const double ms = median(times), tflops = meter_.total().flops / ms / 1e9;
    return {{"ms", round3(ms)}, {"tflops", round3(tflops)}, {"ceiling_tflops", round3(peak_tflops())},
            {"share_pct", round3(100 * tflops / peak_tflops())}};
  }

 private:
  std::vector<int32_t> prompt_ids(int64_t b) const { return random_ids(o_.prompt, m_.config.text.vocab_size, uint64_t(b)); }

  Grid image_grid() const {
    int64_t w = 0, h = 0;
    if (std::sscanf(o_.image.c_str(), "%ldx%ld", &w, &h) != 2 || w < 1 || h < 1 || w > 16384 || h > 16384)
      fail_usage("--image is '{}'; write WIDTHxHEIGHT, e.g. 1024x1024", o_.image);
    const int64_t unit = m_.config.vision.patch_size * m_.config.vision.merge_size;
    auto patches = [&](int64_t pixels) { return std::max<int64_t>(1, (pixels + unit / 2) / unit) * m_.config.vision.merge_size; };
    return {1, patches(h), patches(w)};
  }

  double peak_tflops() {
    if (cuda_) return cuda_->mma_bf16_tflops;
    if (peak_ == 0) peak_ = cpu::measure_matmul_peak_tflops(cpu::find_isa(""), threads_);
    return peak_;
  }
  double read_gbs() {
    if (cuda_) return cuda_->read_gb_per_s;
    if (read_ == 0) read_ = cpu::measure_read_ceiling_gbs(threads_);
    return read_;
  }

  void print_breakdown(const char* what, double ms) {
    double known = 0;
    fmt::print(stderr, "{} ({:.1f} ms):\n", what, ms);
    for (size_t v = 0; v < size_t(Verb::count); ++v) {
      const VerbCost& c = meter_.cost(Verb(v));
      known += c.ms;
      if (c.calls) fmt::print(stderr, "  {:<18} {:5} calls {:9.2f} ms {:8.1f} GFLOP {:8.2f} GB\n", verb_name(Verb(v)), c.calls, c.ms,
                              c.flops / 1e9, (c.weight_bytes + c.kv_bytes) / 1e9);
    }
    fmt::print(stderr, "  {:<18}             {:9.2f} ms\n", "(other)", ms - known);
  }

  const BenchOptions& o_;
  LoadedModel& m_;
  MeterOps meter_;
  int threads_;
  std::unique_ptr<BenchModel> run_;
  std::optional<CudaCeiling> cuda_;
  double peak_ = 0, read_ = 0;
};

void print_table(const Json& j) {
  auto line = [&](const char* name, const std::string& text) {
    if (j.contains(name)) fmt::print("{:<8} {}\n", name, text);
  };
  auto f = [&](const char* part, const char* key) { return j.contains(part) ? j[part].value(key, 0.0) : 0.0; };
  fmt::print("{}\n", j["backend"].get<std::string>());
  line("decode", fmt::format("{:.2f} ms/step, {:.2f} tokens/s, {:.1f} GB/s of {:.1f} ({:.0f} %)", f("decode", "ms_per_token"), f("decode", "tokens_per_s"),
                             f("decode", "gb_per_s"), f("decode", "ceiling_gb_per_s"), f("decode", "share_pct")));
  line("prefill", fmt::format("{:.0f} ms, {:.1f} tokens/s, {:.3f} TFLOP/s of {:.3f} ({:.0f} %)", f("prefill", "ms"), f("prefill", "tokens_per_s"),
                              f("prefill", "tflops"), f("prefill", "ceiling_tflops"), f("prefill", "share_pct")));
  line("vision", fmt::format("{:.0f} ms, {:.3f} TFLOP/s of {:.3f} ({:.0f} %)", f("vision", "ms"), f("vision", "tflops"), f("vision", "ceiling_tflops"),
                             f("vision", "share_pct")));
  line("memory", fmt::format("{:.0f} MB at most", f("memory", "peak_rss_mb")));
}

int bench(const BenchOptions& o) {
  if (!o.shape.empty() && !o.model.model.empty()) fail_usage("give either -m MODEL or --shape CONFIG.json, not both");
  if (!o.write_random.empty()) return write_random(o);
  EngineOptions engine = o.model.engine();
  LoadedModel m = o.shape.empty() ? load_model(o.model.folder(), engine) : random_model(o, engine);
  if (o.part == "sparse") {
    Json j = bench_sparse(m, engine, o.sparse);
    j["backend"] = std::string(m.ops->name()), j["memory"] = {{"peak_rss_mb", round3(peak_rss_mb())}};
    fmt::print("{}\n", j.dump(o.json ? -1 : 2));
    return 0;
  }
  std::optional<CudaCeiling> cuda;
  if (engine.backend == "cuda") cuda = measure_cuda_ceiling(engine.device);
  auto measure = [&](const BenchOptions& run) {
    Bench b(run, m, engine, cuda);
    Json j;
    j["options"] = {{"prompt", run.prompt}, {"gen", run.gen}, {"batch", run.batch}, {"layers", m.config.text.layers}, {"precision", run.model.precision}};
    if (!run.image.empty()) j["vision"] = b.vision();
    if (run.prompt > 0) j["prefill"] = b.prefill();
    if (run.prompt > 0 && run.gen > 1) j["decode"] = b.decode();
    return j;
  };
  Json j;
  j["backend"] = std::string(m.ops->name());
  j.update(measure(o));
  for (const std::string& text : o.sweep) j["sweep"].push_back(measure(sweep_options(o, text)));
  j["memory"] = {{"peak_rss_mb", round3(peak_rss_mb())}, {"device_mb", round3(double(m.ops->device_bytes()) / 1e6)}};
  if (o.json) fmt::print("{}\n", j.dump());
  else print_table(j);
  return 0;
}

}  // namespace

CommandBody setup_bench(CLI::App& app) {
  auto o = std::make_shared<BenchOptions>();
  app.add_option("PART", o->part, "sparse: gated visual work against dense, on a drawn stream and a prompt of many pictures")->check(CLI::IsMember({"sparse"}));
  app.add_option("--frames", o->sparse.frames, "sparse: frames of the stream")->check(CLI::Range(4, 100000))->capture_default_str();
  app.add_option("--anomalous", o->sparse.anomalous, "sparse: share of frames with something new")->check(CLI::Range(0.0, 0.5))->capture_default_str();
  app.add_option("--size", o->sparse.size, "sparse: pixels of a side of the stream's frames")->check(CLI::Range(128, 4096))->capture_default_str();
  app.add_option("--images", o->sparse.images, "sparse: pictures of the single prompt")->check(CLI::Range(1, 256))->capture_default_str();
  app.add_option("--image-size", o->sparse.image_size, "sparse: pixels of a side of these")->check(CLI::Range(64, 2048))->capture_default_str();
  app.add_option("--share", o->sparse.share, "sparse: kept of the single prompt")->check(CLI::Range(0.05, 1.0))->capture_default_str();
  o->model.add_to(app);
  app.add_option("--shape", o->shape, "config.json of a model; its weights are drawn at random in memory");
  app.add_option("--random", o->random, "with --shape: bf16, fp8, int8, int4 or fp4 weights")->capture_default_str();
  app.add_option("--layers", o->layers, "with --shape: only this many decoder layers")->check(CLI::PositiveNumber);
  app.add_option("--prompt", o->prompt, "tokens of the prompt (0: skip prefill and decode)")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--gen", o->gen, "tokens to decode (0: skip)")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--batch", o->batch, "sequences decoded together")->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--image", o->image, "WIDTHxHEIGHT of a picture for the vision tower");
  app.add_option("--chunk", o->chunk, "tokens of the prompt per step")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--sweep", o->sweep, "PROMPT:GEN:BATCH,..: more runs of the same model, listed under \"sweep\"")->delimiter(',');
  app.add_option("--repeat", o->repeat, "runs of prefill and vision; the median counts")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--write-random", o->write_random, "with --shape: write a model folder of random weights (bf16 or fp8) there, and stop");
  app.add_flag("--breakdown", o->breakdown, "time by verb, on stderr");
  app.add_flag("--json", o->json, "one JSON object");
  app.footer(
      "The ceilings are measured in the same run: reading memory (decode) and multiplying in registers (prefill, vision).\n"
      "Examples:\n"
      "  vl8 bench -m Qwen3-VL-8B-Instruct-FP8 --prompt 1024 --gen 32\n"
      "  vl8 bench --shape config.json --random fp8 --prompt 512 --gen 32 --image 1024x1024 --json");
  CLI::App* serve = app.add_subcommand("serve", "load on a running server: first token, time between tokens, throughput, errors");
  CommandBody load = setup_bench_serve(*serve);
  return [=] { return serve->parsed() ? load() : bench(*o); };
}

}  // namespace vl8
