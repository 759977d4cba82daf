#include "dump_logits.h"

#include <algorithm>

#include "io/safetensors.h"
#include "ops/probe_ops.h"

namespace vl8 {
namespace {

// The keys of several files as one case.
class Case {
 public:
  explicit Case(const std::vector<std::string>& files) {
    for (const std::string& f : files) files_.emplace_back(f);
  }
  const SafetensorsFile* with(std::string_view key) const {
    for (const SafetensorsFile& f : files_)
      if (f.find(key)) return &f;
    return nullptr;
  }
  std::vector<int64_t> integers(std::string_view key) const {
    const SafetensorsFile* f = with(key);
    return f ? f->read_i64(key) : std::vector<int64_t>();
  }
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  std::vector<SafetensorsFile> files_;
};

// Splits the rows of all pictures (or clips) of the case by their grids.
std::vector<VisualInput> visuals(const Case& c, const char* pixels_key, const char* grid_key, const VisionConfig& config) {
  std::vector<int64_t> thw = c.integers(grid_key);
  std::vector<VisualInput> out;
  if (thw.empty()) return out;
  if (thw.size() % 3) fail_input("{} has {} numbers, not a multiple of 3", grid_key, thw.size());
  const SafetensorsFile* f = c.with(pixels_key);
  if (!f) fail_input("the case has {} but no {}; give a file that has it with a second --inputs", grid_key, pixels_key);
  std::vector<float> pixels = f->read_f32(pixels_key);
  const int64_t columns = config.patch_features();
  int64_t rows = int64_t(pixels.size()) / columns, at = 0;
  for (size_t i = 0; i < thw.size(); i += 3) {
    Grid g{thw[i], thw[i + 1], thw[i + 2]};
    auto sane = [](int64_t v) { return v > 0 && v < 1 << 20; };
    if (!sane(g.t) || !sane(g.h) || !sane(g.w) || g.h % config.merge_size || g.w % config.merge_size || at + g.patches() > rows)
      fail_input("{}: grid {}x{}x{} does not fit {} patches", grid_key, g.t, g.h, g.w, rows);
    auto buffer = std::make_shared<PatchBuffer>(DType::f32, g.patches(), columns);
    std::copy_n(pixels.data() + at * columns, g.patches() * columns, static_cast<float*>(buffer->data()));
    out.push_back({buffer, g, {}});
    at += g.patches();
  }
  if (at != rows) fail_input("{} has {} patches, the grids {}", pixels_key, rows, at);
  return out;
}

}  // namespace

void dump_logits(const DumpLogits& o) {
  EngineOptions options = o.engine;
  LoadedModel model = load_model(o.model, options);
  ProbeOps probe(*model.ops, o.probe);
  Ops& op = o.probe.empty() ? *model.ops : probe;

  Case input(o.inputs);
  std::vector<int32_t> ids;
  for (int64_t id : input.integers("input_ids")) {
    if (id < 0 || id >= model.config.text.vocab_size) fail_input("input_ids: {} is outside the vocabulary of {}", id, model.config.text.vocab_size);
    ids.push_back(int32_t(id));
  }
  if (ids.empty()) fail_input("{} has no input_ids", o.inputs.empty() ? "the case" : o.inputs[0]);
  Sequence s(prompt_from_ids(ids, visuals(input, "pixel_values", "image_grid_thw", model.config.vision),
                             visuals(input, "pixel_values_videos", "video_grid_thw", model.config.vision), model.config));
  const int64_t t = s.prompt_tokens(), v = model.config.text.vocab_size;
  Runner runner(op, model.config, model.weights, (t + o.greedy) / options.page_tokens + 1, options.page_tokens);

  std::vector<float> logits;
  while (s.pending() > 0) {
    Runner::Work work{&s, std::min(s.pending(), o.chunk > 0 ? o.chunk : t), true};
    Runner::Logits step = runner.step(std::span(&work, 1));
    logits.insert(logits.end(), step.values.begin(), step.values.end());
  }
  std::vector<int32_t> greedy;
  std::vector<float> last(logits.end() - v, logits.end());
  probe.stop();
  for (int64_t i = 0; i < o.greedy; ++i) {
    greedy.push_back(int32_t(std::max_element(last.begin(), last.end()) - last.begin()));
    if (i + 1 == o.greedy) break;
    s.tokens.push_back(greedy.back());
    Runner::Work work{&s, 1};
    last = runner.step(std::span(&work, 1)).values;
  }
  std::vector<std::pair<std::string, Tensor>> out;
  out.push_back({"logits", {logits.data(), DType::f32, {t, v}}});
  out.push_back({"position_ids", {s.prompt.positions.axes.data(), DType::i32, {3, t}}});
  out.push_back({"greedy_ids", {greedy.data(), DType::i32, {int64_t(greedy.size())}}});
  auto probed = probe.probed();
  for (auto& [name, p] : probed) out.push_back({name, {p.values.data(), DType::f32, p.shape}});
  write_safetensors(o.out, out);
}

}  // namespace vl8
