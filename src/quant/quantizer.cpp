// Names are those of the source; which tensors are quantised comes from the recipe and the list of the model's weights.
#include "quant/quantizer.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "core/error.h"
#include "core/file.h"
#include "io/weight_binder.h"
#include "model/weights.h"
#include "quant/writer.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;

bool is_quantised(const StoredTensor& t) {
  return t.dtype == DType::e4m3 || t.dtype == DType::e5m2 || t.dtype == DType::i8 || t.name.ends_with(".weight_packed");
}

void refuse_quantised(const ModelConfig& config, const Checkpoint& checkpoint) {
  const std::string folder = checkpoint.folder().string();
  if (config.quant.method != QuantMethod::none)
    fail_input("{} is quantised already (config.json has a quantization_config); quantise the BF16 model it was made from", folder);
  for (const StoredTensor& t : checkpoint.tensors())
    if (is_quantised(t))
      fail_input("{} is quantised already ({} is {}); quantise the BF16 model it was made from", folder, t.stored, dtype_name(t.dtype));
}

// A model that would not load is not quantised either: the same error names what does not fit.
void check_fit(const ModelConfig& config, const fs::path& source) {
  ModelWeights weights;
  WeightBinder binder(std::make_shared<WeightStore>(Checkpoint(source)), config.quant);
  weights.each(config, binder);
  binder.check_fit();
}

// Tokenizer, templates, processor and generation settings: everything but weights, config.json and hidden files.
std::vector<fs::path> companion_files(const fs::path& folder) {
  constexpr std::string_view kWeights[] = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack"};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string(), extension = entry.path().extension().string();
    if (!is_file(entry.path()) || name == "config.json" || name.starts_with(".") || name.ends_with(".index.json")) continue;
    if (std::find(std::begin(kWeights), std::end(kWeights), extension) == std::end(kWeights)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void stop_if_cancelled(const QuantizeOptions& options) {
  if (options.cancelled && options.cancelled()) fail(ErrorKind::cancelled, "stopped; nothing was written");
}

// A destination inside the source, or the source itself, would be read and written at once.
void check_folders(const fs::path& source, const fs::path& destination) {
  std::error_code ec;
  const fs::path from = fs::weakly_canonical(source, ec), to = fs::weakly_canonical(destination, ec);
  if (from == to || to.string().starts_with(from.string() + "/"))
    fail_usage("the destination {} is the source folder or inside it", destination.string());
}

// E4M3 or E5M2 for one matrix: which errs less over every eighth strip of its rows.
Coding better_fp8(const Checkpoint& checkpoint, const MatrixJob& job) {
  constexpr int64_t kRows = 128, kEvery = 8;
  CodeError sums[2];
  for (int64_t row = 0; row < job.rows; row += kRows * kEvery) {
    const int64_t count = std::min(kRows, job.rows - row);
    const std::vector<float> w = source_rows(checkpoint, job, row, count);
    std::vector<uint8_t> codes(w.size());
    std::vector<float> scales(static_cast<size_t>(count));
    int i = 0;
    for (Coding c : {Coding::e4m3_channel, Coding::e5m2_channel})
      if (auto e = encode_strip({{c}, w.data(), count, job.k, ScaleRule::max, nullptr, 0, codes.data(), scales.data()})) sums[i++].add(*e);
      else return Coding::e4m3_channel;  // NaN or infinity: encoding refuses it by name
  }
  return sums[1].error < sums[0].error ? Coding::e5m2_channel : Coding::e4m3_channel;
}

// What must be the same for a run to go on with another's work.
std::string fingerprint(const Checkpoint& checkpoint, const QuantPlan& plan, const QuantizeOptions& o, ScaleRule rule) {
  std::string text = fmt::format("{} {} {} {} {}\n", o.recipe, int(rule), o.shard_bytes, o.calibration.empty() ? "" : "calibrated", o.gptq);
  for (const SafetensorsFile& f : checkpoint.files()) {
    struct stat s {};
    stat(f.path().c_str(), &s);
    text += fmt::format("{} {} {}.{}\n", f.path().string(), f.file_bytes(), s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
  }
  for (const TensorSpec& spec : plan.specs) text += fmt::format("{} {} {}\n", spec.name, dtype_name(spec.dtype), spec.shape.str());
  for (const MatrixJob& j : plan.matrices) text += fmt::format("{} {}\n", j.module, format_name(j.format));
  for (const Prompt& p : o.calibration) text += std::string(reinterpret_cast<const char*>(p.ids.data()), p.ids.size() * 4);
  return fmt::format("{:016x}", piece_hash(text.data(), text.size()));
}

// Jobs in the order of the source's bytes.
struct Step {
  size_t file, offset, index;
  bool matrix;
};
std::vector<Step> steps_of(const QuantPlan& plan) {
  std::vector<Step> steps;
  for (size_t i = 0; i < plan.matrices.size(); ++i) steps.push_back({plan.matrices[i].source->file, plan.matrices[i].source->offset, i, true});
  for (size_t i = 0; i < plan.copies.size(); ++i) steps.push_back({plan.copies[i].source->file, plan.copies[i].source->offset, i, false});
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return std::pair(a.file, a.offset) < std::pair(b.file, b.offset); });
  return steps;
}

void fill_report(QuantizeReport& report, const QuantPlan& plan, const Journal& journal) {
  std::set<const StoredTensor*> quantised;
  for (size_t i = 0; i < plan.matrices.size(); ++i) {
    const MatrixJob& job = plan.matrices[i];
    const FinishedJob& done = *journal.find(i);
    quantised.insert(job.source);
    ModuleReport m{.module = job.module, .kind = std::string(module_kind_name(job.name.kind)), .format = format_name(job.format),
                   .layer = job.name.layer, .rows = job.rows, .k = job.k, .bytes = stored_bytes(job.format, job.rows, job.k)};
    m.sqnr_db = done.error.sqnr_db(), m.cosine = done.error.cosine(), m.relative_error = done.error.relative();
    m.output_sqnr_db = done.output_sqnr_db;
    if (m.relative_error > report.max_relative_error) report.max_relative_error = m.relative_error, report.worst_tensor = job.source->stored;
    report.modules.push_back(std::move(m));
  }
  report.quantised_tensors = int64_t(quantised.size());
  report.kept_tensors = int64_t(plan.copies.size());
  report.notes = plan.notes;
}

}  // namespace

QuantizeReport quantize(const fs::path& source, const fs::path& destination, const QuantizeOptions& options, ThreadPool& pool) {
  const auto start = std::chrono::steady_clock::now();
  const Recipe& recipe = find_recipe(options.recipe);
  const ScaleRule rule = options.rule.value_or(recipe.rule);
  check_folders(source, destination);
  if (recipe.static_inputs && options.calibration.empty())
    fail_usage("recipe {} has static input scales, which only calibration can tell; leave --calibrate on", recipe.name);
  const Checkpoint checkpoint(source);
  const ModelConfig config = load_model_config(source);
  refuse_quantised(config, checkpoint);
  check_fit(config, source);

  const QuantPlan plan = make_plan(config, checkpoint, recipe, options.plan, read_file(source / "config.json"),
                                   [&](const MatrixJob& job) { return better_fp8(checkpoint, job); });
  const std::string print = fingerprint(checkpoint, plan, options, rule);

  NewFolder target(destination, options.force, true);
  if (options.restart) fs::remove(target.path() / "journal");
  QuantizeReport report;
  uint64_t result_bytes = 0;
  {
    Journal journal(target.path() / "journal", print);
    if (journal.resumed() == 0) require_disk_space(target.path(), safetensors_bytes(plan.specs));
    CheckpointWriter writer(target.path(), plan.specs, options.shard_bytes, true);
    MatrixWriter matrices(checkpoint, plan, writer, journal, pool, rule, options.cancelled, options.show_progress);
    stop_if_cancelled(options);
    if (!options.calibration.empty())
      calibrate(source, plan, matrices, options.calibration, {.gptq = options.gptq, .rule = rule, .threads = options.threads}, pool);
    for (const Step& s : steps_of(plan)) {
      stop_if_cancelled(options);
      s.matrix ? matrices.write_matrix(s.index) : matrices.write_copy(s.index);
    }
    matrices.verify();
    fill_report(report, plan, journal);
    writer.commit();
    report.resumed_jobs = journal.resumed();
    result_bytes = writer.tensor_bytes();
    report.files = writer.files();
  }
  for (const fs::path& file : companion_files(source)) fs::copy_file(file, target.path() / file.filename(), fs::copy_options::overwrite_existing);
  write_file(target.path() / "config.json", plan.config_json);
  stop_if_cancelled(options);
  fs::remove(target.path() / "journal");
  target.commit();

  report.source_bytes = plan.source_bytes;
  report.result_bytes = result_bytes;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace vl8
