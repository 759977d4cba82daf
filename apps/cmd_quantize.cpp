// vl8 quantize: a smaller copy of a model folder, and what was lost.
#include "core/file.h"
#include "core/interrupt.h"
#include "core/threads.h"
#include "options.h"
#include "quant/calibration_set.h"
#include "quant/quantizer.h"
#include "quant/report.h"
#include "quantize_report.h"

namespace vl8 {
namespace {

struct QuantizeArguments {
  std::string source, destination, recipe = "fp8-block128", calibrate = "auto", method = "gptq", rule, report, held_out;
  int64_t group = 0, head_bits = 0, calibration_tokens = 4096, eval_limit = 0;
  bool force = false, restart = false, json = false, no_eval = false;
  int threads = 0;
};

std::vector<Prompt> chats(const QuantizeArguments& a, const std::string& name, const char* bundled) {
  const std::filesystem::path file = name == "auto" ? bundled_folder("calibration") / bundled : std::filesystem::path(name);
  return load_chats(file, a.source, {.max_tokens = a.calibration_tokens});
}

QuantizeOptions make_options(const QuantizeArguments& a) {
  const Recipe& recipe = find_recipe(a.recipe);
  QuantizeOptions o{.recipe = a.recipe, .force = a.force, .restart = a.restart, .gptq = a.method == "gptq", .threads = a.threads, .cancelled = interrupted};
  o.plan.group = a.group, o.plan.head_bits = a.head_bits;
  if (!a.rule.empty()) o.rule = scale_rule(a.rule);
  const bool wanted = recipe.calibrated || recipe.static_inputs || a.calibrate != "auto";
  if (a.calibrate != "off" && wanted) o.calibration = chats(a, a.calibrate, "chats.jsonl");
  return o;
}

void print(const QuantizeArguments& a, const QuantizeReport& r) {
  if (a.json) {
    nlohmann::ordered_json j = report_json(r);
    j["recipe"] = a.recipe, j["destination"] = a.destination;
    fmt::print("{}\n", j.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return;
  }
  fmt::print("{}: {} tensors quantised, {} kept, {:.1f} MB to {:.1f} MB in {:.1f} s\n", a.destination, r.quantised_tensors, r.kept_tensors,
             double(r.source_bytes) * 1e-6, double(r.result_bytes) * 1e-6, r.seconds);
  fmt::print("largest relative error of a tensor: {:.4f} ({})\n", r.max_relative_error, r.worst_tensor);
  if (r.resumed_jobs) fmt::print("{} parts were taken over from an interrupted run\n", r.resumed_jobs);
  for (const std::string& note : r.notes) fmt::print(stderr, "{}\n", note);
}

std::string recipe_help() {
  std::string s = "how to quantise:";
  for (const Recipe& r : recipes()) s += fmt::format("\n  {}: {}", r.name, r.help);
  return s;
}

int run_quantize(const QuantizeArguments& a) {
  if (std::filesystem::path(a.report).extension() == ".json") fail_usage("--report names a folder, which gets report.md, report.json and plots");
  ThreadPool pool(a.threads);
  const QuantizeOptions options = make_options(a);
  QuantizeReport r = quantize(a.source, a.destination, options, pool);
  if (!a.report.empty()) {
    LossReport loss;
    loss.recipe = a.recipe;
    loss.calibrated = !options.calibration.empty();
    loss.quantised = &r;
    EngineOptions engine{.threads = a.threads};
    auto calibration = chats(a, a.calibrate == "off" ? "auto" : a.calibrate, "chats.jsonl");
    auto held_out = chats(a, a.held_out.empty() ? "auto" : a.held_out, "held-out.jsonl");
    loss.sets.push_back({"calibration", measure_loss(a.source, a.destination, std::move(calibration), engine)});
    loss.sets.push_back({"held out", measure_loss(a.source, a.destination, std::move(held_out), engine)});
    if (!a.no_eval) loss.evaluation = evaluate_both(a.source, a.destination, a.eval_limit, a.threads);
    loss.peak_rss_mb = peak_rss_mb();
    write_report(a.report, loss);
    if (!a.json) fmt::print("report: {}\n", (std::filesystem::path(a.report) / "report.md").string());
  }
  print(a, r);
  return 0;
}

}  // namespace

CommandBody setup_quantize(CLI::App& app) {
  auto a = std::make_shared<QuantizeArguments>();
  app.add_option("source", a->source, "model folder with BF16, F16 or F32 weights")->required();
  app.add_option("destination", a->destination, "folder to create")->required();
  app.add_option("--recipe", a->recipe, recipe_help())->capture_default_str();
  app.add_option("--group", a->group, "weights that share a scale, of four-bit formats")->check(CLI::IsMember({32, 64, 128}));
  app.add_option("--head-bits", a->head_bits, "token table and head: 8 or 16 bits (default: the recipe's)")->check(CLI::IsMember({8, 16}));
  app.add_option("--scale-rule", a->rule, "what a scale fits: the largest weight, all but 0.1 %, or the least squared error")
      ->check(CLI::IsMember({"max", "percentile", "mse"}));
  app.add_option("--calibrate", a->calibrate, "chats with pictures (JSON lines) that weights are fitted to; auto: the bundled ones, for the "
                 "recipes that profit; off")->capture_default_str();
  app.add_option("--calibration-tokens", a->calibration_tokens, "at most this many tokens of them")->check(CLI::Range(64, 1 << 20))->capture_default_str();
  app.add_option("--method", a->method, "four-bit codes: gptq (needs calibration) or rtn (to nearest)")->check(CLI::IsMember({"gptq", "rtn"}))->capture_default_str();
  app.add_option("--report", a->report, "folder to write a report into: report.md, report.json, plots");
  app.add_option("--held-out", a->held_out, "with --report: chats to measure the loss on (default: the bundled ones)");
  app.add_flag("--no-eval", a->no_eval, "with --report: leave out the evaluation suite");
  app.add_option("--eval-limit", a->eval_limit, "with --report: at most this many items of each file of the suite")->check(CLI::PositiveNumber);
  app.add_option("--threads", a->threads, "CPU threads (default: all that this process may use)")->check(CLI::Range(0, 1024));
  app.add_flag("--force", a->force, "replace an existing destination");
  app.add_flag("--restart", a->restart, "do not go on with what an interrupted run left");
  app.add_flag("--json", a->json, "one JSON object");
  app.footer(
      "The source is only read. The destination appears when it is complete and has been read back; Ctrl-C leaves nothing behind, and after a\n"
      "kill or a power cut the same command goes on where it stopped.\n"
      "Examples:\n"
      "  vl8 quantize Qwen3-VL-8B-Instruct Qwen3-VL-8B-Instruct-FP8\n"
      "  vl8 quantize Qwen3-VL-8B-Instruct Qwen3-VL-8B-int4 --recipe int4-fp8 --calibrate chats.jsonl --report report");
  return [a] { return run_quantize(*a); };
}

}  // namespace vl8
