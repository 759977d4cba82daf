// Turns the tensors of a checkpoint into the model's weights (ops/weight.h). It is a visitor of the one list
// of weights: `ModelWeights::each(binder)` names every tensor once, the binder finds it, checks it and points
// the weight at the mapped bytes. Nothing is read before finish(), which reports every fault in one error,
// and only then reads.
//
// Formats (spec 2.3 to 2.6): F32, F16, BF16; E4M3 and E5M2 with multipliers per block, per channel or per
// tensor, in F32, BF16, F16 or E8M0, named weight_scale_inv, weight_scale, or (fused experts) _scale_inv,
// _scale. What a tensor is comes from its type and its companions, not from the config; a config that says
// otherwise is a warning.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/threads.h"
#include "io/skip_list.h"
#include "io/weight_store.h"
#include "model/config.h"
#include "ops/weight.h"

namespace vl8 {

enum class ReadMode : uint8_t {
  on_demand,   // pages are read when first used
  background,  // finish() returns at once; two threads read ahead of use in the order of binding
  wait,        // finish() returns when every needed byte is in memory
};

struct LoadOptions {
  ReadMode read = ReadMode::background;
  bool show_progress = true;  // on stderr, when longer than a second
};

struct LoadReport {
  uint64_t file_bytes = 0;       // of all files of the checkpoint
  uint64_t mapped_bytes = 0;     // used in place
  uint64_t converted_bytes = 0;  // of the buffers made: experts turned, norms and scales as F32
  uint64_t ignored_bytes = 0;    // stored but not needed (lm_head beside tied embeddings)
  int64_t tensors = 0;           // of the file that are in use
  int64_t fp8_modules = 0;
  double seconds = 0;  // spent in finish()
  std::vector<std::string> warnings;
};

class WeightBinder {
 public:
  WeightBinder(std::shared_ptr<WeightStore> store, const QuantConfig& quant);

  // The visitor. Names are canonical; of a tensor name `.weight` may be left out for table, table_f32 and
  // head. Outputs are bound at once; contents of converted ones are there after finish().
  void vector(Tensor& out, std::string_view name, int64_t n);                  // F32 [n], converted
  void table(Weight& out, std::string_view name, int64_t rows, int64_t cols);  // mapped
  void table_f32(Tensor& out, std::string_view name, int64_t rows,
                 int64_t cols);  // F32 [rows, cols], converted
  // Parts follow one another in rows. A weight of more than two dimensions counts as [rows, k]. Biases
  // `NAME.bias` are joined to one F32 [n]. Static activation scales that differ between parts: the largest,
  // which saturates none.
  void linear(Linear& out, std::span<const LinearPart> parts, int64_t k, bool bias);
  // `prefix`.experts: gate_up and down of each expert (the router is a linear of its own). Fused [E, H, 2M]
  // and [E, M, H] are turned to rows in memory of ours (mode of the published files), [E, 2M, H] and [E, H,
  // M] are mapped; per expert, gate and up are two parts. The shape decides; where H = 2M or H = M leaves it
  // open, the other tensor of the pair does.
  void experts(Moe& out, std::string_view prefix, int64_t experts, int64_t hidden,
               int64_t expert_intermediate);
  // `name` is the module ("lm_head"). Tied: the embeddings, and a stored head is accepted and ignored.
  void head(Linear& out, std::string_view name, const Weight& embeddings, int64_t rows, int64_t k, bool tied);

  // Throws one Error(input) that lists missing, misshapen and left-over tensors (ten, and how many more), or
  // the first scale that is not finite. Then converts and reads as the options say.
  LoadReport finish(ThreadPool& pool, const LoadOptions& options = {});

 private:
  struct Scale;
  struct FusedPlan;
  const StoredTensor* take(std::string_view name);
  const StoredTensor* take_optional(std::string_view name);
  void fault(std::string text);
  const std::byte* mapped(const StoredTensor& t);
  float* convert_f32(const StoredTensor& t, float* out = nullptr);
  WeightPart part(const std::string& module, int64_t rows, int64_t k, float& input_scale);
  bool scale_of(WeightPart& out, const StoredTensor& weight, std::string_view base, std::string_view module,
                int64_t rows, int64_t k);
  void note_config(std::string_view module, bool is_fp8, bool candidate);
  bool fused_expert(std::vector<Linear>& out, std::string_view name, int64_t experts, int64_t rows, int64_t k,
                    bool turned);
  void report_left_over();

  std::shared_ptr<WeightStore> store_;
  QuantConfig quant_;
  SkipList skip_;
  std::unordered_set<const StoredTensor*> used_;
  std::vector<std::string> faults_, warnings_;
  std::vector<std::function<void(ThreadPool&)>> conversions_;
  std::vector<WeightStore::Range> read_;
  LoadReport report_;
};

}  // namespace vl8
