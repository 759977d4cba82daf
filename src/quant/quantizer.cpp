// One tensor at a time, strips of 128 rows on all threads. Names are those of the source; which tensors are
// quantised comes from the list of the model's weights.
#include "quant/quantizer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <unordered_map>

#include "core/error.h"
#include "core/file.h"
#include "core/progress.h"
#include "io/checkpoint.h"
#include "io/checkpoint_writer.h"
#include "io/first_error.h"
#include "io/model_layout.h"
#include "io/weight_binder.h"
#include "model/weights.h"
#include "quant/fp8_block.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;

constexpr int64_t kBlock = 128;
constexpr size_t kCopyPiece = size_t(8) << 20;
constexpr QuantRecipe kRecipes[] = {{"fp8-block128",
                                     "E4M3 in 128x128 blocks with F32 scales: the language linears and "
                                     "experts, like the published FP8 models"}};

int64_t blocks(int64_t n) {
  return (n + kBlock - 1) / kBlock;
}

// A stored tensor and where it goes. Quantised: `matrices` matrices [rows, cols] that follow one another.
struct Job {
  const StoredTensor* source = nullptr;
  size_t weight = 0, scale = 0;  // indexes of the written tensors; scale only where quantised
  bool quantised = false;
  int64_t matrices = 1, rows = 0, cols = 0;
};

struct Plan {
  std::vector<Job> jobs;
  std::vector<TensorSpec> specs;
  uint64_t source_bytes = 0;
};

std::string scale_name(const std::string& stored) {
  return stored + "_scale_inv";
}  // X.weight -> X.weight_scale_inv

// Experts are [E, a, b] in either orientation; square blocks are the same cut in both (spec 8.2).
Job quantised_job(const StoredTensor& t) {
  Job job{.source = &t, .quantised = true};
  const int last = t.shape.rank - 1;
  job.matrices = t.shape.rank == 3 ? t.shape[0] : 1;
  job.rows = t.shape[last - 1], job.cols = t.shape[last];
  return job;
}

// Is the tensor one that the recipe quantises? Names and shapes come from the model's list; per-expert
// tensors are found under the name of the fused one.
bool is_candidate(const StoredTensor& t, const std::unordered_map<std::string, TensorRole>& roles) {
  if (auto it = roles.find(t.name); it != roles.end()) return it->second == TensorRole::quantised;
  const size_t experts = t.name.find(".mlp.experts.");
  return experts != std::string::npos && t.name.ends_with("_proj.weight") &&
         roles.contains(t.name.substr(0, experts) + ".mlp.experts.down_proj");
}

void refuse_quantised(const ModelConfig& config, const Checkpoint& checkpoint) {
  if (config.quant.method != QuantMethod::none)
    fail_input(
        "{} is quantised already (config.json has a quantization_config); quantise the BF16 model it was "
        "made from",
        checkpoint.folder().string());
  for (const StoredTensor& t : checkpoint.tensors())
    if (t.dtype == DType::e4m3 || t.dtype == DType::e5m2)
      fail_input("{} is quantised already ({} is {}); quantise the BF16 model it was made from",
                 checkpoint.folder().string(), t.stored, dtype_name(t.dtype));
}

// A model that would not load is not quantised either: the same error names what does not fit.
void check_fit(const ModelConfig& config, const fs::path& source) {
  ModelWeights weights;
  WeightBinder binder(std::make_shared<WeightStore>(Checkpoint(source)), config.quant);
  weights.each(config, binder);
  binder.check_fit();
}

Plan make_plan(const ModelConfig& config, const Checkpoint& checkpoint) {
  std::unordered_map<std::string, TensorRole> roles;
  for (const LayoutTensor& t : model_layout(config)) roles.emplace(t.name, t.role);
  Plan plan;
  int64_t quantised = 0;
  for (const StoredTensor& t : checkpoint.tensors()) {
    Job job{.source = &t};
    if (is_candidate(t, roles)) {
      if (t.dtype != DType::bf16 && t.dtype != DType::f16 && t.dtype != DType::f32)
        fail_input("{}: {} is {}; only BF16, F16 and F32 can be quantised", checkpoint.folder().string(),
                   t.stored, dtype_name(t.dtype));
      if (t.shape.rank < 2 || t.shape.rank > 3)
        fail_input("{}: {} is {}, expected a matrix", checkpoint.folder().string(), t.stored, t.shape.str());
      job = quantised_job(t);
      ++quantised;
    }
    job.weight = plan.specs.size();
    plan.specs.push_back({t.stored, job.quantised ? DType::e4m3 : t.dtype, t.shape});
    if (job.quantised) {
      Shape scale{blocks(job.rows), blocks(job.cols)};
      if (t.shape.rank == 3) scale = {job.matrices, scale[0], scale[1]};
      job.scale = plan.specs.size();
      plan.specs.push_back({scale_name(t.stored), DType::f32, scale});
    }
    plan.source_bytes += t.bytes;
    plan.jobs.push_back(job);
  }
  if (quantised == 0)
    fail_input("{} has none of the linears that its config.json describes", checkpoint.folder().string());
  return plan;
}

// Tokenizer, templates, processor and generation settings: everything but weights, config.json and hidden
// files.
std::vector<fs::path> companion_files(const fs::path& folder) {
  constexpr std::string_view kWeights[] = {".safetensors", ".bin",  ".pt", ".pth",
                                           ".gguf",        ".onnx", ".h5", ".msgpack"};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string(), extension = entry.path().extension().string();
    if (!is_file(entry.path()) || name == "config.json" || name.starts_with(".") ||
        name.ends_with(".index.json"))
      continue;
    if (std::find(std::begin(kWeights), std::end(kWeights), extension) == std::end(kWeights))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void stop_if_cancelled(const QuantizeOptions& options) {
  if (options.cancelled && options.cancelled()) fail(ErrorKind::cancelled, "stopped; nothing was written");
}

class Quantizer {
 public:
  Quantizer(const Checkpoint& checkpoint, const Plan& plan, CheckpointWriter& writer,
            const QuantizeOptions& options, ThreadPool& pool)
      : checkpoint_(checkpoint),
        plan_(plan),
        writer_(writer),
        options_(options),
        pool_(pool),
        progress_("quantising", int64_t(plan.source_bytes), "B", options.show_progress) {}

  void run(QuantizeReport& report) {
    for (const Job& job : plan_.jobs) {
      stop_if_cancelled(options_);
      if (job.quantised)
        quantise(job, report), ++report.quantised_tensors;
      else
        copy(job), ++report.kept_tensors;
      checkpoint_.files()[job.source->file].file().drop(job.source->offset, job.source->bytes);
    }
  }

 private:
  template <typename F>
  void in_parallel(int64_t count, F&& f) {
    FirstError error;
    pool_.parallel_for(count, 1, [&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        error.run([&] {
          stop_if_cancelled(options_);
          f(i);
        });
    });
    error.rethrow();
  }

  void copy(const Job& job) {
    std::span<const std::byte> bytes = checkpoint_.bytes(*job.source);
    in_parallel(int64_t((bytes.size() + kCopyPiece - 1) / kCopyPiece), [&](int64_t i) {
      const size_t at = size_t(i) * kCopyPiece, count = std::min(kCopyPiece, bytes.size() - at);
      checkpoint_.files()[job.source->file].file().populate(job.source->offset + at, count);
      writer_.write(job.weight, at, bytes.subspan(at, count));
      progress_.advance(int64_t(count));
    });
  }

  void quantise(const Job& job, QuantizeReport& report) {
    const StoredTensor& t = *job.source;
    const int64_t strips = blocks(job.rows), columns = blocks(job.cols);
    std::vector<float> scales(size_t(job.matrices * strips * columns));
    BlockError sum;
    std::mutex mutex;
    in_parallel(job.matrices * strips, [&](int64_t i) {
      const int64_t matrix = i / strips, row = i % strips * kBlock, count = std::min(kBlock, job.rows - row);
      const size_t at = size_t((matrix * job.rows + row) * job.cols);
      std::vector<uint8_t> codes(size_t(count * job.cols));
      auto error = strip(t, at, count, job.cols, codes.data(), scales.data() + i * columns);
      if (!error)
        fail_input("{}: {} holds NaN or infinity in rows {} to {}; the model is damaged",
                   checkpoint_.folder().string(), t.stored, matrix * job.rows + row,
                   matrix * job.rows + row + count - 1);
      writer_.write(job.weight, at, std::as_bytes(std::span(codes)));
      progress_.advance(int64_t(codes.size() * dtype_bytes(t.dtype)));
      std::lock_guard lock(mutex);
      sum.error += error->error, sum.square += error->square;
    });
    writer_.write(job.scale, 0, std::as_bytes(std::span(scales)));
    const double relative = sum.square > 0 ? std::sqrt(sum.error / sum.square) : 0;
    if (relative > report.max_relative_error)
      report.max_relative_error = relative, report.worst_tensor = t.stored;
  }

  // `at` counts elements. A file may place tensors at odd addresses; those are read through a copy.
  std::optional<BlockError> strip(const StoredTensor& t, size_t at, int64_t rows, int64_t cols,
                                  uint8_t* codes, float* scales) const {
    const size_t element = dtype_bytes(t.dtype), bytes = size_t(rows * cols) * element;
    std::span<const std::byte> in = checkpoint_.bytes(t).subspan(at * element, bytes);
    checkpoint_.files()[t.file].file().populate(t.offset + at * element, bytes);
    if (reinterpret_cast<uintptr_t>(in.data()) % element == 0)
      return quantize_strip(in.data(), t.dtype, rows, cols, kBlock, codes, scales);
    std::vector<std::byte> aligned(in.begin(), in.end());
    return quantize_strip(aligned.data(), t.dtype, rows, cols, kBlock, codes, scales);
  }

  const Checkpoint& checkpoint_;
  const Plan& plan_;
  CheckpointWriter& writer_;
  const QuantizeOptions& options_;
  ThreadPool& pool_;
  Progress progress_;
};

void check_recipe(const std::string& name) {
  std::string known;
  for (const QuantRecipe& r : kRecipes) {
    if (name == r.name) return;
    known += fmt::format("\n  {}: {}", r.name, r.help);
  }
  fail_usage("unknown recipe '{}'; there is{}", name, known);
}

// A destination inside the source, or the source itself, would be read and written at once.
void check_folders(const fs::path& source, const fs::path& destination) {
  std::error_code ec;
  const fs::path from = fs::weakly_canonical(source, ec), to = fs::weakly_canonical(destination, ec);
  if (from == to || to.string().starts_with(from.string() + "/"))
    fail_usage("the destination {} is the source folder or inside it", destination.string());
}

}  // namespace

std::span<const QuantRecipe> quant_recipes() {
  return kRecipes;
}

QuantizeReport quantize(const fs::path& source, const fs::path& destination, const QuantizeOptions& options,
                        ThreadPool& pool) {
  const auto start = std::chrono::steady_clock::now();
  check_recipe(options.recipe);
  check_folders(source, destination);
  const Checkpoint checkpoint(source);
  const ModelConfig config = load_model_config(source);
  refuse_quantised(config, checkpoint);
  check_fit(config, source);
  const Plan plan = make_plan(config, checkpoint);

  NewFolder target(destination, options.force);
  require_disk_space(target.path(), safetensors_bytes(plan.specs));
  for (const fs::path& file : companion_files(source)) fs::copy_file(file, target.path() / file.filename());
  write_file(target.path() / "config.json", with_fp8_config(read_file(source / "config.json"), config));
  CheckpointWriter writer(target.path(), plan.specs, options.shard_bytes);
  QuantizeReport report;
  Quantizer(checkpoint, plan, writer, options, pool).run(report);
  writer.commit();
  stop_if_cancelled(options);
  target.commit();

  report.source_bytes = plan.source_bytes;
  report.result_bytes = writer.tensor_bytes();
  report.files = writer.files();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace vl8
