#include "cuda/device.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "cuda/launch.h"

namespace vl8::cuda {
namespace {

double gb(size_t bytes) { return double(bytes) * 1e-9; }

[[noreturn]] void fail_driver(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver: {
      int driver = 0, built = 0;
      cudaDriverGetVersion(&driver), cudaRuntimeGetVersion(&built);
      if (driver == 0)
        fail(ErrorKind::unsupported, "no NVIDIA driver was found: install one for CUDA {}.{}, or use --backend cpu", built / 1000,
             built % 1000 / 10);
      fail(ErrorKind::unsupported, "the NVIDIA driver supports CUDA {}.{}, this program needs {}.{}: update the driver, or use --backend cpu",
           driver / 1000, driver % 1000 / 10, built / 1000, built % 1000 / 10);
    }
    case cudaErrorNoDevice:
      fail(ErrorKind::unsupported, "the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES set, or the device missing in the container?); "
                                   "use --backend cpu without one");
    default:
      fail(ErrorKind::unsupported, "the GPU could not be opened: {} ({}); check nvidia-smi, or use --backend cpu", cudaGetErrorString(status),
           cudaGetErrorName(status));
  }
}

}  // namespace

Device open_device(int ordinal) {
  int count = 0;
  if (cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) fail_driver(status);
  if (ordinal < 0 || ordinal >= count)
    fail(ErrorKind::usage, "there is no GPU {}: this machine has {} (numbered from 0)", ordinal, count);
  cudaDeviceProp p{};
  if (cudaError_t status = cudaGetDeviceProperties(&p, ordinal); status != cudaSuccess) fail_driver(status);
  Device d{ordinal, p.major * 10 + p.minor, p.multiProcessorCount, p.name, p.totalGlobalMem, 0, size_t(p.l2CacheSize)};
  if (d.sm < 80)
    fail(ErrorKind::unsupported, "GPU {} ({}) has compute capability {}.{}; 8.0 (Ampere) or newer is needed. Use --backend cpu", ordinal,
         d.name, p.major, p.minor);
  if (cudaError_t status = cudaSetDevice(ordinal); status != cudaSuccess) fail_driver(status);
  size_t total = 0;
  if (cudaError_t status = cudaMemGetInfo(&d.free_bytes, &total); status != cudaSuccess) fail_driver(status);
  return d;
}

DeviceHeap::~DeviceHeap() {
  for (auto& [p, piece] : pieces_) cudaFree(p);
}

std::string DeviceHeap::summary() const {
  std::string s;
  for (const auto& [tag, bytes] : by_tag_) s += fmt::format("{}{} {:.2f} GB", s.empty() ? "" : ", ", tag, gb(bytes));
  return s.empty() ? "nothing" : s;
}

void* DeviceHeap::allocate(size_t bytes, std::string_view tag) {
  bytes = (std::max<size_t>(bytes, 1) + 255) / 256 * 256;
  size_t free_bytes = 0, total = 0;
  void* p = nullptr;
  if (used_ + bytes <= limit_ && cudaMalloc(&p, bytes) == cudaSuccess) {
    used_ += bytes, by_tag_[std::string(tag)] += bytes;
    pieces_[static_cast<char*>(p)] = {bytes, std::string(tag)};
    return p;
  }
  cudaGetLastError();
  cudaMemGetInfo(&free_bytes, &total);
  fail(ErrorKind::resource,
       "out of GPU memory: {} needs {:.2f} GB more, vl8 holds {} (limit {:.2f} GB), {:.2f} of {:.2f} GB are free on the card. Use a shorter "
       "--context, fewer sequences or a higher --gpu-memory-utilization",
       tag, gb(bytes), summary(), gb(limit_), gb(free_bytes), gb(total));
}

void DeviceHeap::release(void* p) {
  auto it = pieces_.find(static_cast<char*>(p));
  check(it != pieces_.end(), "device memory that is not of this heap");
  used_ -= it->second.bytes;
  by_tag_[it->second.tag] -= it->second.bytes;
  cudaFree(p);
  pieces_.erase(it);
}

bool DeviceHeap::owns(const void* p) const {
  auto it = pieces_.upper_bound(static_cast<char*>(const_cast<void*>(p)));
  if (it == pieces_.begin()) return false;
  --it;
  return static_cast<const char*>(p) < it->first + it->second.bytes;
}

void* DeviceArena::take(size_t bytes) {
  bytes = (std::max<size_t>(bytes, 1) + 255) / 256 * 256;
  while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].bytes) ++block_, used_ = 0;
  if (block_ == blocks_.size()) {
    const size_t size = std::max(bytes, block_bytes_);
    blocks_.push_back({static_cast<char*>(heap_.allocate(size, tag_)), size});
    used_ = 0;
  }
  void* p = blocks_[block_].data + used_;
  used_ += bytes;
  return p;
}

size_t DeviceArena::reserved_bytes() const {
  size_t sum = 0;
  for (const Block& b : blocks_) sum += b.bytes;
  return sum;
}

PinnedBuffer::PinnedBuffer(size_t bytes) : bytes_(bytes) {
  void* p = nullptr;
  check_cuda(cudaMallocHost(&p, std::max<size_t>(bytes, 1)), "page-locked host memory");
  data_ = static_cast<char*>(p);
}
PinnedBuffer::~PinnedBuffer() {
  if (data_) cudaFreeHost(data_);
}
PinnedBuffer::PinnedBuffer(PinnedBuffer&& o) noexcept : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& o) noexcept {
  std::swap(data_, o.data_), std::swap(bytes_, o.bytes_);
  return *this;
}

}  // namespace vl8::cuda
