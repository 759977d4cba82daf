#include "quant/diff.h"

#include <mutex>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "io/weight_binder.h"
#include "model/weights.h"
#include "ops/weight_row.h"

namespace vl8 {
namespace {

struct Loaded {
  ModelConfig config;
  std::shared_ptr<WeightStore> store;
  ModelWeights weights;
};

void load(Loaded& m, const std::filesystem::path& folder, ThreadPool& pool) {
  m.config = load_model_config(folder);
  m.store = std::make_shared<WeightStore>(Checkpoint(folder));
  WeightBinder binder(m.store, m.config.quant);
  m.weights.each(m.config, binder);
  binder.finish(pool, {ReadMode::on_demand, false});
}

// One stored module of a model, flattened: a part of a weight, or a float vector.
struct Entry {
  std::string name;
  Weight weight;   // of one part, or empty
  Tensor values;
};

struct Collect {
  std::vector<Entry>& out;
  void vector(Tensor& t, const std::string& name, int64_t) { out.push_back({name, {}, t}); }
  void table_f32(Tensor& t, const std::string& name, int64_t, int64_t) { out.push_back({name, {}, t}); }
  void table(Weight& w, const std::string& name, int64_t, int64_t) { out.push_back({name, w, {}}); }
  void linear(Linear& l, std::initializer_list<LinearPart> parts, int64_t, bool bias) {
    size_t i = 0;
    for (const LinearPart& p : parts) add_part(l.weight, i++, p.name);
    if (bias) out.push_back({parts.begin()->name + ".bias", {}, l.bias});
  }
  void experts(Moe& m, const std::string& prefix, int64_t experts, int64_t, int64_t) {
    for (int64_t e = 0; e < experts; ++e) {
      whole(m.gate_up[size_t(e)].weight, fmt::format("{}.experts.{}.gate_up_proj", prefix, e));
      whole(m.down[size_t(e)].weight, fmt::format("{}.experts.{}.down_proj", prefix, e));
    }
  }
  void head(Linear& l, const std::string& name, const Weight&, int64_t, int64_t, bool tied) {
    if (!tied) out.push_back({name, l.weight, {}});
  }
  void add_part(const Weight& w, size_t i, const std::string& name) {
    out.push_back({name, {.name = name, .n = w.parts[i].rows, .k = w.k, .parts = {w.parts[i]}}, {}});
  }
  void whole(const Weight& w, const std::string& name) { out.push_back({name, w, {}}); }
};

std::string format_of(const Weight& w) {
  if (w.parts.empty()) return "F32";
  const WeightPart& p = w.parts[0];
  constexpr const char* kScaling[] = {"", " tensor", " channel", " block", " group"};
  std::string s = std::string(dtype_name(p.dtype)) + kScaling[size_t(p.scale_kind)];
  if (p.scale_kind == ScaleKind::group) s += fmt::format(" {}", p.block_cols);
  if (p.scale_kind == ScaleKind::block) s += fmt::format(" {}x{}", p.block_rows, p.block_cols);
  return s;
}

uint64_t bytes_of(const Entry& e) {
  if (e.weight.parts.empty()) return e.values.bytes();
  uint64_t bytes = 0;
  for (const WeightPart& p : e.weight.parts) {
    bytes += uint64_t(p.rows) * uint64_t(p.row_bytes(e.weight.k));
    if (p.scale_kind == ScaleKind::channel) bytes += 4 * uint64_t(p.rows);
    if (p.scale_kind == ScaleKind::group) bytes += (p.scale ? 4u : 2u) * uint64_t(p.rows) * uint64_t(e.weight.k / p.block_cols);
    if (p.scale_kind == ScaleKind::block)
      bytes += 4 * uint64_t((p.rows + p.block_rows - 1) / p.block_rows) * uint64_t((e.weight.k + p.block_cols - 1) / p.block_cols);
  }
  return bytes;
}

void add(CodeError& e, bool& equal, const float* a, const float* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double x = a[i], y = b[i];
    e.error += (x - y) * (x - y), e.square += x * x, e.coded += y * y, e.product += x * y;
    equal = equal && a[i] == b[i];
  }
}

void compare(const Entry& a, const Entry& b, ModuleDiff& d, ThreadPool& pool) {
  d.equal = true;
  if (a.weight.parts.empty()) return add(d.error, d.equal, a.values.f32(), b.values.f32(), a.values.shape.elements());
  std::mutex mutex;
  pool.parallel_for(a.weight.n, 64, [&](int, int64_t begin, int64_t end) {
    std::vector<float> x(size_t(a.weight.k)), y(size_t(a.weight.k));
    CodeError e;
    bool equal = true;
    for (int64_t r = begin; r < end; ++r) {
      weight_row_f32(a.weight, r, x.data());
      weight_row_f32(b.weight, r, y.data());
      add(e, equal, x.data(), y.data(), a.weight.k);
    }
    std::lock_guard lock(mutex);
    d.error.add(e), d.equal = d.equal && equal;
  });
}

void diff_json(const nlohmann::json& a, const nlohmann::json& b, const std::string& path, std::vector<std::string>& out) {
  if (a.is_object() && b.is_object()) {
    for (const auto& [key, value] : a.items())
      diff_json(value, b.contains(key) ? b[key] : nlohmann::json(), path.empty() ? key : path + "." + key, out);
    for (const auto& [key, value] : b.items())
      if (!a.contains(key)) diff_json(nlohmann::json(), value, path.empty() ? key : path + "." + key, out);
    return;
  }
  if (a == b) return;
  auto shorten = [](const nlohmann::json& j) {
    const std::string s = j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return s.size() > 60 ? s.substr(0, 57) + "..." : s;
  };
  out.push_back(fmt::format("{}: {} | {}", path, shorten(a), shorten(b)));
}

}  // namespace

CheckpointDiff diff_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b, ThreadPool& pool) {
  Loaded x, y;
  load(x, a, pool), load(y, b, pool);
  std::vector<Entry> left, right;
  x.weights.each(x.config, Collect{left});
  y.weights.each(y.config, Collect{right});
  CheckpointDiff d;
  d.bytes_a = x.store->checkpoint().tensor_bytes(), d.bytes_b = y.store->checkpoint().tensor_bytes();
  if (left.size() != right.size())
    fail_input("{} has {} modules and {} has {}: they are of other architectures", a.string(), left.size(), b.string(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    const Entry &p = left[i], &q = right[i];
    if (p.name != q.name || p.weight.n != q.weight.n || p.weight.k != q.weight.k || p.values.shape != q.values.shape)
      fail_input("{} is [{}, {}] in {} and {} is [{}, {}] in {}", p.name, p.weight.n, p.weight.k, a.string(), q.name, q.weight.n, q.weight.k, b.string());
    ModuleDiff m{.module = p.name, .format_a = format_of(p.weight), .format_b = format_of(q.weight), .bytes_a = bytes_of(p), .bytes_b = bytes_of(q)};
    compare(p, q, m, pool);
    d.modules.push_back(std::move(m));
  }
  auto json = [](const std::filesystem::path& folder) { return nlohmann::json::parse(read_file(folder / "config.json")); };
  diff_json(json(a), json(b), "", d.config);
  return d;
}

}  // namespace vl8
