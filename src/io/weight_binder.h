// Turns the tensors of a checkpoint into the model's weights (ops/weight.h). It is a visitor of the one list
// of weights: `ModelWeights::each(config, binder)` names every tensor once, the binder finds it, checks it
// and points the weight at the mapped bytes. Nothing is read before finish(), which reports every fault in
// one error, then reads.
//
// Formats (spec 2.3 to 2.6): F32, F16, BF16; E4M3 and E5M2 with multipliers per block, per channel or per
// tensor, in F32, BF16, F16 or E8M0, named weight_scale_inv, weight_scale, or (fused experts) _scale_inv,
// _scale; I8 per channel or tensor. Four bits in groups as compressed-tensors packs them: weight_packed [n, k/8]
// I32 (value + 8) or [n, k/2] U8 (E2M1), the first element in the lowest bits, weight_scale [n, k/group], and for
// E2M1 with E4M3 scales weight_global_scale, which divides. What a tensor is comes from its type and its companions, not from the config; a config that says
// otherwise is a warning.
#pragma once
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
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
  background,  // finish() returns early; two threads read ahead of use in the order of binding
  wait,        // finish() returns when every needed byte is in memory
};

struct LoadOptions {
  ReadMode read = ReadMode::background;
  bool show_progress = true;  // on stderr, when longer than a second
};

struct LoadReport {
  uint64_t file_bytes = 0;       // of all files of the checkpoint
  uint64_t mapped_bytes = 0;     // of tensors used in place
  uint64_t converted_bytes = 0;  // of the buffers made: experts turned, norms, biases and scales as F32
  uint64_t ignored_bytes = 0;    // stored but not needed (a head beside tied embeddings)
  int64_t tensors = 0;           // of the checkpoint that are in use
  int64_t quantised_modules = 0;
  double seconds = 0;  // spent in finish()
  std::vector<std::string> warnings;
};

class WeightBinder {
 public:
  WeightBinder(std::shared_ptr<WeightStore> store, const QuantConfig& quant);

  // The visitor. Names are canonical; `.weight` may be given or left out for table, table_f32 and head.
  // Outputs are bound at once and must not move before finish(); the contents of converted ones are there
  // after it.
  void vector(Tensor& out, std::string_view name, int64_t n);                  // F32 [n], converted
  void table(Weight& out, std::string_view name, int64_t rows, int64_t cols);  // mapped, read row by row
  void table_f32(Tensor& out, std::string_view name, int64_t rows,
                 int64_t cols);  // F32 [rows, cols], converted
  // Parts follow one another in rows. A weight of more than two dimensions counts as [rows, k]. Biases
  // `NAME.bias` are joined to one F32 [n]. Of static activation scales that differ between parts the largest
  // counts: it clips none.
  void linear(Linear& out, std::initializer_list<LinearPart> parts, int64_t k, bool bias);
  // gate_up and down of each expert under `prefix`.experts (the router is a linear of its own). Fused [E, H,
  // 2M] and [E, M, H], as published, are turned to rows in memory of ours; [E, 2M, H] and [E, H, M] are
  // mapped; of one tensor per expert, gate and up are two parts. The shape decides; where H = 2M or H = M
  // leaves it open, the other does.
  void experts(Moe& out, std::string_view prefix, int64_t experts, int64_t hidden,
               int64_t expert_intermediate);
  // Tied: the embeddings; a stored head is accepted and ignored.
  void head(Linear& out, std::string_view name, const Weight& embeddings, int64_t rows, int64_t k, bool tied);

  // Throws one Error(input) that lists missing, misshapen and left-over tensors (ten, and how many more).
  // Reads nothing.
  void check_fit();

  // check_fit(), then converts, and reads as the options say. Throws Error(input) that names the first norm,
  // bias or scale with a value that is not finite, Error(resource) where turned experts do not fit the
  // memory.
  LoadReport finish(ThreadPool& pool, const LoadOptions& options = {});

 private:
  struct Fused;  // one fused expert tensor and its scale
  const StoredTensor* take(const std::string& name, const Shape& expected);
  const StoredTensor* take_one_of(const std::string& base, std::initializer_list<const char*> suffixes);
  const std::byte* map(const StoredTensor& tensor, bool read_ahead);
  void convert(const StoredTensor& tensor, float* out, int64_t turn_rows = 0, int64_t turn_cols = 0);
  float* floats(int64_t count);
  // The stored tensor of the weight, or null after a fault.
  const StoredTensor* bind_part(Weight& out, const std::string& module, int64_t rows, int64_t k, bool read_ahead);
  const StoredTensor* bind_packed(Weight& out, const std::string& module, int64_t rows, int64_t k, bool read_ahead);
  bool bind_group_scale(WeightPart& part, const StoredTensor& packed, const std::string& module, int64_t k);
  bool bind_scale(WeightPart& part, const StoredTensor& weight, const std::string& module, int64_t k);
  void bind_input_scale(Weight& out, const std::string& module);
  std::optional<Fused> find_fused(const std::string& name, int64_t experts, int64_t rows, int64_t k);
  void bind_fused(std::vector<Linear>& out, const Fused& fused, bool turned);
  void bind_fused_scale(std::vector<Linear>& out, const Fused& fused, bool turned);
  void bind_expert_parts(Moe& out, const std::string& prefix, int64_t experts, int64_t hidden,
                         int64_t intermediate);
  void note(const std::string& kind, std::string_view module);
  void note_quantisation(std::string_view module, bool quantised);
  void find_left_over();
  void start_reading(const LoadOptions& options);
  int64_t turned_bytes() const;
  void turn_experts(ThreadPool& pool, bool show_progress);

  struct Turn {  // one expert's matrix [k, rows] to be written as [rows, k]
    StoredTensor source;
    size_t offset;  // in the file
    std::byte* out;
    int64_t rows, k;
  };
  std::shared_ptr<WeightStore> store_;
  QuantConfig quant_;
  SkipList skip_;
  std::unordered_set<const StoredTensor*> used_;
  std::vector<std::string> faults_;
  std::map<std::string, std::pair<int64_t, std::string>> notes_;  // what is odd -> how often, first module
  std::vector<std::function<void()>> conversions_;
  std::vector<Turn> turns_;
  std::vector<WeightStore::Range> read_;     // to be read ahead, in the order of use
  std::vector<WeightStore::Range> by_rows_;  // tables of which a step needs a few rows
  LoadReport report_;
};

// How a scale tensor applies to a weight [rows, k]; nothing when the shape fits no rule. Block sizes of 0:
// 128.
struct ScaleLayout {
  ScaleKind kind = ScaleKind::none;
  int64_t block_rows = 128, block_cols = 128;
};
std::optional<ScaleLayout> scale_layout(const Shape& scale, int64_t rows, int64_t k, int64_t block_rows,
                                        int64_t block_cols);

}  // namespace vl8
