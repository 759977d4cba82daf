#include "engine/loaded_model.h"

#include "core/log.h"
#include "core/threads.h"
#include "cpu/cpu_ops.h"
#include "cuda/cuda_ops.h"
#include "io/weight_binder.h"
#include "ops/ref_ops.h"

namespace vl8 {

std::unique_ptr<Ops> make_ops(const EngineOptions& o) {
  if (o.backend == "cpu") return make_cpu_ops(o.precision, o.threads, "", o.batch_invariant);
  if (o.backend == "cuda") return make_cuda_ops({.precision = o.precision, .device = o.device, .memory_utilization = o.gpu_memory_utilization});
  if (o.backend == "reference") return std::make_unique<RefOps>(o.precision);
  fail_usage("unknown backend '{}'; there are cpu, cuda and reference", o.backend);
}

LoadedModel load_model(const std::filesystem::path& folder, const EngineOptions& options) {
  LoadedModel m;
  m.ops = make_ops(options);
  m.config = load_model_config(folder);
  m.store = std::make_shared<WeightStore>(Checkpoint(folder));
  WeightBinder binder(m.store, m.config.quant);
  m.weights.each(m.config, binder);
  ThreadPool pool(options.threads);
  LoadReport report = binder.finish(pool, {ReadMode::background, options.progress});
  for (const std::string& w : m.config.warnings) spdlog::warn("{}", w);
  for (const std::string& w : report.warnings) spdlog::warn("{}", w);
  prepare(*m.ops, m.config, m.weights);
  return m;
}

}  // namespace vl8
