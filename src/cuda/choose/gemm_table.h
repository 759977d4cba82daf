// Choices measured on a card: what the autotuner found, kept on disk between starts, asked before the rules.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "cuda/choose/gemm_choice.h"

namespace vl8::cuda {

class GemmTable {
 public:
  // Row counts that are measured; a problem takes the choice of the next one up, or, where it has more rows than were
  // measured, of the largest from 1024 on.
  static constexpr int64_t kRows[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  static int64_t bucket(int64_t m);

  // The measured choice, else that of the rules.
  GemmChoice choose(const GemmProblem& problem) const;
  bool has(const GemmProblem& problem) const { return rows_.contains(key(problem)); }
  void set(const GemmProblem& problem, const GemmChoice& choice) { rows_[key(problem)] = choice; }
  size_t size() const { return rows_.size(); }

  // One line a choice under a line that names the device and this program's kernels. Reading takes only lines whose
  // choice is still one of gemm_candidates; a text of another device or version gives an empty table.
  std::string text(std::string_view device) const;
  static GemmTable parse(std::string_view text, std::string_view device, int sm, int sm_count);

 private:
  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int, int, int, int, bool>;
  static Key key(const GemmProblem& p) {
    return {bucket(p.m), p.n, p.k, p.experts, int(p.x), int(p.w), int(p.y), int(p.scales), p.fused};
  }
  std::map<Key, GemmChoice> rows_;
};

}  // namespace vl8::cuda
