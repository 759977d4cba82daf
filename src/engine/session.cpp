#include "engine/session.h"

#include <algorithm>
#include <condition_variable>

#include "media/frames.h"

namespace vl8 {
namespace {

constexpr int64_t kStampTokens = 10;  // "<12345.6 seconds>" and the two marks around a frame, about

// Ids with one placeholder per frame to a prompt in which each frame has as many as it needs, with their positions.
Prompt place_frames(const std::vector<int32_t>& ids, const std::deque<SessionFrame>& frames, const ModelConfig& c) {
  Prompt p;
  std::vector<std::array<int32_t, 3>> positions;
  size_t next_frame = 0;
  for (int32_t id : ids) {
    if (id != int32_t(c.tokens.video)) {
      p.ids.push_back(id);
      positions.push_back({p.positions.next, p.positions.next, p.positions.next});
      ++p.positions.next;
      continue;
    }
    check(next_frame < frames.size(), "more placeholders than {} frames", frames.size());
    const SessionFrame& f = frames[next_frame];
    const int64_t h = f.visual.grid.h / c.vision.merge_size, w = f.visual.grid.w / c.vision.merge_size;
    const int64_t count = f.kept.empty() ? h * w : int64_t(f.kept.size());
    p.runs.push_back(f.kept.empty() ? VisualRun{int64_t(p.ids.size()), h, w} : VisualRun{int64_t(p.ids.size()), 1, count});
    p.sources.push_back({next_frame, 0});
    p.visuals.push_back(f.visual);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t token = f.kept.empty() ? i : f.kept[size_t(i)];
      p.ids.push_back(id);
      positions.push_back({p.positions.next, p.positions.next + int32_t(token / w), p.positions.next + int32_t(token % w)});
    }
    p.positions.next += int32_t(std::max(h, w));
    ++next_frame;
  }
  check(next_frame == frames.size(), "{} placeholders for {} frames", next_frame, frames.size());
  for (size_t axis = 0; axis < 3; ++axis)
    for (const auto& at : positions) p.positions.axes.push_back(at[axis]);
  return p;
}

// The prompt of a conversation about `frames`: rendered by the folder's own template, the clip's placeholder written out.
Prompt session_prompt(const Engine& engine, const SessionOptions& o, const std::deque<SessionFrame>& frames, const std::string& question) {
  auto messages = nlohmann::ordered_json::array();
  if (!o.system.empty()) messages.push_back({{"role", "system"}, {"content", o.system}});
  auto content = nlohmann::ordered_json::array();
  if (!frames.empty()) content.push_back({{"type", "video"}});
  content.push_back({{"type", "text"}, {"text", question}});
  messages.push_back({{"role", "user"}, {"content", content}});
  const MarkedText rendered = engine.chat_template().render(messages, nullptr, o.template_options);
  std::vector<std::string> stamps;
  for (const SessionFrame& f : frames) stamps.push_back(stamp_text(f.seconds));
  const MarkedText text = frames.empty() ? rendered : expand_stamps(rendered, std::span(&stamps, 1), VideoDialect::replace_triple);
  return place_frames(engine.tokenizer().encode_prompt(text), frames, engine.config());
}

// Cut behind the last frame: what every question begins with.
void cut_after_frames(Prompt& p) {
  const size_t end = size_t(p.runs.back().begin + p.runs.back().tokens()) + 1, all = p.ids.size();  // 1: <|vision_end|>
  for (size_t axis = 3; axis-- > 0;)
    p.positions.axes.erase(p.positions.axes.begin() + long(axis * all + end), p.positions.axes.begin() + long((axis + 1) * all));
  p.ids.resize(end);
  p.positions.next = p.positions.axes[end - 1] + 1;
}

}  // namespace

void SessionOptions::validate(const Engine&) const {
  auto range = [](const char* name, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high) fail_usage("{} is {}, but must lie in {}..{}", name, value, low, high);
  };
  range("window_frames", window_frames, 1, 1 << 20);
  range("slack_frames", slack_frames, 1, 1 << 20);
  range("key_frames", key_frames, 0, 1 << 20);
}

SessionFrame session_frame(const Engine& engine, const Image& image, double seconds, const ImageOverrides& overrides) {
  ImageInput input = preprocess_image(image, engine.processor().image, overrides);
  SessionFrame f;
  f.seconds = seconds;
  f.visual = {std::make_shared<PatchBuffer>(std::move(input.patches)), input.grid, input.hash, nullptr};
  return f;
}

struct Session::State {
  State(Service& s, SessionOptions o) : service(s), options(std::move(o)) {}

  Service& service;
  SessionOptions options;
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::deque<SessionFrame> frames;
  SessionStats stats;
  double newest_s = 0;
  int64_t computed = 0, computing = 0;  // of `appended`
  bool busy = false, closed = false;

  void drop_old();
  void compute(const std::shared_ptr<State>& self);
  void computed_event(const GenerationEvent& e);
  void check_frame(const SessionFrame& f) const;
};

// Old frames leave once slack_frames too many are there; the newest key frames among them stay.
void Session::State::drop_old() {
  const int64_t window = options.window_frames, old = int64_t(frames.size()) - window;
  int64_t keys = 0;
  for (int64_t i = 0; i < old; ++i) keys += frames[size_t(i)].key;
  const int64_t stay = std::min(keys, options.key_frames);
  if (old - stay < options.slack_frames) return;
  std::deque<SessionFrame> left;
  int64_t skip = keys - stay;
  for (int64_t i = 0; i < int64_t(frames.size()); ++i) {
    SessionFrame& f = frames[size_t(i)];
    if (i >= old || (f.key && skip-- <= 0)) left.push_back(std::move(f));
  }
  stats.dropped += int64_t(frames.size() - left.size());
  ++stats.rebuilds;
  frames.swap(left);
}

void Session::State::check_frame(const SessionFrame& f) const {
  const VisionConfig& v = service.engine().config().vision;
  const Grid& g = f.visual.grid;
  if (g.t != 1 || g.h < v.merge_size || g.w < v.merge_size || g.h % v.merge_size || g.w % v.merge_size)
    fail_usage("a frame of {}x{}x{} patches: a session takes one frame group with sides that are multiples of {}", g.t, g.h, g.w, v.merge_size);
  if (!f.visual.patches && !(f.visual.slot && f.visual.slot->features)) fail_usage("a frame has neither pixels nor features");
  if (f.visual.patches && (f.visual.patches->dtype() != DType::f32 || f.visual.patches->rows() != g.patches()))
    fail_usage("a frame of {}x{} patches comes with {} rows of pixels", g.h, g.w, f.visual.patches->rows());
  if (f.visual.hash == ContentHash{}) fail_usage("a frame has no content hash");
  for (size_t i = 0; i < f.kept.size(); ++i)
    if (f.kept[i] < 0 || f.kept[i] >= g.tokens(v.merge_size) || (i > 0 && f.kept[i] <= f.kept[i - 1]))
      fail_usage("token {} is kept, but a frame has {} and they must ascend", f.kept[i], g.tokens(v.merge_size));
  if (!f.kept.empty() && !(f.visual.slot && f.visual.slot->features)) fail_usage("a frame with chosen tokens comes without their features");
  const int64_t frame_tokens = (f.kept.empty() ? g.tokens(v.merge_size) : int64_t(f.kept.size())) + kStampTokens;
  const int64_t most = options.window_frames + options.slack_frames + options.key_frames;
  const int64_t limit = std::min(service.engine().max_context(), service.kv_tokens());
  if (most * frame_tokens > limit)
    fail_usage("a window of {} frames, {} more before the oldest leave and {} key frames, at {} tokens each, are {} tokens, but there is room for {}. "
               "Use a smaller window, or smaller frames (max_pixels)",
               options.window_frames, options.slack_frames, options.key_frames, frame_tokens, most * frame_tokens, limit);
  if (!(f.seconds >= newest_s && f.seconds < 1e9)) fail_usage("a frame at {} s comes after one at {} s", f.seconds, newest_s);
}

Session::Session(Service& service, SessionOptions options) {
  options.validate(service.engine());
  state_ = std::make_shared<State>(service, std::move(options));
}

Session::~Session() {
  std::unique_lock lock(state_->mutex);
  state_->closed = true;
  state_->changed.wait(lock, [&] { return !state_->busy; });
}

// Hands the frames in view to the engine, unless it is at it already: then they go with the next request.
void Session::State::compute(const std::shared_ptr<State>& self) {
  if (busy || closed || frames.empty() || computed == stats.appended) return;
  GenerationRequest r;
  r.prompt = session_prompt(service.engine(), options, frames, "");
  cut_after_frames(r.prompt);
  r.pooled = true;  // no answer is wanted, only keys and values
  r.priority = options.priority;
  r.cache_salt = options.salt;
  busy = true;
  computing = stats.appended;
  try {
    service.submit(std::move(r), [self](GenerationEvent e) {
      if (e.done) self->computed_event(e);
    });
  } catch (const QueueFull&) {
    busy = false;  // the next frame tries again
  } catch (...) {
    busy = false;
    throw;
  }
}

void Session::State::computed_event(const GenerationEvent& e) {
  std::lock_guard lock(mutex);
  busy = false;
  if (e.finish == Finish::stop) {
    computed = computing;
    stats.tokens = e.usage.prompt_tokens;
    stats.computed_tokens += e.usage.prompt_tokens - e.usage.cached_tokens;
    for (SessionFrame& f : frames)
      if (f.visual.slot && f.visual.slot->features) f.visual.patches.reset();
  } else if (e.error) {
    stats.failed = true, stats.error = e.error->message;
  }
  changed.notify_all();
}

void Session::append(SessionFrame frame) {
  State& s = *state_;
  std::lock_guard lock(s.mutex);
  s.check_frame(frame);
  if (!frame.visual.slot) frame.visual.slot = std::make_shared<FeatureSlot>();
  s.newest_s = frame.seconds;
  s.frames.push_back(std::move(frame));
  ++s.stats.appended;
  s.drop_old();
  s.compute(state_);
}

uint64_t Session::ask(const std::string& question, GenerationRequest request, Service::OnEvent on_event) {
  State& s = *state_;
  std::deque<SessionFrame> frames;
  SessionOptions options;
  {
    std::lock_guard lock(s.mutex);
    frames = s.frames, options = s.options;
  }
  request.prompt = session_prompt(s.service.engine(), options, frames, question);
  request.cache_salt = options.salt;
  return s.service.submit(std::move(request), std::move(on_event));
}

void Session::flush() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  const int64_t until = s.stats.appended;
  while (s.computed < until && !s.stats.failed) {
    s.compute(state_);
    if (s.busy) s.changed.wait(lock, [&] { return !s.busy; });
    else s.changed.wait_for(lock, std::chrono::milliseconds(20));  // the queue was full
  }
}

void Session::clear() {
  std::lock_guard lock(state_->mutex);
  state_->stats.dropped += int64_t(state_->frames.size());
  state_->frames.clear();
  state_->newest_s = 0;
  state_->computed = state_->stats.appended;
}

void Session::set_window(int64_t window_frames, int64_t slack_frames, int64_t key_frames) {
  std::lock_guard lock(state_->mutex);
  SessionOptions o = state_->options;
  o.window_frames = window_frames, o.slack_frames = slack_frames, o.key_frames = key_frames;
  o.validate(state_->service.engine());
  state_->options = std::move(o);
}

SessionStats Session::stats() const {
  std::lock_guard lock(state_->mutex);
  SessionStats s = state_->stats;
  s.in_view = int64_t(state_->frames.size());
  s.pending = s.appended - state_->computed;
  if (!state_->frames.empty()) s.oldest_s = state_->frames.front().seconds, s.newest_s = state_->frames.back().seconds;
  return s;
}

std::vector<double> Session::times() const {
  std::lock_guard lock(state_->mutex);
  std::vector<double> out;
  for (const SessionFrame& f : state_->frames) out.push_back(f.seconds);
  return out;
}

}  // namespace vl8
