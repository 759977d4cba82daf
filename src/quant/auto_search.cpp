#include "quant/auto_search.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/progress.h"
#include "quant/encoded_linear.h"

namespace vl8 {
namespace {

// A linear (or the token table) of the loaded model with the names of its parts.
struct Member {
  Weight* weight;
  std::vector<std::string> parts;
};
struct Unit {
  AutoUnit info;
  std::vector<Member> members;
};

// Groups the model's matrices into units.
struct Collect {
  std::map<std::pair<int, int64_t>, Unit>& units;  // by kind and layer
  void vector(Tensor&, const std::string&, int64_t) {}
  void table_f32(Tensor&, const std::string&, int64_t, int64_t) {}
  void table(Weight& w, const std::string& name, int64_t, int64_t) { add(w, {name.substr(0, name.size() - 7)}); }
  void linear(Linear& l, std::initializer_list<LinearPart> parts, int64_t, bool) {
    std::vector<std::string> names;
    for (const LinearPart& p : parts) names.push_back(p.name);
    add(l.weight, names);
  }
  void experts(Moe& m, const std::string& prefix, int64_t experts, int64_t, int64_t) {
    for (int64_t e = 0; e < experts; ++e) {
      const std::string p = fmt::format("{}.experts.{}.", prefix, e);
      add_expert(m.gate_up[size_t(e)].weight, {p + "gate_proj", p + "up_proj"});
      add_expert(m.down[size_t(e)].weight, {p + "down_proj"});
    }
    note(prefix + ".experts.gate_up_proj"), note(prefix + ".experts.down_proj");
  }
  // A tied head is the table: both are replaced together.
  void head(Linear& l, const std::string& name, const Weight&, int64_t, int64_t, bool tied) { add(l.weight, {tied ? "language_model.embed_tokens" : name}, tied); }

  // Experts of a layer are one unit: they are stored fused, or each linear apart, but not half of them.
  Unit& unit_of(const std::string& module) {
    ModuleName n = module_name(module);
    if (module.find(".experts.") != std::string::npos) n.kind = ModuleKind::mlp_in;
    Unit& u = units[{int(n.kind), n.layer}];
    u.info.name = n.layer < 0 ? std::string(module_kind_name(n.kind)) : fmt::format("{} {}", module_kind_name(n.kind), n.layer);
    return u;
  }
  void note(const std::string& module) { unit_of(module).info.modules.push_back(module); }
  // Fused experts are one part in memory and two matrices in the result; both get one format.
  void add_expert(Weight& w, std::vector<std::string> names) { add(w, std::move(names)); }
  void add(Weight& w, std::vector<std::string> names, bool again = false) {
    if (module_name(names[0]).kind == ModuleKind::other) return;
    Unit& u = unit_of(names[0]);
    u.members.push_back({&w, names});
    if (again) return;
    u.info.modules.insert(u.info.modules.end(), names.begin(), names.end());
    u.info.elements += w.n * w.k;
  }
};

constexpr Format kEight{Coding::e4m3_channel};

// Runs with some members replaced by encoded weights, and puts the mapped ones back.
class Replaced {
 public:
  Replaced(LoadedModel& m, ThreadPool& pool) : model_(m), pool_(pool) {}
  ~Replaced() {
    for (auto& [weight, old] : old_) *weight = std::move(old);
  }
  void replace(const Unit& u, const Format& format) {
    for (const Member& m : u.members) {
      encoded_.push_back(encode_in_memory(*m.weight, std::vector<Format>(m.weight->parts.size(), format), ScaleRule::mse, pool_));
      old_.push_back({m.weight, *m.weight});
      *m.weight = encoded_.back().linear.weight;
      model_.ops->prepare(*m.weight);
    }
  }

 private:
  LoadedModel& model_;
  ThreadPool& pool_;
  std::vector<EncodedLinear> encoded_;
  std::vector<std::pair<Weight*, Weight>> old_;
};

Format format_of(int level, int64_t group) { return level == 1 ? kEight : Format{Coding::i4_group, group}; }

struct Move {
  size_t unit;
  int level;
};

// Lowers one unit by one level at a time, the cheapest KL a byte first. kl is made monotonous: a lower format is not
// taken to be better than a higher one, which noise may suggest.
std::vector<Move> greedy_moves(std::vector<AutoUnit> units) {
  std::vector<Move> moves;
  while (true) {
    double best = INFINITY;
    Move move{};
    for (size_t i = 0; i < units.size(); ++i) {
      const AutoUnit& u = units[i];
      if (u.level == 2 || (u.level == 1 && !u.four_bits)) continue;
      const double before = u.level ? u.kl[0] : 0, after = std::max(before, u.kl[u.level]);
      const double price = (after - before) / double(std::max<uint64_t>(1, u.bytes[u.level] - u.bytes[u.level + 1]));
      if (price < best) best = price, move = {i, u.level + 1};
    }
    if (best == INFINITY) return moves;
    units[move.unit].level = move.level;
    moves.push_back(move);
  }
}

class Search {
 public:
  Search(const std::filesystem::path& source, int64_t group, std::vector<Prompt> prompts, const EngineOptions& engine, ThreadPool& pool)
      : reference_(reference_logits(source, std::move(prompts), engine)), model_(load_model(source, engine)), pool_(pool), group_(group) {
    total_bytes_ = model_.store->checkpoint().tensor_bytes();
    model_.weights.each(model_.config, Collect{by_kind_});
    for (auto& [key, u] : by_kind_) {
      u.info.four_bits = true;
      for (const Member& m : u.members) u.info.four_bits = u.info.four_bits && m.weight->k % group_ == 0;
      count_bytes(u);
      units_.push_back(&u);
    }
  }

  AutoResult run(const AutoGoal& goal) {
    measure_alone();
    std::vector<AutoUnit> infos;
    for (Unit* u : units_) infos.push_back(u->info);
    const std::vector<Move> moves = greedy_moves(infos);
    const size_t count = goal.size_bytes ? moves_for_size(moves, goal.size_bytes) : moves_for_loss(moves, goal.loss);
    AutoResult r;
    r.measured = measure(moves, count);
    for (size_t i = 0; i < count; ++i) units_[moves[i].unit]->info.level = moves[i].level;
    r.bytes = bytes_after(moves, count);
    for (Unit* u : units_) {
      for (const std::string& m : u->info.modules)
        if (u->info.level) r.overrides[m] = format_of(u->info.level, group_);
      r.units.push_back(u->info);
    }
    return r;
  }

 private:
  void count_bytes(Unit& u) {
    std::vector<const void*> seen;
    for (const Member& m : u.members)
      for (const WeightPart& p : m.weight->parts) {
        if (std::find(seen.begin(), seen.end(), p.data) != seen.end()) continue;  // a tied head
        seen.push_back(p.data);
        u.info.bytes[0] += uint64_t(p.rows) * uint64_t(p.row_bytes(m.weight->k));
        u.info.bytes[1] += stored_bytes(kEight, p.rows, m.weight->k);
        u.info.bytes[2] += u.info.four_bits ? stored_bytes({Coding::i4_group, group_}, p.rows, m.weight->k) : 0;
        if (u.info.four_bits && m.parts.size() > m.weight->parts.size()) u.info.bytes[2] += 16;  // fused here, two matrices in the result
      }
  }

  void measure_alone() {
    Progress progress("measuring modules", int64_t(units_.size()) * 2, "trials", true);
    for (Unit* u : units_)
      for (int level = 1; level <= 2; ++level) {
        if (level == 1 || u->info.four_bits) {
          Replaced replaced(model_, pool_);
          replaced.replace(*u, format_of(level, group_));
          u->info.kl[level - 1] = measure_loss(reference_, model_).kl;
        }
        progress.advance(1);
      }
  }

  std::vector<int> levels(const std::vector<Move>& moves, size_t count) const {
    std::vector<int> l(units_.size());
    for (size_t i = 0; i < count; ++i) l[moves[i].unit] = moves[i].level;
    return l;
  }
  uint64_t bytes_after(const std::vector<Move>& moves, size_t count) const {
    uint64_t bytes = total_bytes_;
    const std::vector<int> l = levels(moves, count);
    for (size_t i = 0; i < units_.size(); ++i) bytes -= units_[i]->info.bytes[0] - units_[i]->info.bytes[l[i]];
    return bytes;
  }
  LogitLoss measure(const std::vector<Move>& moves, size_t count) {
    Replaced replaced(model_, pool_);
    const std::vector<int> l = levels(moves, count);
    for (size_t i = 0; i < units_.size(); ++i)
      if (l[i]) replaced.replace(*units_[i], format_of(l[i], group_));
    return measure_loss(reference_, model_);
  }

  size_t moves_for_size(const std::vector<Move>& moves, uint64_t wanted) const {
    for (size_t n = 0; n <= moves.size(); ++n)
      if (bytes_after(moves, n) <= wanted) return n;
    fail_usage("the smallest this model can be made is {:.1f} MB ({:.1f} MB were asked for)", double(bytes_after(moves, moves.size())) * 1e-6, double(wanted) * 1e-6);
  }
  // The most moves whose mixture, measured, stays within the loss: by bisection, as if the loss only grew.
  size_t moves_for_loss(const std::vector<Move>& moves, double wanted) {
    size_t good = 0, bad = moves.size() + 1;
    while (bad - good > 1) {
      const size_t middle = (good + bad) / 2;
      (measure(moves, middle).top1_changed <= wanted ? good : bad) = middle;
    }
    if (good == 0) fail_usage("no module can be quantised within a loss of {:.3f} %", 100 * wanted);
    return good;
  }

  ReferenceLogits reference_;
  LoadedModel model_;
  ThreadPool& pool_;
  int64_t group_;
  uint64_t total_bytes_ = 0;
  std::map<std::pair<int, int64_t>, Unit> by_kind_;
  std::vector<Unit*> units_;
};

// A number and the rest of the text.
std::pair<double, std::string> number_and_unit(const std::string& text, const char* what) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !(value > 0)) fail_usage("'{}' is not {}", text, what);
  std::string unit(end);
  unit.erase(0, unit.find_first_not_of(' ') == std::string::npos ? unit.size() : unit.find_first_not_of(' '));
  return {value, unit};
}

}  // namespace

uint64_t parse_size(const std::string& text) {
  const auto [value, unit] = number_and_unit(text, "a size; write 5GB, 700MB or 4.5GiB");
  const std::map<std::string, double> units{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"GiB", 0x1p30}, {"MiB", 0x1p20}, {"B", 1}};
  if (auto it = units.find(unit); it != units.end()) return uint64_t(value * it->second);
  fail_usage("'{}' is not a size; write 5GB, 700MB or 4.5GiB", text);
}

double parse_share(const std::string& text) {
  const auto [value, unit] = number_and_unit(text, "a share; write 0.5%");
  const double share = unit == "%" ? value / 100 : value;
  if ((!unit.empty() && unit != "%") || share >= 1) fail_usage("'{}' is not a share below 100 %; write 0.5%", text);
  return share;
}

AutoResult auto_search(const std::filesystem::path& source, const AutoGoal& goal, int64_t group, std::vector<Prompt> prompts,
                       const EngineOptions& engine, ThreadPool& pool) {
  if (load_model_config(source).quant.method != QuantMethod::none)
    fail_input("{} is quantised already; quantise the BF16 model it was made from", source.string());
  return Search(source, group, std::move(prompts), engine, pool).run(goal);
}

}  // namespace vl8
