// Encodes the matrices of a plan and writes them, piece by piece and on all threads, with a journal. Streaming and
// calibrated quantisation both end here.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/progress.h"
#include "core/threads.h"
#include "io/checkpoint_writer.h"
#include "quant/journal.h"
#include "quant/plan.h"

namespace vl8 {

// What a matrix became, in memory: for the forward pass of calibration.
struct EncodedMatrix {
  std::vector<uint8_t> codes;
  std::vector<float> scales;  // by row and group, or of blocks
  float tensor_scale = 0, input_scale = 0;
};

// What calibration knows of a matrix's input; all of it may be absent.
struct InputKnowledge {
  const float* importance = nullptr;  // [k], mean square of each input feature
  // Chooses the codes of all rows (GPTQ): fills codes and scales of [rows, k] from the weights.
  std::function<CodeError(const MatrixJob&, const float* w, EncodedMatrix& out)> encode;
  float input_scale = 0;
  std::function<double(const EncodedMatrix&)> output_sqnr_db;  // of the layer's output with these codes
};

// Rows row..row+count of a matrix as float32, [count, k].
std::vector<float> source_rows(const Checkpoint& checkpoint, const MatrixJob& job, int64_t row, int64_t count);

class MatrixWriter {
 public:
  MatrixWriter(const Checkpoint& checkpoint, const QuantPlan& plan, CheckpointWriter& writer, Journal& journal, ThreadPool& pool,
               ScaleRule rule, std::function<bool()> cancelled, bool show_progress);

  // Job numbers: matrices first, then copies.
  void write_matrix(size_t index, const InputKnowledge& known = {}, EncodedMatrix* keep = nullptr);
  void write_copy(size_t index);
  void read_matrix(size_t index, EncodedMatrix& out) const;  // of a finished job, from the result
  void verify();  // every piece, from the disk. Throws Error(resource) that names the first tensor that differs

 private:
  void put(size_t tensor, uint64_t offset, std::span<const std::byte> bytes, FinishedJob& entry);
  void put_scales(const MatrixJob& job, const std::vector<float>& scales, FinishedJob& entry);
  void put_constants(const MatrixJob& job, FinishedJob& entry);
  CodeError encode_streamed(const MatrixJob& job, const InputKnowledge& known, FinishedJob& entry, EncodedMatrix* keep);
  CodeError encode_whole(const MatrixJob& job, const InputKnowledge& known, FinishedJob& entry, EncodedMatrix* keep);
  float tensor_scale(const MatrixJob& job) const;
  [[noreturn]] void refuse_rows(const MatrixJob& job, int64_t row, int64_t count) const;
  void in_parallel(int64_t count, const std::function<void(int64_t)>& f) const;
  void drop(const MatrixJob& job) const;

  const Checkpoint& checkpoint_;
  const QuantPlan& plan_;
  CheckpointWriter& writer_;
  Journal& journal_;
  ThreadPool& pool_;
  ScaleRule rule_;
  std::function<bool()> cancelled_;
  mutable Progress progress_;
  std::vector<bool> counted_;  // matrices in the progress line: calibration meets them before the streaming pass does
  std::mutex mutex_;
};

}  // namespace vl8
