// A view of a dense row-major array: it owns nothing. The owner is an Arena (activations), a mapped file or a
// buffer of the checkpoint (weights). Where the bytes live (host, device) is known to the backend that made it.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>

#include "core/dtype.h"
#include "core/error.h"

namespace vl8 {

struct Shape {
  static constexpr int kMaxRank = 5;
  std::array<int64_t, kMaxRank> dims{};
  int rank = 0;

  Shape() = default;
  Shape(std::initializer_list<int64_t> list) {
    check(list.size() <= size_t(kMaxRank), "rank {} is more than {}", list.size(), kMaxRank);
    for (int64_t d : list) dims[size_t(rank++)] = d;
  }
  int64_t operator[](int i) const { return dims[size_t(i < 0 ? rank + i : i)]; }
  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dims[size_t(i)];
    return n;
  }
  bool operator==(const Shape& o) const {
    if (rank != o.rank) return false;
    for (int i = 0; i < rank; ++i)
      if (dims[size_t(i)] != o.dims[size_t(i)]) return false;
    return true;
  }
  std::string str() const {  // "[2, 3]"
    std::string s = "[";
    for (int i = 0; i < rank; ++i) s += (i ? ", " : "") + std::to_string(dims[size_t(i)]);
    return s + "]";
  }
};

struct Tensor {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  bool empty() const { return data == nullptr; }
  int64_t rows() const { return shape.rank ? shape[0] : 0; }
  int64_t cols() const { return shape.rank > 1 ? shape.elements() / shape[0] : 1; }  // elements of one row
  size_t bytes() const { return size_t(shape.elements()) * dtype_bytes(dtype); }

  float* f32() const {
    check(dtype == DType::f32, "tensor is {}, not F32", dtype_name(dtype));
    return static_cast<float*>(data);
  }
  uint16_t* bf16() const {
    check(dtype == DType::bf16, "tensor is {}, not BF16", dtype_name(dtype));
    return static_cast<uint16_t*>(data);
  }
  Tensor reshape(Shape to) const {
    check(to.elements() == shape.elements(), "reshape {} to {}", shape.str(), to.str());
    return {data, dtype, to};
  }
  Tensor slice_rows(int64_t begin, int64_t end) const {  // [begin, end) of the first dimension
    check(0 <= begin && begin <= end && end <= rows(), "rows {}..{} of {}", begin, end, rows());
    Tensor t = *this;
    t.shape.dims[0] = end - begin;
    t.data = static_cast<char*>(data) + size_t(begin * (rows() ? cols() : 0)) * dtype_bytes(dtype);
    return t;
  }
};

}  // namespace vl8
