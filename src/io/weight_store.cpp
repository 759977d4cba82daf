#include "io/weight_store.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "core/error.h"
#include "core/progress.h"

namespace vl8 {
namespace {
constexpr size_t kSmall = size_t(1) << 20;       // below: many to a block
constexpr size_t kReadPiece = size_t(16) << 20;  // long enough for the disk, short enough to stop quickly
constexpr int kReadThreads = 2;  // measured: one thread leaves the disk half idle, more gain little

void* map_memory(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    fail(ErrorKind::resource, "no memory for {} bytes of weights: {}", bytes, std::strerror(errno));
  madvise(p, bytes, MADV_HUGEPAGE);  // the machine's default is often to give huge pages only on request
  return p;
}

// Neighbours become one range, so that a small tensor between two large ones costs no read of its own.
std::vector<WeightStore::Range> to_pieces(const std::vector<WeightStore::Range>& ranges) {
  std::vector<WeightStore::Range> joined, pieces;
  for (const auto& r : ranges) {
    if (!joined.empty() && joined.back().file == r.file &&
        joined.back().offset + joined.back().bytes == r.offset)
      joined.back().bytes += r.bytes;
    else if (r.bytes > 0)
      joined.push_back(r);
  }
  for (const auto& r : joined)
    for (size_t at = 0; at < r.bytes; at += kReadPiece)
      pieces.push_back({r.file, r.offset + at, std::min(kReadPiece, r.bytes - at)});
  return pieces;
}
}  // namespace

struct WeightStore::ReadAhead {
  std::vector<Range> pieces;
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::unique_ptr<Progress> progress;
  std::vector<std::thread> threads;

  void work(const Checkpoint& checkpoint) {
    for (size_t i; !stop && (i = next++) < pieces.size();) {
      checkpoint.files()[pieces[i].file].file().populate(pieces[i].offset, pieces[i].bytes);
      progress->advance(int64_t(pieces[i].bytes));
    }
  }
  void join() {
    for (auto& t : threads) t.join();
    threads.clear();
  }
};

WeightStore::WeightStore() = default;
WeightStore::WeightStore(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)) {}

WeightStore::~WeightStore() {
  if (read_ahead_) {
    read_ahead_->stop = true;
    read_ahead_->join();
  }
  for (const Block& b : large_) munmap(b.data, b.bytes);
  for (const Block& b : small_) munmap(b.data, b.bytes);
}

std::byte* WeightStore::allocate(size_t bytes) {
  std::lock_guard lock(mutex_);
  bytes = (std::max<size_t>(bytes, 1) + 63) / 64 * 64;
  allocated_ += bytes;
  if (bytes >= kSmall) {
    large_.push_back({map_memory(bytes), bytes});
    return static_cast<std::byte*>(large_.back().data);
  }
  if (small_.empty() || small_used_ + bytes > kSmall) {
    small_.push_back({map_memory(kSmall), kSmall});
    small_used_ = 0;
  }
  std::byte* p = static_cast<std::byte*>(small_.back().data) + small_used_;
  small_used_ += bytes;
  return p;
}

void WeightStore::start_read_ahead(std::vector<Range> ranges, bool show_progress) {
  wait();
  auto job = std::make_unique<ReadAhead>();
  job->pieces = to_pieces(ranges);
  int64_t total = 0;
  for (const Range& r : job->pieces) total += int64_t(r.bytes);
  job->progress = std::make_unique<Progress>("reading weights", total, "B", show_progress);
  read_ahead_ = std::move(job);
  for (int i = 0; i < kReadThreads; ++i)
    read_ahead_->threads.emplace_back([this] { read_ahead_->work(checkpoint_); });
}

void WeightStore::expect_random(const Range& range) const {
  constexpr size_t kPage = 4096;
  const std::byte* base = checkpoint_.files()[range.file].file().data();
  const size_t begin = (range.offset + kPage - 1) / kPage * kPage,
               end = (range.offset + range.bytes) / kPage * kPage;
  if (begin < end)
    madvise(const_cast<std::byte*>(base) + begin, end - begin, MADV_RANDOM);  // advice: failure is harmless
}

uint64_t available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  uint64_t kib;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib * 1024;
    file.ignore(64, '\n');
  }
  return UINT64_MAX;  // unknown: nothing is refused
}

void require_memory(uint64_t bytes, std::string_view what) {
  const uint64_t available = available_memory_bytes();
  if (bytes > available)
    fail(ErrorKind::resource, "{} take {:.1f} GB of memory, {:.1f} GB is available", what,
         double(bytes) * 1e-9, double(available) * 1e-9);
}

void WeightStore::wait() {
  if (!read_ahead_) return;
  read_ahead_->join();
  read_ahead_.reset();
}

}  // namespace vl8
