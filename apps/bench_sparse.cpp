#include "bench_sparse.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "core/interrupt.h"
#include "engine/gating.h"
#include "engine/runner.h"
#include "sparse/controller.h"
#include "sparse/frame_gate.h"

namespace vl8 {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;
double ms_since(Clock::time_point t) { return std::chrono::duration<double, std::milli>(Clock::now() - t).count(); }
double round2(double v) { return std::round(v * 100) / 100; }

// A scene with structure in a third of it, the same for each seed; noise differs from frame to frame.
Image scene(int64_t size, uint64_t seed, std::mt19937& noise) {
  Image image{int(size), int(size)};
  std::mt19937_64 rng(seed);
  const int base = 90 + int(rng() % 60);
  std::fill_n(image.rgb.get(), image.bytes(), uint8_t(base));
  for (int n = 0; n < 24; ++n) {
    const int w = int(size / 24 + int64_t(rng() % uint64_t(size / 8))), h = int(size / 24 + int64_t(rng() % uint64_t(size / 8)));
    const int x0 = int(rng() % uint64_t(size - w)), y0 = int(rng() % uint64_t(size - h)), step = 3 + int(rng() % 9);
    const uint8_t a = uint8_t(rng()), b = uint8_t(rng());
    for (int y = y0; y < y0 + h; ++y)
      for (int x = x0; x < x0 + w; ++x)
        for (int c = 0; c < 3; ++c) image.row(y)[3 * x + c] = (x / step + y / step) % 2 ? a : uint8_t(b + 40 * c);
  }
  for (size_t i = 0; i < image.bytes(); ++i) image.rgb[i] = uint8_t(std::clamp(int(image.rgb[i]) + int(noise() % 9) - 4, 0, 255));
  return image;
}

void put_thing(Image& image, std::mt19937& rng) {
  const int side = image.width / 10, x0 = int(rng() % uint64_t(image.width - side)), y0 = int(rng() % uint64_t(image.height - side));
  for (int y = y0; y < y0 + side; ++y)
    for (int x = x0; x < x0 + side; ++x)
      for (int c = 0; c < 3; ++c) image.row(y)[3 * x + c] = uint8_t((x ^ y) * 5 + c * 70);
}

class Bench {
 public:
  Bench(LoadedModel& m, const EngineOptions& e, const SparseBench& o) : m_(m), engine_(e), o_(o) {
    settings_.budget = {1, int64_t(1) << 27};
  }

  Json stream(bool frame_gate) {
    std::mt19937 rng(7);
    std::vector<bool> odd(size_t(o_.frames), false);
    const int64_t every = o_.anomalous > 0 ? std::max<int64_t>(2, std::llround(1 / o_.anomalous)) : o_.frames + 1;
    for (int64_t i = every / 2; i < o_.frames; i += every) odd[size_t(i)] = true;
    double dense = 0, quiet = 0, anomalous = 0, share = 0;
    int64_t dense_n = 0, quiet_n = 0, anomalous_n = 0, looks = 0;
    FrameGate gate;
    BudgetController controller;
    GroupSketch reference;
    VisualStream camera{std::make_shared<VisionMemory>(), {}};
    for (int64_t i = 0; i < o_.frames; ++i) {
      throw_if_interrupted();
      Image frame = scene(o_.size, 1, rng);
      if (odd[size_t(i)]) put_thing(frame, rng);
      if (i < 3) {  // dense frames cost the same, whatever is in them
        auto start = Clock::now();
        answer({picture(frame)});
        if (i > 0) dense += ms_since(start), ++dense_n;  // the first warms up
      }
      auto start = Clock::now();
      GroupSketch now = GroupSketch::of_image(frame.rgb.get(), frame.width, frame.height);
      const FrameVerdict verdict = gate.judge(i ? now.change(reference) : std::vector<float>(), double(i));
      double activation_now = 0;
      if (verdict != FrameVerdict::reuse || !frame_gate) {
        VisualInput v = picture(frame);
        Sparsity s = parse_sparsity("0.5");
        s.share = controller.next(i ? gate.novelty() : 1);
        gate_visual(v, s, m_.config, &camera);
        reference = std::move(now);
        activation_now = answer({std::move(v)});
        gate.looked(camera.memory->feature_distance());
        ++looks;
      }
      const double ms = ms_since(start);
      if (i == 0) continue;  // fills the memory: as dense
      share += activation_now;
      if (odd[size_t(i)]) anomalous += ms, ++anomalous_n;
      else quiet += ms, ++quiet_n;
    }
    dense /= double(std::max<int64_t>(1, dense_n));
    const double mean = (quiet + anomalous) / double(o_.frames - 1);
    const double worst = anomalous_n ? anomalous / double(anomalous_n) : 0;
    return {{"dense_ms", round2(dense)}, {"gated_ms", round2(mean)}, {"quiet_ms", round2(quiet / double(std::max<int64_t>(1, quiet_n)))},
            {"anomalous_ms", round2(worst)}, {"speedup", round2(dense / mean)}, {"anomalous_slowdown", round2(worst / dense)},
            {"activation", round2(share / double(o_.frames - 1))}, {"looks", looks}, {"frames", o_.frames}};
  }

  Json prompt() {
    std::mt19937 rng(9);
    std::vector<Image> images;
    for (int64_t i = 0; i < o_.images; ++i) images.push_back(scene(o_.image_size, uint64_t(100 + i), rng));
    double ms[2], share = 1;
    for (int gated : {0, 1}) {
      throw_if_interrupted();
      auto start = Clock::now();
      std::vector<VisualInput> visuals;
      for (const Image& i : images) visuals.push_back(picture(i));
      Sparsity s = parse_sparsity("0.5");
      s.share = o_.share;
      if (gated)
        for (VisualInput& v : visuals) gate_visual(v, s, m_.config);
      share = answer(std::move(visuals));
      ms[gated] = ms_since(start);
    }
    return {{"images", o_.images}, {"size", o_.image_size}, {"dense_ms", round2(ms[0])}, {"gated_ms", round2(ms[1])}, {"speedup", round2(ms[0] / ms[1])},
            {"share", o_.share}, {"activation", round2(share)}};
  }

 private:
  VisualInput picture(const Image& image) const {
    ImageInput in = preprocess_image(image, settings_);
    return {std::make_shared<PatchBuffer>(std::move(in.patches)), in.grid, in.hash, nullptr};
  }

  // Pictures and a few words through both towers, and one token of answer. Returns the activation.
  double answer(std::vector<VisualInput> visuals) {
    std::vector<int32_t> ids;
    for (const VisualInput& v : visuals) {
      const int64_t n = v.gate ? int64_t(v.gate->tokens.size()) : v.grid.tokens(m_.config.vision.merge_size);
      ids.insert(ids.end(), size_t(n), int32_t(m_.config.tokens.image));
      ids.push_back(1);
    }
    for (int64_t i = 0; i < o_.text_tokens; ++i) ids.push_back(int32_t(2 + i));
    Sequence s(prompt_from_ids(std::move(ids), std::move(visuals), {}, m_.config));
    const double share = activation(s.prompt, m_.config);
    Runner runner(*m_.ops, m_.config, m_.weights, s.prompt_tokens() / engine_.page_tokens + 2, engine_.page_tokens);
    while (s.pending() > 0) {
      Runner::Work work{&s, std::min(s.pending(), engine_.prefill_chunk)};
      runner.step(std::span(&work, 1));
    }
    s.tokens.push_back(3);
    Runner::Work work{&s, 1};
    runner.step(std::span(&work, 1));
    return share;
  }

  LoadedModel& m_;
  const EngineOptions& engine_;
  const SparseBench& o_;
  ImageSettings settings_;
};

}  // namespace

Json bench_sparse(LoadedModel& model, const EngineOptions& engine, const SparseBench& o) {
  Bench b(model, engine, o);
  Json j;
  j["stream"] = b.stream(true);
  j["every_frame"] = b.stream(false);
  j["prompt"] = b.prompt();
  return j;
}

}  // namespace vl8
