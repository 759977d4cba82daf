// vl8 inspect: what is in a model folder, and what this machine will make of it.
#include <algorithm>

#include "gpu_plan.h"
#include "inspect_report.h"
#include "options.h"
#include "quant/diff.h"

namespace vl8 {
namespace {
struct InspectOptions {
  std::string model, diff, backend = "cpu";
  int device = 0;
  double gpu_memory_utilization = 0.9;
  int64_t context = 0, worst = 20;
  bool json = false;
};

// What two checkpoints of one model store, and how far apart their weights are; the ones furthest apart first.
int show_diff(const InspectOptions& o, const std::filesystem::path& a) {
  ThreadPool pool;
  CheckpointDiff d = diff_checkpoints(a, o.diff, pool);
  std::stable_sort(d.modules.begin(), d.modules.end(), [](const ModuleDiff& x, const ModuleDiff& y) { return x.error.relative() > y.error.relative(); });
  int64_t equal = 0;
  for (const ModuleDiff& m : d.modules) equal += m.equal;
  if (o.json) {
    nlohmann::ordered_json j{{"a", a.string()}, {"b", o.diff}, {"bytes_a", d.bytes_a}, {"bytes_b", d.bytes_b}, {"equal", equal}, {"config", d.config}};
    for (const ModuleDiff& m : d.modules)
      j["modules"].push_back({{"module", m.module}, {"format_a", m.format_a}, {"format_b", m.format_b}, {"bytes_a", m.bytes_a}, {"bytes_b", m.bytes_b},
                              {"equal", m.equal}, {"relative_error", m.error.relative()}, {"sqnr_db", m.error.sqnr_db()}, {"cosine", m.error.cosine()}});
    fmt::print("{}\n", j.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return 0;
  }
  fmt::print("{:.1f} MB | {:.1f} MB; {} of {} modules have equal values\n", double(d.bytes_a) * 1e-6, double(d.bytes_b) * 1e-6, equal, d.modules.size());
  for (const std::string& line : d.config) fmt::print("config {}\n", line);
  fmt::print("{:<58} {:<20} {:<20} {:>9} {:>8} {:>10}\n", "module", "format", "format", "rel.error", "SQNR dB", "cosine");
  int64_t shown = 0;
  for (const ModuleDiff& m : d.modules) {
    if (m.equal || shown++ >= o.worst) continue;
    fmt::print("{:<58} {:<20} {:<20} {:>9.5f} {:>8.2f} {:>10.7f}\n", m.module, m.format_a, m.format_b, m.error.relative(), m.error.sqnr_db(), m.error.cosine());
  }
  if (shown > o.worst) fmt::print("and {} more (--worst N, --json)\n", shown - o.worst);
  return 0;
}
}  // namespace

CommandBody setup_inspect(CLI::App& app) {
  auto o = std::make_shared<InspectOptions>();
  app.add_option("-m,--model,model", o->model, "model folder (default: VL8_MODEL, else the bundled model)");
  app.add_option("--context", o->context, "tokens of prompt and answer to plan memory for")->check(CLI::PositiveNumber);
  app.add_option("--diff", o->diff, "compare with this folder: formats, sizes, and how far the weights are apart");
  app.add_option("--worst", o->worst, "with --diff: modules to list")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--backend", o->backend, "cpu, or cuda: what a GPU must hold")->check(CLI::IsMember({"cpu", "cuda"}))->capture_default_str();
  app.add_option("--device", o->device, "with --backend cuda: number of the GPU")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--gpu-memory-utilization", o->gpu_memory_utilization, "with --backend cuda: share of the GPU's memory in use at most, other programs' included")
      ->check(CLI::Range(0.05, 1.0))
      ->capture_default_str();
  app.add_flag("--json", o->json, "one JSON object");
  app.footer("Reads config.json and file headers only, no weights. (--diff reads them.)\nExamples:\n  vl8 inspect -m Qwen3-VL-8B-Instruct-FP8 --context 8192\n"
             "  vl8 inspect Qwen3-VL-8B-Instruct --diff Qwen3-VL-8B-Instruct-FP8");
  return [o] {
    const std::filesystem::path folder = o->model.empty() ? default_model_folder() : std::filesystem::path(o->model);
    require_model_folder(folder);
    if (!o->diff.empty()) return show_diff(*o, folder);
    InspectReport report = inspect_model(load_model_config(folder), Checkpoint(folder), o->context);
    const bool gpu = o->backend == "cuda";
    std::optional<CudaDeviceInfo> card;
    if (gpu && cuda_usable()) card = cuda_device(o->device);  // without a card the plan is printed all the same
    const GpuPlan plan = gpu ? plan_gpu(report, card ? &*card : nullptr, o->gpu_memory_utilization) : GpuPlan();
    if (o->json) {
      auto j = nlohmann::ordered_json::parse(inspect_json(report));
      if (gpu) j["gpu"] = gpu_plan_json(plan);
      fmt::print("{}\n", j.dump(2));
    } else {
      fmt::print("{}{}", inspect_text(report), gpu ? gpu_plan_text(plan, report.context) : "");
    }
    return 0;
  };
}

}  // namespace vl8
