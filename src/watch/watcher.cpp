#include "watch/watcher.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <map>

#include "core/log.h"
#include "engine/gating.h"
#include "media/boxes.h"
#include "media/draw.h"

namespace vl8::watch {
namespace {

class StopWatch {
 public:
  double lap_ms() {
    const double now = steady_now_s(), ms = (now - last_) * 1e3;
    last_ = now;
    return ms;
  }

 private:
  double last_ = steady_now_s();
};

struct Reply {
  std::string text;
  double activation = 1, mean_probability = 1;
};

// Waits for the whole answer. Error as the engine gave it.
Reply ask(Service& service, const ChatRequest& request, double* pixels_ms) {
  PreparedChat chat = service.engine().prepare(request);
  *pixels_ms = chat.pixels_ms;
  GenerationRequest g;
  g.prompt = std::move(chat.prompt), g.sampling = request.sampling, g.max_tokens = request.max_tokens, g.starts_thinking = chat.starts_thinking;
  std::mutex lock;
  std::condition_variable changed;
  std::vector<GenerationEvent> events;
  service.submit(std::move(g), [&](GenerationEvent e) {
    std::lock_guard guard(lock);
    events.push_back(std::move(e));
    changed.notify_one();
  });
  Reply r{"", chat.activation, 1};
  double sum = 0;
  int64_t tokens = 0;
  std::unique_lock guard(lock);
  for (size_t at = 0;;) {
    changed.wait(guard, [&] { return at < events.size(); });
    for (; at < events.size(); ++at) {
      const GenerationEvent& e = events[at];
      if (e.error) throw Error(e.error->kind, e.error->message);
      r.text += e.delta.text;
      for (const SampledToken& t : e.tokens) sum += std::exp(double(t.logprob)), ++tokens;
      if (!e.done) continue;
      r.mean_probability = tokens > 0 ? sum / double(tokens) : 1;
      return r;
    }
  }
}

nlohmann::ordered_json messages_of(const SourceConfig& c) {
  auto messages = nlohmann::ordered_json::array(), content = nlohmann::ordered_json::array();
  if (!c.system.empty()) messages.push_back({{"role", "system"}, {"content", c.system}});
  content.push_back({{"type", "image"}});
  content.push_back({{"type", "text"}, {"text", c.question}});
  messages.push_back({{"role", "user"}, {"content", content}});
  return messages;
}

Size size_of(const Image& i) { return {i.height, i.width}; }

Image small_copy(const Image& image) {
  const int step = std::max(1, std::max(image.width, image.height) / 480);
  Image out(image.width / step, image.height / step);
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) std::copy_n(image.row(y * step) + 3 * x * step, 3, out.row(y) + 3 * x);
  return out;
}

}  // namespace

int64_t SourceCounters::bad_frames() const {
  int64_t n = 0;
  for (int64_t b : bad) n += b;
  return n;
}

struct Watcher::Camera {
  explicit Camera(const SourceConfig& c) : config(c), judge(c.bad), gate(c.gate), controller(c.controller) { state.name = c.name; }
  SourceConfig config;
  std::unique_ptr<Source> source;
  FrameJudge judge;
  FrameGate gate;
  BudgetController controller;
  GroupSketch reference;                 // of whole frames, at the last look
  std::shared_ptr<VisualStream> stream;  // null until the first gated look
  double budget_cap = 1;                 // lowered by overload
  int calm = 0;
  std::map<std::string, double> reported;  // rule and place, to when it was last reported
  mutable std::mutex lock;               // of state, and of settings that are changed from outside
  SourceState state;
  std::thread thread;
  std::string error;
};

Watcher::Watcher(WatchConfig config, Service& service, Store& store, Actions& actions)
    : config_(std::move(config)), service_(service), store_(store), actions_(actions) {
  for (const SourceConfig& s : config_.sources) cameras_.push_back(std::make_unique<Camera>(s));
}

Watcher::~Watcher() = default;

void Watcher::run(const std::atomic<bool>& stop) {
  for (auto& c : cameras_)
    c->thread = std::thread([this, &stop, c = c.get()] {
      try {
        auto source = open_source(c->config);
        {
          std::lock_guard guard(c->lock);
          c->source = std::move(source);
        }
        watch(*c, stop);
      } catch (const std::exception& e) {
        c->error = e.what();
        spdlog::error("{}: {}", c->config.name, e.what());
      }
      std::lock_guard guard(c->lock);
      c->state.ended = true;
    });
  for (auto& c : cameras_) c->thread.join();
  const bool all_failed = std::all_of(cameras_.begin(), cameras_.end(), [](const auto& c) { return !c->error.empty() && c->state.counters.frames == 0; });
  if (all_failed) fail_input("{}", cameras_[0]->error);
}

void Watcher::watch(Camera& c, const std::atomic<bool>& stop) {
  auto skip = [&](const std::string& key) { return store_.done(c.config.name, key); };
  StopWatch clock;
  while (auto frame = c.source->next(stop, skip)) {
    SourceCounters& n = c.state.counters;
    const FrameFault fault = c.judge.judge(frame->image, frame->time_s);
    {
      std::lock_guard guard(c.lock);
      ++n.frames, n.dropped += frame->dropped, n.judge_ms += clock.lap_ms(), n.rate = c.source->rate();
      c.state.fault = fault == FrameFault::none ? "" : std::string(fault_name(fault));
      if (fault != FrameFault::none) ++n.bad[size_t(fault)];
    }
    if (frame->dropped > 0) spdlog::info("{}: {} frames dropped: the model is busy", c.config.name, frame->dropped);
    std::vector<Event> none;
    if (fault != FrameFault::none) {
      spdlog::warn("{}: the frame at {:.1f} s is {}; it is not looked at", c.config.name, frame->time_s, fault_name(fault));
      store_.commit(c.config.name, frame->key, none, "");
      continue;
    }
    try {
      look(c, *frame);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::cancelled) return;
      spdlog::error("{}: the frame at {:.1f} s: {}", c.config.name, frame->time_s, e.what());
      c.stream.reset(), c.reference = {};  // what the model remembers of this stream is no longer known
      store_.commit(c.config.name, frame->key, none, "");
      std::lock_guard guard(c.lock);
      ++n.failed;
    }
    clock.lap_ms();
  }
}

void Watcher::look(Camera& c, SourceFrame& frame) {
  StopWatch clock;
  bool gated;
  const double started_unix_s = unix_now_s() - (steady_now_s() - frame.due_s);
  ChatRequest request;
  double novelty = 1;
  {
    std::lock_guard guard(c.lock);
    gated = c.config.sparsity.mode != GateMode::off;
    if (gated) {
      GroupSketch now = GroupSketch::of_image(frame.image.rgb.get(), frame.image.width, frame.image.height);
      std::vector<float> change;
      if (now.groups() == c.reference.groups()) change = now.change(c.reference);
      const FrameVerdict verdict = c.gate.judge(change, frame.time_s);
      novelty = c.gate.novelty();
      if (verdict == FrameVerdict::reuse) {
        std::vector<Event> none;
        ++c.state.counters.reused;
        store_.commit(c.config.name, frame.key, none, "");
        return;
      }
      if (verdict == FrameVerdict::refresh || !c.stream)
        c.stream = std::make_shared<VisualStream>(VisualStream{std::make_shared<VisionMemory>(), {}});
      c.reference = std::move(now);
      request.sparsity = c.config.sparsity;
      if (c.config.sparsity.mode == GateMode::automatic) {
        request.sparsity.mode = GateMode::fixed;
        request.sparsity.share = std::max(std::min(c.controller.next(verdict == FrameVerdict::refresh ? 1.0 : novelty), c.budget_cap), c.controller.settings().floor);
      }
      c.state.counters.budget = request.sparsity.share;
    }
  }
  auto pixels = std::make_shared<Image>(frame.image.clone());
  request.images.push_back({"", c.config.name, pixels, c.stream});
  request.messages = messages_of(c.config);
  request.max_tokens = c.config.max_tokens;
  request.sampling.logprobs = 0;  // the chosen tokens' own
  if (c.config.max_pixels > 0) request.image_overrides.max_pixels = c.config.max_pixels;
  double pixels_ms = 0;
  const double judged_ms = clock.lap_ms();
  const Reply reply = ask(service_, request, &pixels_ms);
  const double ask_ms = clock.lap_ms();
  const double latency_ms = (steady_now_s() - frame.due_s) * 1e3;

  std::vector<Event> events = events_of(c.config, reply.text, size_of(frame.image), frame.roi_x, frame.roi_y);
  std::erase_if(events, [&](const Event& e) {
    double interval = 0;
    for (const RuleConfig& r : c.config.rules)
      if (r.name == e.rule) interval = r.min_interval_s;
    const std::string place = fmt::format("{} {} {}", e.rule, std::lround(e.x_px * 16 / frame.image.width), std::lround(e.y_px * 16 / frame.image.height));
    auto [it, fresh] = c.reported.emplace(place, frame.time_s);
    if (!fresh && frame.time_s - it->second < interval) return true;
    it->second = frame.time_s;
    return false;
  });
  for (Event& e : events)
    e.frame = frame.key, e.unix_s = unix_now_s(), e.frame_unix_s = started_unix_s, e.stream_s = frame.time_s, e.activation = reply.activation,
    e.latency_ms = std::round(latency_ms * 10) / 10;
  const std::string jpeg = config_.keep_frames && !events.empty() ? encode_jpeg(frame.image, 85) : "";
  if (store_.commit(c.config.name, frame.key, events, jpeg) && !events.empty()) actions_.wake();
  const std::string tile = encode_jpeg(small_copy(frame.image), 75);

  std::lock_guard guard(c.lock);
  SourceCounters& n = c.state.counters;
  ++n.looks, n.events += int64_t(events.size()), n.activation_sum += reply.activation;
  n.judge_ms += judged_ms, n.pixels_ms += pixels_ms, n.ask_ms += ask_ms - pixels_ms, n.store_ms += clock.lap_ms();
  n.latency_ms_sum += latency_ms, n.last_latency_ms = latency_ms, n.worst_latency_ms = std::max(n.worst_latency_ms, latency_ms);
  c.state.answer = reply.text, c.state.jpeg = tile;
  c.state.boxes.clear();
  for (const Mark& m : parse_marks(reply.text)) {
    const Mark p = square_to_pixels(m, size_of(frame.image));
    c.state.boxes.push_back({p.x1, p.y1, p.x2, p.y2});
  }
  if (gated) {
    c.controller.answered(reply.mean_probability);
    if (c.stream) c.gate.looked(c.stream->memory->feature_distance());
  }
  // 3. keeping up
  if (!c.config.live) return;
  const bool late = frame.dropped > 0 || latency_ms > config_.max_latency_s * 1e3;
  c.calm = late ? 0 : c.calm + 1;
  if (late && config_.overload == Overload::lower_rate && c.source->rate() > 0) {
    c.source->set_rate(std::max(c.source->rate() * 0.5, 0.02)), ++n.rate_lowered;
    spdlog::warn("{}: cannot keep up; {:.2f} looks a second from now on", c.config.name, c.source->rate());
  } else if (late && config_.overload == Overload::lower_budget && gated) {
    c.budget_cap = std::max(c.budget_cap * 0.8, c.controller.settings().floor), ++n.budget_lowered;
    spdlog::warn("{}: cannot keep up; at most {:.0f} % of the visual work from now on", c.config.name, c.budget_cap * 100);
  } else if (c.calm >= 10) {
    c.calm = 0, c.budget_cap = std::min(1.0, c.budget_cap * 1.25);
    if (c.config.rate > 0) c.source->set_rate(std::min(c.config.rate, c.source->rate() * 1.25));
  }
}

std::vector<SourceState> Watcher::states() const {
  std::vector<SourceState> out;
  for (const auto& c : cameras_) {
    std::lock_guard guard(c->lock);
    out.push_back(c->state);
  }
  return out;
}

void Watcher::apply(const WatchConfig& config) {
  for (auto& c : cameras_)
    for (const SourceConfig& s : config.sources) {
      if (s.name != c->config.name) continue;
      std::lock_guard guard(c->lock);
      c->config.sparsity = s.sparsity, c->config.gate = s.gate, c->config.controller = s.controller;
      c->gate.set(s.gate), c->controller.set(s.controller);
      if (s.rate != c->config.rate && s.rate > 0 && c->source) c->config.rate = s.rate, c->source->set_rate(s.rate);
    }
}

void Watcher::demand(const std::string& source, std::optional<double> demand) {
  for (auto& c : cameras_) {
    if (c->config.name != source) continue;
    std::lock_guard guard(c->lock);
    return c->controller.outside(demand);
  }
  fail_usage("no source is called '{}'", source);
}

}  // namespace vl8::watch
