// Loading and quantising against what the disk and memory give in the same run. The floor is a plain pread of
// the same file into one buffer, as dd does it, on one and on two threads. Cold means that the pages were
// dropped just before (posix_fadvise DONTNEED); turns alternate, and the median of the rounds is printed.
// "first token" is a whole start: open, check, read, and the first token of a short prompt.
//   bench_io [--model FOLDER | --shape CONFIG.json [--keep]] [--work FOLDER] [--rounds N] [--quantize]
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <thread>

#include "core/file.h"
#include "engine/loaded_model.h"
#include "engine/runner.h"
#include "io/random_checkpoint.h"
#include "io/weight_binder.h"
#include "model/weights.h"
#include "quant/quantizer.h"

namespace {
using namespace vl8;
namespace fs = std::filesystem;

double seconds_of(const std::function<void()>& f) {
  auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void drop_cache(const Checkpoint& checkpoint) {
  for (const SafetensorsFile& file : checkpoint.files()) {
    int fd = open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
}

// The whole files through pread into a buffer that is used again, on `threads` threads.
void read_plain(const Checkpoint& checkpoint, int threads) {
  constexpr size_t kBuffer = size_t(8) << 20;
  for (const SafetensorsFile& file : checkpoint.files()) {
    int fd = open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
    std::atomic<size_t> next{0};
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; ++t)
      pool.emplace_back([&] {
        std::vector<char> buffer(kBuffer);
        for (size_t at; (at = next.fetch_add(kBuffer)) < file.file_bytes();)
          for (size_t done = 0; done < kBuffer;) {
            ssize_t n = pread(fd, buffer.data() + done, kBuffer - done, off_t(at + done));
            if (n <= 0) break;
            done += size_t(n);
          }
      });
    for (auto& t : pool) t.join();
    close(fd);
  }
}

double cpu_seconds() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  auto seconds = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) * 1e-6; };
  return seconds(u.ru_utime) + seconds(u.ru_stime);
}

double resident_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  return 0;
}

struct Loaded {
  double bind_ms = 0, resident_share = 0;
  LoadReport report;
};

Loaded load(const fs::path& folder, ThreadPool& pool, ReadMode mode) {
  Loaded r;
  const double before = resident_mb();
  auto store = std::make_shared<WeightStore>(Checkpoint(folder));
  ModelConfig config = load_model_config(folder);
  ModelWeights weights;
  WeightBinder binder(store, config.quant);
  r.bind_ms = 1e3 * seconds_of([&] { weights.each(config, binder); });
  r.report = binder.finish(pool, {mode, false});
  r.resident_share = (resident_mb() - before) * 1048576 / double(store->checkpoint().file_bytes());
  return r;
}

// A process that starts: loads as the engine does, with reading in the background, and computes one token.
void first_token(const fs::path& folder) {
  EngineOptions options;
  LoadedModel m = load_model(folder, options);
  Runner runner(*m.ops, m.config, m.weights, 1, options.page_tokens);
  Sequence s(prompt_from_ids({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, {}, {}, m.config));
  Runner::Work step{&s, s.pending()};
  runner.step(std::span(&step, 1));
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("loading and quantising against the disk");
  fs::path model, shape, work = fs::temp_directory_path();
  int rounds = 3;
  std::string random = "fp8";
  bool with_quantizer = false, keep = false;
  app.add_option("--model", model, "a model folder");
  app.add_option("--shape", shape, "config.json of random weights to write and load");
  app.add_option("--random", random, "fp8 or bf16");
  app.add_option("--work", work, "folder for what is written");
  app.add_option("--rounds", rounds);
  app.add_flag("--keep", keep, "do not remove the random checkpoint");
  app.add_flag("--quantize", with_quantizer, "also quantise it (BF16 only)");
  CLI11_PARSE(app, argc, argv);
  try {
    ThreadPool pool;
    const bool made = model.empty();
    if (made) {
      model = work / fmt::format("vl8-bench-io-{}", getpid());
      double s = seconds_of([&] {
        write_random_checkpoint(model, read_file(shape),
                                {.format = random == "fp8" ? RandomFormat::fp8 : RandomFormat::bf16}, pool);
      });
      fmt::print("{:<34}{:8.2f} s\n", "write random checkpoint", s);
    }
    const Checkpoint checkpoint(model);
    const double gb = double(checkpoint.file_bytes()) * 1e-9;
    fmt::print("{}: {:.3f} GB in {} file(s), {} tensors\n", model.string(), gb, checkpoint.files().size(),
               checkpoint.tensors().size());

    struct Row {
      const char* name;
      bool cold;
      std::function<void()> run;
    };
    Loaded last;
    const Row rows[] = {
        {"pread, 1 thread, cold", true, [&] { read_plain(checkpoint, 1); }},
        {"pread, 2 threads, cold", true, [&] { read_plain(checkpoint, 2); }},
        {"load (wait), cold", true, [&] { last = load(model, pool, ReadMode::wait); }},
        {"first token, cold", true, [&] { first_token(model); }},
        {"pread, 2 threads, warm", false, [&] { read_plain(checkpoint, 2); }},
        {"load (wait), warm", false, [&] { last = load(model, pool, ReadMode::wait); }},
        {"load (on demand), warm", false, [&] { last = load(model, pool, ReadMode::on_demand); }},
        {"first token, warm", false, [&] { first_token(model); }},
    };
    std::map<std::string, std::vector<double>> seconds, cpu, resident;
    for (int i = 0; i < rounds; ++i)
      for (const Row& row : rows) {
        if (row.cold) drop_cache(checkpoint);
        const double before = cpu_seconds();
        seconds[row.name].push_back(seconds_of(row.run));
        cpu[row.name].push_back(cpu_seconds() - before);
        resident[row.name].push_back(last.resident_share);
      }
    for (const Row& row : rows)
      fmt::print("{:<34}{:8.3f} s {:8.2f} GB/s  cpu {:.3f} s{}\n", row.name, median(seconds[row.name]),
                 gb / median(seconds[row.name]), median(cpu[row.name]),
                 std::string_view(row.name).starts_with("load")
                     ? fmt::format("  resident {:.2f} x file", median(resident[row.name]))
                     : "");
    fmt::print("mapped {:.3f} GB, converted {:.3f} GB, not needed {:.3f} GB, binding {:.2f} ms\n",
               double(last.report.mapped_bytes) * 1e-9, double(last.report.converted_bytes) * 1e-9,
               double(last.report.ignored_bytes) * 1e-9, last.bind_ms);

    if (with_quantizer) {
      const fs::path out = work / fmt::format("vl8-bench-io-{}-fp8", getpid());
      for (bool cold : {true, false}) {
        if (cold) drop_cache(checkpoint);
        QuantizeReport r = quantize(model, out, {.force = true, .show_progress = false}, pool);
        fmt::print("{:<34}{:8.3f} s {:8.2f} GB/s of source, {:.2f} GB written\n",
                   cold ? "quantise, cold" : "quantise, warm", r.seconds,
                   double(r.source_bytes) * 1e-9 / r.seconds, double(r.result_bytes) * 1e-9);
      }
      fs::remove_all(out);
    }
    if (made && !keep) fs::remove_all(model);
  } catch (const Error& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 1;
  }
}
