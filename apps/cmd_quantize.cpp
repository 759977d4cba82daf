// vl8 quantize: an FP8 copy of a model folder.
#include "core/interrupt.h"
#include "core/threads.h"
#include "options.h"
#include "quant/quantizer.h"

namespace vl8 {
namespace {

struct QuantizeArguments {
  std::string source, destination, recipe = "fp8-block128";
  bool force = false, json = false;
  int threads = 0;
};

void print(const QuantizeArguments& a, const QuantizeReport& r) {
  if (a.json) {
    nlohmann::ordered_json j{{"recipe", a.recipe},
                             {"destination", a.destination},
                             {"quantised_tensors", r.quantised_tensors},
                             {"kept_tensors", r.kept_tensors},
                             {"source_bytes", r.source_bytes},
                             {"result_bytes", r.result_bytes},
                             {"files", r.files},
                             {"seconds", r.seconds},
                             {"max_relative_error", r.max_relative_error},
                             {"worst_tensor", r.worst_tensor}};
    fmt::print("{}\n", j.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return;
  }
  fmt::print("{}: {} tensors quantised, {} kept, {:.1f} MB to {:.1f} MB in {:.1f} s\n", a.destination,
             r.quantised_tensors, r.kept_tensors, double(r.source_bytes) * 1e-6,
             double(r.result_bytes) * 1e-6, r.seconds);
  fmt::print("largest relative error of a tensor: {:.4f} ({})\n", r.max_relative_error, r.worst_tensor);
}

std::string recipe_help() {
  std::string s = "how to quantise:";
  for (const QuantRecipe& r : quant_recipes()) s += fmt::format(" {} ({})", r.name, r.help);
  return s;
}

}  // namespace

CommandBody setup_quantize(CLI::App& app) {
  auto a = std::make_shared<QuantizeArguments>();
  app.add_option("source", a->source, "model folder with BF16, F16 or F32 weights")->required();
  app.add_option("destination", a->destination, "folder to create")->required();
  app.add_option("--recipe", a->recipe, recipe_help())->capture_default_str();
  app.add_option("--threads", a->threads, "CPU threads (default: all that this process may use)")
      ->check(CLI::Range(0, 1024));
  app.add_flag("--force", a->force, "replace an existing destination");
  app.add_flag("--json", a->json, "one JSON object");
  app.footer(
      "The source is only read. The destination appears when it is complete; Ctrl-C leaves nothing behind.\n"
      "Example: vl8 quantize Qwen3-VL-8B-Instruct Qwen3-VL-8B-Instruct-FP8");
  return [a] {
    ThreadPool pool(a->threads);
    QuantizeOptions options{.recipe = a->recipe, .force = a->force, .cancelled = interrupted};
    print(*a, quantize(a->source, a->destination, options, pool));
    return 0;
  };
}

}  // namespace vl8
