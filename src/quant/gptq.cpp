#include "quant/gptq.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace vl8 {
namespace {

constexpr int64_t kPanel = 64;     // columns factored together
constexpr int64_t kColumns = 128;  // columns whose errors reach the rest of a row at once

// H = R Rᵀ with R upper triangular, in place (the part below the diagonal is left as it was). From the last column to the
// first, in panels. False where a pivot is not positive.
bool factor_upper(std::vector<float>& h, int64_t k, ThreadPool& pool) {
  auto at = [&](int64_t r, int64_t c) -> float& { return h[size_t(r * k + c)]; };
  for (int64_t end = k; end > 0; end -= std::min(end, kPanel)) {
    const int64_t begin = std::max<int64_t>(0, end - kPanel);
    for (int64_t c = end - 1; c >= begin; --c) {  // inside the panel, rows begin..c
      double pivot = at(c, c);
      for (int64_t j = c + 1; j < end; ++j) pivot -= double(at(c, j)) * double(at(c, j));
      if (!(pivot > 0)) return false;
      at(c, c) = float(std::sqrt(pivot));
      for (int64_t r = c - 1; r >= begin; --r) {
        double sum = at(r, c);
        for (int64_t j = c + 1; j < end; ++j) sum -= double(at(r, j)) * double(at(c, j));
        at(r, c) = float(sum / double(at(c, c)));
      }
    }
    pool.parallel_for(begin, 16, [&](int, int64_t first, int64_t last) {  // the panel's columns of the rows above
      for (int64_t r = first; r < last; ++r)
        for (int64_t c = end - 1; c >= begin; --c) {
          float sum = at(r, c);
          for (int64_t j = c + 1; j < end; ++j) sum -= at(r, j) * at(c, j);
          at(r, c) = sum / at(c, c);
        }
    });
    pool.parallel_for(begin, 4, [&](int, int64_t first, int64_t last) {  // what is left of the rows above
      for (int64_t r = first; r < last; ++r) {
        const float* a = &h[size_t(r * k + begin)];
        for (int64_t c = r; c < begin; ++c) {
          const float* b = &h[size_t(c * k + begin)];
          float lanes[8] = {};
          int64_t j = 0;
          for (; j + 8 <= end - begin; j += 8)
            for (int l = 0; l < 8; ++l) lanes[l] += a[j + l] * b[j + l];
          float sum = 0;
          for (; j < end - begin; ++j) sum += a[j] * b[j];
          for (float l : lanes) sum += l;
          at(r, c) -= sum;
        }
      }
    });
  }
  return true;
}

// U = R^-1 for upper triangular R, in place: row by row from the bottom, U[r] = (e_r - sum_{j>r} R[r][j] U[j]) / R[r][r].
void invert_upper(std::vector<float>& h, int64_t k, ThreadPool& pool) {
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t r = k - 1; r >= 0; --r) {
    float* own = &h[size_t(r * k)];
    const float pivot = own[r];
    std::copy(own + r, own + k, row.begin() + r);
    pool.parallel_for((k - r + 255) / 256, 1, [&](int, int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        const int64_t c0 = r + block * 256, c1 = std::min(k, c0 + 256);
        float sums[256] = {};
        for (int64_t j = r + 1; j < c1; ++j) {
          const float f = row[size_t(j)];
          const float* from = &h[size_t(j * k)];
          for (int64_t c = std::max(c0, j); c < c1; ++c) sums[c - c0] += f * from[c];
        }
        for (int64_t c = c0; c < c1; ++c) own[c] = (c == r ? 1 : -sums[c - c0]) / pivot;
      }
    });
  }
}

// Rows of the matrix in work, one at a time; errors [columns of the block].
void encode_row(const MatrixJob& job, std::vector<float>& row, const GptqFactor& f, ScaleRule rule, uint8_t* codes, float* scales,
                std::vector<float>& decoded) {
  const int64_t k = job.k, group = job.format.group;
  float errors[kColumns];
  for (int64_t c0 = 0; c0 < k; c0 += kColumns) {
    const int64_t c1 = std::min(k, c0 + kColumns);
    for (int64_t c = c0; c < c1; ++c) {
      // Groups may be longer than what is up to date to the right of the block; their scale is chosen from what is known.
      if (c % group == 0) scales[c / group] = choose_group_scale(job.format.coding, row.data() + c, group, rule, f.importance.data() + c);
      const float scale = scales[c / group], value = round_to_code(job.format.coding, row[size_t(c)], scale);
      put_four_bits(codes, c, code_of(job.format.coding, row[size_t(c)], scale));
      decoded[size_t(c)] = value;
      const float* u = &f.u[size_t(c * k)];
      const float e = (row[size_t(c)] - value) / u[c];
      errors[c - c0] = e;
      for (int64_t j = c + 1; j < c1; ++j) row[size_t(j)] -= e * u[j];
    }
    for (int64_t c = c0; c < c1; ++c) {
      const float e = errors[c - c0];
      const float* u = &f.u[size_t(c * k)];
      for (int64_t j = c1; j < k; ++j) row[size_t(j)] -= e * u[j];
    }
  }
}

}  // namespace

GptqFactor gptq_factor(std::vector<float> h, int64_t k, ThreadPool& pool) {
  check(int64_t(h.size()) == k * k, "a second moment of {} numbers for {} columns", h.size(), k);
  GptqFactor f{.k = k};
  double mean = 0;
  for (int64_t i = 0; i < k; ++i) {
    f.importance.push_back(h[size_t(i * k + i)]);
    mean += double(h[size_t(i * k + i)]) / double(k);
  }
  if (!(mean > 0)) {  // no token came here: all columns count alike and nothing is made up for
    f.importance.assign(size_t(k), 1);
    f.u.assign(size_t(k * k), 0);
    for (int64_t i = 0; i < k; ++i) f.u[size_t(i * k + i)] = 1;
    return f;
  }
  // The lower triangle keeps the input while the upper one is worked on, so that a failed try can be repeated.
  std::vector<float> diagonal = f.importance;
  for (double damping = 0.01; ; damping *= 10) {
    for (int64_t r = 0; r < k; ++r) {
      h[size_t(r * k + r)] = diagonal[size_t(r)] + float(damping * mean);
      for (int64_t c = r + 1; c < k; ++c) h[size_t(r * k + c)] = h[size_t(c * k + r)];
    }
    if (factor_upper(h, k, pool)) break;
    check(damping < 1e6, "a second moment of {} columns cannot be factored", k);
  }
  for (int64_t r = 0; r < k; ++r) std::fill_n(&h[size_t(r * k)], r, 0.0f);
  invert_upper(h, k, pool);
  f.u = std::move(h);
  return f;
}

CodeError gptq_encode(const MatrixJob& job, const float* w, const GptqFactor& factor, ScaleRule rule, ThreadPool& pool, EncodedMatrix& out) {
  check(is_four_bits(job.format) && factor.k == job.k, "GPTQ of {} as {}", job.module, format_name(job.format));
  const int64_t bytes = row_code_bytes(job.format, job.k), groups = scales_per_row(job.format, job.k);
  out.codes.assign(size_t(job.rows * bytes), 0);
  out.scales.assign(size_t(job.rows * groups), 0);
  std::vector<CodeError> errors(static_cast<size_t>(pool.size()));
  pool.parallel_for(job.rows, 4, [&](int thread, int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(job.k)), decoded(static_cast<size_t>(job.k));
    for (int64_t r = begin; r < end; ++r) {
      const float* from = w + r * job.k;
      row.assign(from, from + job.k);
      encode_row(job, row, factor, rule, out.codes.data() + r * bytes, out.scales.data() + r * groups, decoded);
      CodeError& e = errors[size_t(thread)];
      for (int64_t c = 0; c < job.k; ++c) {
        const double a = from[c], b = decoded[size_t(c)];
        e.error += (a - b) * (a - b), e.square += a * a, e.coded += b * b, e.product += a * b;
      }
    }
  });
  CodeError sum;
  for (const CodeError& e : errors) sum.add(e);
  return sum;
}

}  // namespace vl8
