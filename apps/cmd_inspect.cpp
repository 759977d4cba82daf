// vl8 inspect: what is in a model folder, and what this machine will make of it.
#include "gpu_plan.h"
#include "inspect_report.h"
#include "options.h"

namespace vl8 {
namespace {
struct InspectOptions {
  std::string model, backend = "cpu";
  int device = 0;
  double gpu_memory_utilization = 0.9;
  int64_t context = 0;
  bool json = false;
};
}  // namespace

CommandBody setup_inspect(CLI::App& app) {
  auto o = std::make_shared<InspectOptions>();
  app.add_option("-m,--model,model", o->model, "model folder (default: VL8_MODEL, else the bundled model)");
  app.add_option("--context", o->context, "tokens of prompt and answer to plan memory for")->check(CLI::PositiveNumber);
  app.add_option("--backend", o->backend, "cpu, or cuda: what a GPU must hold")->check(CLI::IsMember({"cpu", "cuda"}))->capture_default_str();
  app.add_option("--device", o->device, "with --backend cuda: number of the GPU")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--gpu-memory-utilization", o->gpu_memory_utilization, "with --backend cuda: share of the GPU's memory in use at most, other programs' included")
      ->check(CLI::Range(0.05, 1.0))
      ->capture_default_str();
  app.add_flag("--json", o->json, "one JSON object");
  app.footer("Reads config.json and file headers only, no weights.\nExample: vl8 inspect -m Qwen3-VL-8B-Instruct-FP8 --context 8192");
  return [o] {
    const std::filesystem::path folder = o->model.empty() ? default_model_folder() : std::filesystem::path(o->model);
    require_model_folder(folder);
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
