#include "cuda/choose/gemm_table.h"

#include <algorithm>
#include <sstream>

namespace vl8::cuda {
namespace {

constexpr int kVersion = 1;  // raise when a kernel changes so much that old measurements mislead

std::string header(std::string_view device) { return "vl8 gemm table " + std::to_string(kVersion) + " " + std::string(device); }

}  // namespace

int64_t GemmTable::bucket(int64_t m) {
  const int64_t* end = std::end(kRows);
  const int64_t* at = std::lower_bound(std::begin(kRows), end, m);
  return at == end ? end[-1] : *at;
}

GemmChoice GemmTable::choose(const GemmProblem& p) const {
  // Odd operands (unaligned rows, a bias beside silu_mul) are not what was measured.
  auto at = p.aligned && p.plain ? rows_.find(key(p)) : rows_.end();
  GemmProblem fewer = p;
  for (fewer.m = bucket(p.m) / 2; at == rows_.end() && p.aligned && p.plain && fewer.m >= 1024; fewer.m /= 2) at = rows_.find(key(fewer));
  bool usable = at != rows_.end() && (at->second.kernel != GemmKernel::library || p.library);
  return usable ? at->second : choose_gemm(p);
}

std::string GemmTable::text(std::string_view device) const {
  std::ostringstream out;
  out << header(device) << "\n";
  for (const auto& [key, c] : rows_) {
    std::apply([&](auto... field) { ((out << int64_t(field) << ' '), ...); }, key);
    out << int(c.kernel) << ' ' << c.tile.rows << ' ' << c.tile.columns << ' ' << c.tile.cluster << ' ' << c.band << ' ' << c.splits
        << "\n";
  }
  return out.str();
}

GemmTable GemmTable::parse(std::string_view text, std::string_view device, int sm, int sm_count) {
  GemmTable table;
  std::istringstream lines{std::string(text)};
  std::string line;
  if (!std::getline(lines, line) || line != header(device)) return table;
  while (std::getline(lines, line)) {
    std::istringstream in(line);
    GemmProblem p;
    p.sm = sm, p.sm_count = sm_count, p.library = true;
    int x, w, y, scales, fused, kernel;
    GemmChoice c;
    if (!(in >> p.m >> p.n >> p.k >> p.experts >> x >> w >> y >> scales >> fused >> kernel >> c.tile.rows >> c.tile.columns >>
          c.tile.cluster >> c.band >> c.splits))
      continue;
    if (p.m < 1 || p.n < 1 || p.k < 1 || p.experts < 1 || std::max({x, w, y}) > 2 || std::min({x, w, y, scales}) < 0 || scales > 3)
      continue;
    p.x = Format(x), p.w = Format(w), p.y = Format(y), p.scales = Scales(scales), p.fused = fused != 0;
    c.kernel = GemmKernel(kernel);
    auto candidates = gemm_candidates(p);
    if (std::find(candidates.begin(), candidates.end(), c) != candidates.end()) table.set(p, c);
  }
  return table;
}

}  // namespace vl8::cuda
