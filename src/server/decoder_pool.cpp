#include "server/decoder_pool.h"

#include "core/log.h"

namespace vl8 {
namespace {

// The time of each call is limited; that of a process's whole life is not, it serves many.
WorkerLimits worker_limits(const MediaLimits& l) {
  WorkerLimits w;
  w.memory_bytes = size_t(l.decoder_memory_bytes);
  w.cpu_seconds = 1 << 30;
  w.call_seconds = l.decode_timeout_s;
  return w;
}

}  // namespace

DecoderPool::DecoderPool(const MediaLimits& limits) : limits_(limits) {
  for (int i = 0; i < limits.decoders; ++i) idle_.push_back(std::make_unique<Worker>("image", worker_limits(limits)));
}

void DecoderPool::set_limits(const MediaLimits& limits) {
  std::lock_guard lock(mutex_);
  const int decoders = limits_.decoders;
  limits_ = limits;
  limits_.decoders = decoders;
}

DecoderPool::Counters DecoderPool::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

std::unique_ptr<Worker> DecoderPool::take(double timeout_s) {
  std::unique_lock lock(mutex_);
  if (!free_.wait_for(lock, std::chrono::duration<double>(timeout_s), [&] { return out_ < limits_.decoders; })) throw unavailable("all picture decoders are busy", 1);
  ++out_;
  if (!idle_.empty()) {
    auto w = std::move(idle_.back());
    idle_.pop_back();
    return w;
  }
  const WorkerLimits limits = worker_limits(limits_);
  lock.unlock();
  try {
    return std::make_unique<Worker>("image", limits);  // in place of one that was lost
  } catch (...) {
    give(nullptr);
    throw;
  }
}

void DecoderPool::give(std::unique_ptr<Worker> worker) {
  {
    std::lock_guard lock(mutex_);
    --out_;
    if (worker && worker->alive()) idle_.push_back(std::move(worker));
  }
  free_.notify_one();
}

// Gives the worker back in any case; one that is not alive any more is dropped.
struct DecoderPool::Lease {
  DecoderPool& pool;
  std::unique_ptr<Worker> worker;
  ~Lease() { pool.give(std::move(worker)); }
};

DecoderPool::Picture DecoderPool::decode(const std::string& bytes, const std::string& param) {
  MediaLimits limits;
  {
    std::lock_guard lock(mutex_);
    limits = limits_;
  }
  Lease lease{*this, take(limits.decode_timeout_s)};
  Worker::Reply reply;
  try {
    reply = lease.worker->call(param, {{"name", param}, {"max_bytes", limits.max_image_bytes}, {"max_pixels", limits.max_pixels}}, std::as_bytes(std::span(bytes)));
  } catch (const Error& e) {
    std::lock_guard lock(mutex_);
    ++(lease.worker->alive() ? counters_.refused : counters_.lost);
    if (!lease.worker->alive()) spdlog::warn("a picture decoder was lost: {}", e.what());
    if (e.kind() == ErrorKind::resource) throw;
    throw ApiError(400, "invalid_request_error", e.what(), param);
  }
  const int64_t width = reply.head.value("width", int64_t(0)), height = reply.head.value("height", int64_t(0));
  if (width < 1 || height < 1 || width > limits.max_pixels || height > limits.max_pixels / width || reply.bytes.size() != size_t(width) * size_t(height) * 3)
    fail_field(param, "its decoder gave no sound picture");
  Picture p{fmt::format("P6\n{} {}\n255\n", width, height), width * height};
  p.pnm.append(reinterpret_cast<const char*>(reply.bytes.data()), reply.bytes.size());
  std::lock_guard lock(mutex_);
  ++counters_.decoded;
  return p;
}

}  // namespace vl8
