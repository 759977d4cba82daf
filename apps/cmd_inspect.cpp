// vl8 inspect: what is in a model folder, and what this machine will make of it.
#include "inspect_report.h"
#include "options.h"

namespace vl8 {
namespace {
struct InspectOptions {
  std::string model;
  int64_t context = 0;
  bool json = false;
};
}  // namespace

CommandBody setup_inspect(CLI::App& app) {
  auto o = std::make_shared<InspectOptions>();
  app.add_option("-m,--model,model", o->model, "model folder (default: VL8_MODEL, else the bundled model)");
  app.add_option("--context", o->context, "tokens of prompt and answer to plan memory for")->check(CLI::PositiveNumber);
  app.add_flag("--json", o->json, "one JSON object");
  app.footer("Reads config.json and file headers only, no weights.\nExample: vl8 inspect -m Qwen3-VL-8B-Instruct-FP8 --context 8192");
  return [o] {
    const std::filesystem::path folder = o->model.empty() ? default_model_folder() : std::filesystem::path(o->model);
    require_model_folder(folder);
    InspectReport report = inspect_model(load_model_config(folder), Checkpoint(folder), o->context);
    if (o->json) fmt::print("{}\n", inspect_json(report));
    else fmt::print("{}", inspect_text(report));
    return 0;
  };
}

}  // namespace vl8
