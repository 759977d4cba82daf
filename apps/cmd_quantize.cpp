#include "cmd_quantize.h"

#include <fmt/format.h>
#include <signal.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "core/threads.h"
#include "quant/quantizer.h"

namespace vl8 {
namespace {

std::atomic<bool> g_cancel{false};  // the only thing a signal handler may touch
static_assert(std::atomic<bool>::is_always_lock_free);

// Ctrl-C, a closed terminal and `kill` ask the work to stop and clean up; the old handlers come back
// afterwards.
class StopSignals {
 public:
  StopSignals() {
    g_cancel = false;
    struct sigaction action{};
    action.sa_handler = [](int) { g_cancel = true; };
    for (size_t i = 0; i < 3; ++i) sigaction(kSignals[i], &action, &old_[i]);
  }
  ~StopSignals() {
    for (size_t i = 0; i < 3; ++i) sigaction(kSignals[i], &old_[i], nullptr);
  }

 private:
  static constexpr int kSignals[3] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction old_[3];
};

void print(const QuantizeArguments& a, const QuantizeReport& r) {
  if (a.json) {
    nlohmann::ordered_json j{{"recipe", a.recipe},
                             {"destination", a.destination.string()},
                             {"quantised_tensors", r.quantised_tensors},
                             {"kept_tensors", r.kept_tensors},
                             {"source_bytes", r.source_bytes},
                             {"result_bytes", r.result_bytes},
                             {"files", r.files},
                             {"seconds", r.seconds},
                             {"max_relative_error", r.max_relative_error},
                             {"worst_tensor", r.worst_tensor}};
    fmt::print("{}\n", j.dump(2));
    return;
  }
  fmt::print("{}: {} tensors quantised, {} kept, {:.1f} MB to {:.1f} MB in {:.1f} s\n",
             a.destination.string(), r.quantised_tensors, r.kept_tensors, double(r.source_bytes) * 1e-6,
             double(r.result_bytes) * 1e-6, r.seconds);
  fmt::print("largest relative error of a tensor: {:.4f} ({})\n", r.max_relative_error, r.worst_tensor);
}

}  // namespace

void run_quantize(const QuantizeArguments& a) {
  StopSignals signals;
  ThreadPool pool(a.threads);
  QuantizeOptions options{.recipe = a.recipe, .force = a.force, .cancel = &g_cancel};
  print(a, quantize(a.source, a.destination, options, pool));
}

}  // namespace vl8
