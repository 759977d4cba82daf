// Random weights of any configuration, for `vl8 bench --shape` and for tests: written as a model folder, or
// made in memory with no file at all. Matrices have a standard deviation near 0.02, norms are near 1, so that
// activations stay finite and of normal size through all layers. The same seed gives the same values,
// whatever the number of threads.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "core/threads.h"
#include "io/weight_store.h"
#include "model/config.h"
#include "ops/weight.h"

namespace vl8 {

enum class RandomFormat : uint8_t {
  bf16,
  fp8,   // the language linears and experts in E4M3, 128x128 blocks
  int8,  // linears of both towers, a scale for each row; in memory only, as the next two
  int4,  // the feed-forward in groups of 128; other linears, token table and head in E4M3, a scale for each row
  fp4,   // the same with E2M1 in groups of 64
};
std::optional<RandomFormat> random_format(std::string_view name);  // "bf16", "fp8", ...

struct RandomOptions {
  RandomFormat format = RandomFormat::fp8;
  uint64_t seed = 1;
  uint64_t shard_bytes = uint64_t(5) << 30;  // of a written folder
  bool show_progress = true;
};

// Writes FOLDER (which must not exist): config.json (`config_json`, with a quantization_config when fp8) and
// weights. Throws Error(resource) before anything is written when the disk is too small.
void write_random_checkpoint(const std::filesystem::path& folder, std::string_view config_json,
                             const RandomOptions& options, ThreadPool& pool);

// The visitor of the list of weights (see WeightBinder) that makes the values in the store's memory. Language
// linears and experts are FP8 when asked for, everything else is BF16.
class RandomBinder {
 public:
  RandomBinder(std::shared_ptr<WeightStore> store, ThreadPool& pool, const RandomOptions& options = {});
  void vector(Tensor& out, std::string_view name, int64_t n);
  void table(Weight& out, std::string_view name, int64_t rows, int64_t cols);
  void table_f32(Tensor& out, std::string_view name, int64_t rows, int64_t cols);
  void linear(Linear& out, std::initializer_list<LinearPart> parts, int64_t k, bool bias);
  void experts(Moe& out, std::string_view prefix, int64_t experts, int64_t hidden,
               int64_t expert_intermediate);
  void head(Linear& out, std::string_view name, const Weight& embeddings, int64_t rows, int64_t k, bool tied);

 private:
  enum class Coding : uint8_t { bf16, e4m3_block, e4m3_channel, i8, i4, e2m1 };
  Coding coding_of(std::string_view module, int64_t k) const;
  WeightPart random_part(std::string_view name, int64_t rows, int64_t k, Coding coding);
  void add_scales(WeightPart& part, std::string_view name, int64_t k, Coding coding);
  void reserve(uint64_t bytes);
  std::shared_ptr<WeightStore> store_;
  ThreadPool& pool_;
  uint64_t reserved_ = 0;  // memory asked for and not yet used
  RandomOptions options_;
};

}  // namespace vl8
