#include "cuda/weights.h"

#include <algorithm>
#include <cstring>

#include "core/log.h"
#include "cuda/launch.h"
#include "ops/weight_row.h"

namespace vl8::cuda {
namespace {

constexpr size_t kSlotBytes = size_t(16) << 20;  // long enough for the bus to run at full speed
constexpr size_t kSmallBlock = size_t(4) << 20;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// What of the parts the plan depends on.
struct Traits {
  bool all_e4m3 = true, all_bf16 = true, all_row = true, all_block = true, group_columns = true, aligned = true;
};
Traits traits_of(const Weight& w) {
  Traits t;
  for (size_t i = 0; i < w.parts.size(); ++i) {
    const WeightPart& p = w.parts[i];
    t.all_e4m3 &= p.dtype == DType::e4m3 && p.scale_kind != ScaleKind::none;
    t.all_bf16 &= p.dtype == DType::bf16 && p.scale_kind == ScaleKind::none;
    t.all_row &= p.scale_kind == ScaleKind::tensor || p.scale_kind == ScaleKind::channel;
    t.all_block &= p.scale_kind == ScaleKind::block && p.block_rows == kScaleGroup && p.block_cols == kScaleGroup;
    t.group_columns &= p.scale_kind != ScaleKind::block || p.block_cols == kScaleGroup;
    t.aligned &= i + 1 == w.parts.size() || p.rows % kScaleGroup == 0;
  }
  return t;
}

}  // namespace

WeightPlan plan_weight(const Weight& w, Precision precision) {
  const Traits t = traits_of(w);
  if (t.all_bf16) return {Format::bf16, Scales::none, false};
  if (t.all_e4m3) {
    if (t.all_block && t.aligned) return {Format::e4m3, Scales::block, false};
    if (t.all_row) return {Format::e4m3, Scales::row, false};
    if (t.group_columns) return {Format::e4m3, Scales::row_block, false};
  }
  const bool rounds = precision == Precision::bf16 || precision == Precision::w8a8;
  return {rounds ? Format::bf16 : Format::f32, Scales::none, true};
}

std::vector<float> scale_table(const Weight& w, Scales scales) {
  std::vector<float> out;
  const int64_t groups = scale_groups(w.k);
  for (const WeightPart& p : w.parts) {
    if (scales == Scales::block) {
      out.insert(out.end(), p.scale, p.scale + ceil_div(p.rows, kScaleGroup) * groups);
      continue;
    }
    for (int64_t r = 0; scales != Scales::none && r < p.rows; ++r)
      for (int64_t g = 0; g < (scales == Scales::row ? 1 : groups); ++g)
        out.push_back(p.scale_kind == ScaleKind::tensor    ? p.scale[0]
                      : p.scale_kind == ScaleKind::channel ? p.scale[r]
                                                           : p.scale[r / p.block_rows * groups + g]);
  }
  return out;
}

size_t device_bytes(const Weight& w, const WeightPlan& plan) {
  size_t scales = 0;
  if (plan.scales == Scales::row) scales = size_t(w.n);
  if (plan.scales == Scales::row_block) scales = size_t(w.n * scale_groups(w.k));
  if (plan.scales == Scales::block)
    for (const WeightPart& p : w.parts) scales += size_t(ceil_div(p.rows, kScaleGroup) * scale_groups(w.k));
  return size_t(w.n * w.k * format_bytes(plan.format)) + 4 * scales;
}

struct WeightUploader::Slot {
  PinnedBuffer buffer{kSlotBytes};
  cudaEvent_t free = nullptr;
  Slot() { check_cuda(cudaEventCreateWithFlags(&free, cudaEventDisableTiming), "event"); }
  ~Slot() { cudaEventDestroy(free); }
};

WeightUploader::WeightUploader(DeviceHeap& heap, Stream stream, Precision precision)
    : heap_(heap), small_(heap, kSmallBlock, "weights"), stream_(stream), precision_(precision) {}
WeightUploader::~WeightUploader() = default;

void WeightUploader::copy(void* device, const void* host, size_t bytes) {
  if (slots_.empty())
    for (int i = 0; i < 2; ++i) slots_.push_back(std::make_unique<Slot>());
  for (size_t at = 0; at < bytes; at += kSlotBytes) {
    const size_t n = std::min(kSlotBytes, bytes - at);
    Slot& slot = *slots_[next_++ % slots_.size()];
    check_cuda(cudaEventSynchronize(slot.free), "weight upload");
    std::memcpy(slot.buffer.data(), static_cast<const char*>(host) + at, n);
    check_cuda(cudaMemcpyAsync(static_cast<char*>(device) + at, slot.buffer.data(), n, cudaMemcpyHostToDevice, stream_), "weight upload");
    check_cuda(cudaEventRecord(slot.free, stream_), "weight upload");
  }
}

void WeightUploader::finish() {
  check_cuda(cudaStreamSynchronize(stream_), "weight upload");
  slots_.clear();
}

float* WeightUploader::floats(const float* host, int64_t n) {
  float* p = static_cast<float*>(small_.take(size_t(n) * 4));
  copy(p, host, size_t(n) * 4);
  return p;
}

// Writes one matrix and its scales to their places.
void WeightUploader::put(const Weight& w, const WeightPlan& plan, char* data, float* scale) {
  const size_t row_bytes = size_t(w.k * format_bytes(plan.format));
  if (plan.convert) {
    std::vector<float> row(static_cast<size_t>(w.k));
    std::vector<uint16_t> half(static_cast<size_t>(w.k));
    for (int64_t r = 0; r < w.n; ++r) {
      weight_row_f32(w, r, row.data());
      std::transform(row.begin(), row.end(), half.begin(), f32_to_bf16);
      copy(data + size_t(r) * row_bytes, plan.format == Format::f32 ? static_cast<void*>(row.data()) : half.data(), row_bytes);
    }
    return;
  }
  for (const WeightPart& p : w.parts) {
    copy(data, p.data, size_t(p.rows) * row_bytes);
    data += size_t(p.rows) * row_bytes;
  }
  const std::vector<float> table = scale_table(w, plan.scales);
  if (!table.empty()) copy(scale, table.data(), table.size() * 4);
}

std::shared_ptr<DeviceWeight> WeightUploader::weight(const Weight& w) {
  check(!w.parts.empty(), "{} has no data", w.name);
  const bool head = w.name == "lm_head" || w.name.ends_with("embed_tokens");
  std::weak_ptr<DeviceWeight>& known = shared_[w.parts[0].data];
  if (auto same = known.lock(); same && same->gemm.n == w.n && same->gemm.k == w.k) return same;
  const WeightPlan plan = plan_weight(w, precision_);
  if (plan.convert && w.parts[0].dtype != DType::f32)
    spdlog::info("{}: {} weights are expanded to {} on the GPU", w.name, dtype_name(w.parts[0].dtype), plan.format == Format::f32 ? "F32" : "BF16");
  const size_t bytes = size_t(w.n * w.k * format_bytes(plan.format)), total = device_bytes(w, plan), table = (bytes + 255) / 256 * 256;
  char* data = static_cast<char*>(total < kSmallBlock / 4 ? small_.take(table + total - bytes) : heap_.allocate(table + total - bytes, "weights"));
  auto d = std::make_shared<DeviceWeight>();
  d->gemm = {data, plan.format, plan.scales, plan.scales == Scales::none ? nullptr : reinterpret_cast<float*>(data + table), w.n, w.k};
  d->is_head = head;
  has_fp8_ |= plan.format == Format::e4m3;
  put(w, plan, data, reinterpret_cast<float*>(data + table));
  known = d;
  return d;
}

GemmWeight WeightUploader::stack(std::span<const Linear> experts, std::string_view what) {
  const Weight& first = experts[0].weight;
  const WeightPlan plan = plan_weight(first, precision_);
  const size_t bytes = size_t(first.n * first.k * format_bytes(plan.format)), scales = device_bytes(first, plan) - bytes;
  char* data = static_cast<char*>(heap_.allocate(bytes * experts.size(), "weights"));
  float* scale = scales ? static_cast<float*>(heap_.allocate(scales * experts.size(), "weights")) : nullptr;
  for (size_t e = 0; e < experts.size(); ++e) {
    const Weight& w = experts[e].weight;
    check(w.n == first.n && w.k == first.k && plan_weight(w, precision_) == plan, "{}: expert {} is stored unlike expert 0", what, e);
    put(w, plan, data + e * bytes, scale ? scale + e * (scales / 4) : nullptr);
  }
  has_fp8_ |= plan.format == Format::e4m3;
  return {data, plan.format, plan.scales, scale, first.n, first.k};
}

std::shared_ptr<DeviceExperts> WeightUploader::experts(const Moe& moe) {
  auto d = std::make_shared<DeviceExperts>();
  d->gate_up = stack(moe.gate_up, "experts.gate_up");
  d->down = stack(moe.down, "experts.down");
  return d;
}

}  // namespace vl8::cuda
