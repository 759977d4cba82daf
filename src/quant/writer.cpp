#include "quant/writer.h"

#include <algorithm>

#include "core/error.h"
#include "io/first_error.h"
#include "quant/fp8_block.h"
#include "quant/histogram.h"

namespace vl8 {
namespace {

constexpr int64_t kStripRows = 128;
constexpr size_t kCopyPiece = size_t(8) << 20;

int64_t blocks(int64_t n) { return (n + 127) / 128; }

std::vector<uint16_t> as_bf16(const std::vector<float>& values) {
  std::vector<uint16_t> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) out[i] = f32_to_bf16(values[i]);
  return out;
}

}  // namespace

MatrixWriter::MatrixWriter(const Checkpoint& checkpoint, const QuantPlan& plan, CheckpointWriter& writer, Journal& journal,
                           ThreadPool& pool, ScaleRule rule, std::function<bool()> cancelled, bool show_progress)
    : checkpoint_(checkpoint), plan_(plan), writer_(writer), journal_(journal), pool_(pool), rule_(rule),
      cancelled_(std::move(cancelled)), progress_("quantising", int64_t(plan.source_bytes), "B", show_progress), counted_(plan.matrices.size()) {
  for (const auto& [job, entry] : journal.jobs())
    for (const WrittenPiece& p : entry.pieces) writer_.skip(p.tensor, p.offset, p.bytes);
}

void MatrixWriter::in_parallel(int64_t count, const std::function<void(int64_t)>& f) const {
  FirstError error;
  pool_.parallel_for(count, 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      error.run([&] {
        if (cancelled_ && cancelled_()) fail(ErrorKind::cancelled, "stopped; nothing was written");
        f(i);
      });
  });
  error.rethrow();
}

void MatrixWriter::put(size_t tensor, uint64_t offset, std::span<const std::byte> bytes, FinishedJob& entry) {
  writer_.write(tensor, offset, bytes);
  const WrittenPiece piece{tensor, offset, bytes.size(), piece_hash(bytes.data(), bytes.size())};
  std::lock_guard lock(mutex_);
  entry.pieces.push_back(piece);
}

void MatrixWriter::write_copy(size_t index) {
  const uint64_t job = plan_.matrices.size() + index;
  const CopyJob& copy = plan_.copies[index];
  std::span<const std::byte> bytes = checkpoint_.bytes(*copy.source);
  const MappedFile& file = checkpoint_.files()[copy.source->file].file();
  if (!journal_.find(job)) {
    FinishedJob entry;
    in_parallel(int64_t((bytes.size() + kCopyPiece - 1) / kCopyPiece), [&](int64_t i) {
      const size_t at = size_t(i) * kCopyPiece, count = std::min(kCopyPiece, bytes.size() - at);
      file.populate(copy.source->offset + at, count);
      put(copy.tensor, at, bytes.subspan(at, count), entry);
    });
    journal_.finish(job, std::move(entry));
    file.drop(copy.source->offset, copy.source->bytes);
  }
  progress_.advance(int64_t(bytes.size()));
}

// Rows as float32; a file may place tensors at odd addresses, and experts may lie turned.
std::vector<float> source_rows(const Checkpoint& checkpoint, const MatrixJob& job, int64_t row, int64_t count) {
  const StoredTensor& t = *job.source;
  const size_t element = dtype_bytes(t.dtype);
  std::span<const std::byte> all = checkpoint.bytes(t);
  std::vector<float> out(size_t(count * job.k));
  std::vector<std::byte> aligned;
  const void* data = all.data();
  int64_t first = job.first + row * job.row_step;
  if (job.contiguous()) {
    std::span<const std::byte> run = all.subspan(size_t(first) * element, out.size() * element);
    checkpoint.files()[t.file].file().populate(t.offset + size_t(first) * element, run.size());
    data = run.data(), first = 0;
    if (reinterpret_cast<uintptr_t>(data) % element != 0) aligned.assign(run.begin(), run.end()), data = aligned.data();
  } else if (reinterpret_cast<uintptr_t>(data) % element != 0) {
    aligned.assign(all.begin(), all.end()), data = aligned.data();
  }
  auto gather = [&](auto load) {
    for (int64_t r = 0; r < count; ++r) {
      const int64_t from = first + r * job.row_step;
      float* to = out.data() + r * job.k;
      if (job.column_step == 1)
        for (int64_t c = 0; c < job.k; ++c) to[c] = load(from + c);
      else
        for (int64_t c = 0; c < job.k; ++c) to[c] = load(from + c * job.column_step);
    }
  };
  auto half = static_cast<const uint16_t*>(data);
  auto single = static_cast<const float*>(data);
  if (t.dtype == DType::bf16) gather([half](int64_t i) { return bf16_to_f32(half[i]); });
  else if (t.dtype == DType::f16) gather([half](int64_t i) { return f16_to_f32(half[i]); });
  else gather([single](int64_t i) { return single[i]; });
  return out;
}

void MatrixWriter::refuse_rows(const MatrixJob& job, int64_t row, int64_t count) const {
  fail_input("{}: {} holds NaN or infinity in rows {} to {}; the model is damaged", checkpoint_.folder().string(), job.source->stored,
             row, row + count - 1);
}

float MatrixWriter::tensor_scale(const MatrixJob& job) const {
  const int64_t strips = (job.rows + kStripRows - 1) / kStripRows;
  MagnitudeHistogram sum;
  std::mutex mutex;
  in_parallel(strips, [&](int64_t i) {
    const int64_t row = i * kStripRows, count = std::min(kStripRows, job.rows - row);
    const std::vector<float> w = source_rows(checkpoint_, job, row, count);
    MagnitudeHistogram h;
    h.add(w.data(), int64_t(w.size()));
    if (!h.finite()) refuse_rows(job, row, count);
    std::lock_guard lock(mutex);
    sum.add(h);
  });
  return sum.e4m3_scale(rule_);
}

CodeError MatrixWriter::encode_streamed(const MatrixJob& job, const InputKnowledge& known, FinishedJob& entry, EncodedMatrix* keep) {
  const bool block = job.format.coding == Coding::e4m3_block;
  const int64_t strips = (job.rows + kStripRows - 1) / kStripRows, row_bytes = row_code_bytes(job.format, job.k);
  const int64_t per_strip = block ? blocks(job.k) : kStripRows * scales_per_row(job.format, job.k);
  const int64_t scales = block ? strips * per_strip : job.rows * scales_per_row(job.format, job.k);
  EncodedMatrix own, &out = keep ? *keep : own;
  out.scales.assign(size_t(scales), 0);
  if (keep) out.codes.resize(size_t(job.rows * row_bytes));
  if (coding_row(job.format.coding).scaling == ScaleKind::tensor) entry.tensor_scale = tensor_scale(job);
  CodeError sum;
  in_parallel(strips, [&](int64_t i) {
    const int64_t row = i * kStripRows, count = std::min(kStripRows, job.rows - row);
    const std::vector<float> w = source_rows(checkpoint_, job, row, count);
    std::vector<uint8_t> codes(size_t(count * row_bytes));
    std::optional<CodeError> error;
    if (block) {
      if (auto e = quantize_strip(w.data(), DType::f32, count, job.k, 128, codes.data(), out.scales.data() + i * per_strip))
        error = CodeError{e->error, e->square, e->coded, e->product};
    } else {
      error = encode_strip({job.format, w.data(), count, job.k, rule_, known.importance, entry.tensor_scale, codes.data(),
                            out.scales.data() + i * per_strip});
    }
    if (!error) refuse_rows(job, row, count);
    put(job.weight, job.weight_at + uint64_t(row * row_bytes), std::as_bytes(std::span(codes)), entry);
    if (keep) std::copy(codes.begin(), codes.end(), out.codes.begin() + row * row_bytes);
    progress_.advance(count * job.k * int64_t(dtype_bytes(job.source->dtype)));
    std::lock_guard lock(mutex_);
    sum.add(*error);
  });
  put_scales(job, out.scales, entry);
  return sum;
}

CodeError MatrixWriter::encode_whole(const MatrixJob& job, const InputKnowledge& known, FinishedJob& entry, EncodedMatrix* keep) {
  EncodedMatrix own, &out = keep ? *keep : own;
  const std::vector<float> w = source_rows(checkpoint_, job, 0, job.rows);
  MagnitudeHistogram h;
  h.add(w.data(), int64_t(w.size()));
  if (!h.finite()) refuse_rows(job, 0, job.rows);
  const CodeError error = known.encode(job, w.data(), out);
  put(job.weight, job.weight_at, std::as_bytes(std::span(out.codes)), entry);
  put_scales(job, out.scales, entry);
  progress_.advance(job.rows * job.k * int64_t(dtype_bytes(job.source->dtype)));
  return error;
}

void MatrixWriter::put_scales(const MatrixJob& job, const std::vector<float>& scales, FinishedJob& entry) {
  if (coding_row(job.format.coding).scaling == ScaleKind::tensor) {
    put(job.scale, job.scale_at, std::as_bytes(std::span(&entry.tensor_scale, 1)), entry);
  } else if (is_four_bits(job.format)) {
    const std::vector<uint16_t> halves = as_bf16(scales);
    put(job.scale, job.scale_at, std::as_bytes(std::span(halves)), entry);
  } else {
    put(job.scale, job.scale_at, std::as_bytes(std::span(scales)), entry);
  }
}

void MatrixWriter::put_constants(const MatrixJob& job, FinishedJob& entry) {
  if (job.shape != kNoTensor) {
    const int64_t shape[2] = {job.rows, job.k};
    put(job.shape, 0, std::as_bytes(std::span(shape)), entry);
  }
  if (job.input_scale != kNoTensor) {
    check(entry.input_scale > 0, "{} has no input scale", job.module);
    put(job.input_scale, 0, std::as_bytes(std::span(&entry.input_scale, 1)), entry);
  }
}

void MatrixWriter::write_matrix(size_t index, const InputKnowledge& known, EncodedMatrix* keep) {
  const MatrixJob& job = plan_.matrices[index];
  if (journal_.find(index)) {
    if (!counted_[index]) progress_.advance(job.rows * job.k * int64_t(dtype_bytes(job.source->dtype)));
    counted_[index] = true;
    if (keep) read_matrix(index, *keep);
    return;
  }
  counted_[index] = true;
  FinishedJob entry;
  entry.input_scale = known.input_scale;
  EncodedMatrix own, *out = keep ? keep : known.output_sqnr_db ? &own : nullptr;
  entry.error = known.encode ? encode_whole(job, known, entry, out) : encode_streamed(job, known, entry, out);
  put_constants(job, entry);
  if (out) out->tensor_scale = entry.tensor_scale, out->input_scale = entry.input_scale;
  if (known.output_sqnr_db) entry.output_sqnr_db = known.output_sqnr_db(*out);
  journal_.finish(index, std::move(entry));
  drop(job);
}

void MatrixWriter::read_matrix(size_t index, EncodedMatrix& out) const {
  const MatrixJob& job = plan_.matrices[index];
  const FinishedJob* entry = journal_.find(index);
  check(entry, "{} is not written yet", job.module);
  out.tensor_scale = entry->tensor_scale, out.input_scale = entry->input_scale;
  out.codes.resize(size_t(job.rows * row_code_bytes(job.format, job.k)));
  writer_.read(job.weight, job.weight_at, std::as_writable_bytes(std::span(out.codes)));
  const bool block = job.format.coding == Coding::e4m3_block;
  out.scales.assign(size_t(block ? blocks(job.rows) * blocks(job.k) : job.rows * scales_per_row(job.format, job.k)), 0);
  if (is_four_bits(job.format)) {
    std::vector<uint16_t> halves(out.scales.size());
    writer_.read(job.scale, job.scale_at, std::as_writable_bytes(std::span(halves)));
    for (size_t i = 0; i < halves.size(); ++i) out.scales[i] = bf16_to_f32(halves[i]);
  } else if (!out.scales.empty()) {
    writer_.read(job.scale, job.scale_at, std::as_writable_bytes(std::span(out.scales)));
  }
}

// Pages of the source leave our resident set; of experts that share a tensor, the last one takes them all.
void MatrixWriter::drop(const MatrixJob& job) const {
  const StoredTensor& t = *job.source;
  const MappedFile& file = checkpoint_.files()[t.file].file();
  const size_t element = dtype_bytes(t.dtype);
  if (job.contiguous()) file.drop(t.offset + size_t(job.first) * element, size_t(job.rows * job.k) * element);
  else file.drop(t.offset, t.bytes);
}

void MatrixWriter::verify() {
  writer_.flush();
  std::vector<const WrittenPiece*> pieces;
  for (const auto& [job, entry] : journal_.jobs())
    for (const WrittenPiece& p : entry.pieces) pieces.push_back(&p);
  uint64_t total = 0;
  for (const WrittenPiece* p : pieces) total += p->bytes;
  Progress progress("reading back", int64_t(total), "B", false);
  in_parallel(int64_t(pieces.size()), [&](int64_t i) {
    const WrittenPiece& p = *pieces[size_t(i)];
    std::vector<std::byte> bytes(p.bytes);
    writer_.read(p.tensor, p.offset, bytes);
    if (piece_hash(bytes.data(), bytes.size()) != p.hash)
      fail(ErrorKind::resource, "{}: the disk gives back other bytes than were written at {} of its tensor {}; the disk or an "
           "interrupted write is at fault, quantise again", checkpoint_.folder().string(), p.offset, plan_.specs[p.tensor].name);
    progress.advance(int64_t(p.bytes));
  });
}

}  // namespace vl8
