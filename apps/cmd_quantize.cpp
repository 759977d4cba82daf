// vl8 quantize: a smaller copy of a model folder, and what was lost.
#include "core/file.h"
#include "core/interrupt.h"
#include "core/threads.h"
#include "options.h"
#include "inspect_report.h"
#include "quant/auto_search.h"
#include "quant/calibration_set.h"
#include "quant/quantizer.h"
#include "quant/report.h"
#include "quant/target.h"
#include "quantize_report.h"

namespace vl8 {
namespace {

struct QuantizeArguments {
  std::string source, destination, recipe = "fp8-block128", calibrate = "auto", method = "gptq", rule, report, held_out, size, loss,
              target;
  int64_t group = 0, head_bits = 0, calibration_tokens = 4096, eval_limit = 0, context = 8192;
  bool force = false, restart = false, json = false, no_eval = false, dry_run = false;
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

// `--recipe auto`: the search fills the formats of every module.
void search_formats(const QuantizeArguments& a, QuantizeOptions& o, ThreadPool& pool) {
  if (a.size.empty() == a.loss.empty()) fail_usage("recipe auto needs one goal: --size 5GB or --loss 0.5%");
  AutoGoal goal;
  if (!a.size.empty()) goal.size_bytes = parse_size(a.size);
  else goal.loss = parse_share(a.loss);
  const AutoResult r = auto_search(a.source, goal, a.group ? a.group : 128, chats(a, a.calibrate == "off" ? "auto" : a.calibrate, "chats.jsonl"),
                                   {.threads = a.threads}, pool);
  constexpr const char* kLevels[] = {"16 bits", "8 bits", "4 bits"};
  fmt::print(stderr, "{:<14} {:>12} {:>12} {:>9}  chosen\n", "module", "KL at 8", "KL at 4", "MB at 16");
  for (const AutoUnit& u : r.units)
    fmt::print(stderr, "{:<14} {:>12.3g} {:>12} {:>9.2f}  {}\n", u.name, u.kl[0], u.four_bits ? fmt::format("{:.3g}", u.kl[1]) : "-",
               double(u.bytes[0]) * 1e-6, kLevels[u.level]);
  fmt::print(stderr, "{:.1f} MB; of the calibration positions {:.2f} % change their first choice, mean KL {:.4g} (before calibration)\n",
             double(r.bytes) * 1e-6, 100 * r.measured.top1_changed, r.measured.kl);
  o.plan.overrides = r.overrides;
}

// `--target`: the recipe that fits the machine, after its reasoning was printed.
std::string recipe_for_target(const QuantizeArguments& a) {
  const Target& target = find_target(a.target);
  const ModelConfig config = load_model_config(a.source);
  const Checkpoint checkpoint(a.source);
  const InspectReport inspect = inspect_model(config, checkpoint, std::min(a.context, config.text.context_limit()));
  const TargetPlan plan = plan_for_target(target, config, checkpoint, a.context, inspect.activation_bytes);
  fmt::print(a.json ? stderr : stdout, "{}", target_text(plan));
  if (!plan.chosen) fail_usage("{} does not fit {} with a context of {}", a.source, target.help, plan.wanted_context);
  return plan.chosen->recipe;
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

int run_quantize(QuantizeArguments a) {
  if (!a.target.empty()) {
    a.recipe = recipe_for_target(a);
    if (a.recipe == "bf16") {
      fmt::print(stderr, "the model fits as it is: nothing to quantise\n");
      return 0;
    }
  }
  if (a.dry_run) return 0;
  if (a.destination.empty()) fail_usage("name the folder to create");
  if (std::filesystem::path(a.report).extension() == ".json") fail_usage("--report names a folder, which gets report.md, report.json and plots");
  ThreadPool pool(a.threads);
  QuantizeOptions options = make_options(a);
  if (a.recipe == "auto") search_formats(a, options, pool);
  else if (!a.size.empty() || !a.loss.empty()) fail_usage("--size and --loss belong to --recipe auto");
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
  app.add_option("destination", a->destination, "folder to create");
  app.add_option("--recipe", a->recipe, recipe_help())->capture_default_str();
  app.add_option("--size", a->size, "with recipe auto: the result may take this much (5GB)");
  app.add_option("--loss", a->loss, "with recipe auto: this share of next-token first choices may change (0.5%)");
  std::string machines = "pick the recipe for a machine and say why:";
  for (const Target& t : targets()) machines += fmt::format("\n  {}: {}", t.name, t.help);
  app.add_option("--target", a->target, machines);
  app.add_option("--context", a->context, "with --target: tokens that must fit")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_flag("--dry-run", a->dry_run, "with --target: only say what would be done");
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
      "  vl8 quantize Qwen3-VL-8B-Instruct Qwen3-VL-8B-int4 --recipe int4-fp8 --calibrate chats.jsonl --report report\n"
      "  vl8 quantize Qwen3-VL-8B-Instruct Qwen3-VL-8B-5GB --recipe auto --size 5GB\n"
      "  vl8 quantize Qwen3-VL-8B-Instruct --target orin16 --dry-run");
  return [a] { return run_quantize(*a); };  // by value: a target fills in the recipe
}

}  // namespace vl8
