#include "engine/service.h"

#include <algorithm>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "core/log.h"
#include "engine/batcher.h"

namespace vl8 {

// The engine thread owns `batcher`. What other threads touch is behind `mutex`: the inbox, the flags, and copies of
// counters that the engine thread refreshes after each step.
struct Service::State {
  struct Arrival {
    uint64_t id;
    GenerationRequest request;
    OnEvent on_event;
    SteadyClock::time_point submitted;
  };

  std::unique_ptr<Engine> engine;
  ServiceOptions options;
  std::unique_ptr<Batcher> batcher;
  int64_t capacity_tokens = 0;
  std::thread thread;

  mutable std::mutex mutex;
  std::condition_variable work, idle;
  std::vector<Arrival> arrivals;
  std::vector<uint64_t> cancels;
  std::vector<std::packaged_task<void()>> tasks;
  uint64_t next_id = 1;
  int64_t open = 0;           // submitted and not done
  int64_t waiting = 0;        // of these without a step so far
  int64_t arriving_bytes = 0, held_bytes = 0;  // pixels: in arrivals; in the batcher
  int64_t refused = 0;
  bool draining = false, cancel_all = false, stop = false;
  ServiceStats stats;

  void loop();
  void take_in();
};

namespace {

int64_t visual_bytes(const Prompt& p) {
  int64_t bytes = 0;
  for (const VisualInput& v : p.visuals) bytes += v.patches ? int64_t(v.patches->bytes()) : 0;
  return bytes;
}

}  // namespace

// Hands what came in since the last step to the batcher. Returns at once unless there is nothing to do at all.
void Service::State::take_in() {
  std::vector<Arrival> came;
  std::vector<uint64_t> gone;
  std::vector<std::packaged_task<void()>> todo;
  bool end_all;
  {
    std::unique_lock lock(mutex);
    if (batcher->idle()) work.wait(lock, [&] { return stop || cancel_all || !arrivals.empty() || !tasks.empty(); });
    came.swap(arrivals), gone.swap(cancels), todo.swap(tasks);
    held_bytes += arriving_bytes, arriving_bytes = 0;
    end_all = cancel_all || stop;
    cancel_all = false;
  }
  for (auto& task : todo) task();
  for (Arrival& a : came) batcher->add(a.id, std::move(a.request), std::move(a.on_event), a.submitted);
  for (uint64_t id : gone) batcher->cancel(id);
  if (end_all) batcher->cancel_all();
}

void Service::State::loop() {
  for (;;) {
    take_in();
    try {
      batcher->step();
    } catch (const std::exception& e) {  // a bug of ours: the requests in flight pay for it, not the process
      spdlog::critical("engine step failed: {}", e.what());
      batcher->fail_all(e);
    }
    std::lock_guard lock(mutex);
    stats = batcher->stats();
    open = stats.waiting + stats.running + int64_t(arrivals.size());
    waiting = stats.waiting + int64_t(arrivals.size());
    held_bytes = stats.queued_bytes;
    if (open == 0) idle.notify_all();
    if (stop && open == 0) return;
  }
}

Service::Service(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->thread = std::thread([s = state_.get()] { s->loop(); });
}

Service::~Service() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = state_->draining = true;
  }
  state_->work.notify_all();
  state_->thread.join();
}

std::unique_ptr<Service> Service::start(std::unique_ptr<Engine> engine, const ServiceOptions& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  state->engine = std::move(engine);
  state->batcher = state->engine->make_batcher(options, 0);
  state->capacity_tokens = state->batcher->capacity_tokens();
  state->stats = state->batcher->stats();
  return std::unique_ptr<Service>(new Service(std::move(state)));
}

const Engine& Service::engine() const { return *state_->engine; }
ServiceOptions Service::options() const {
  std::lock_guard lock(state_->mutex);
  return state_->options;
}
int64_t Service::kv_tokens() const { return state_->capacity_tokens; }

uint64_t Service::submit(GenerationRequest request, OnEvent on_event) {
  State& s = *state_;
  const int64_t bytes = visual_bytes(request.prompt);
  s.engine->check_request(request);
  const int64_t prompt = int64_t(request.prompt.ids.size()), total = prompt + (request.pooled ? 0 : request.max_tokens);
  if (total > s.capacity_tokens)
    fail_usage("the prompt has {} tokens and the answer may have {}: together {}, but the key/value cache has room for {} ({} MB). Lower "
               "max_tokens, use smaller pictures, or start with a larger cache",
               prompt, total - prompt, total, s.capacity_tokens, s.capacity_tokens * s.engine->kv_bytes_per_token() >> 20);
  std::lock_guard lock(s.mutex);
  if (s.draining) fail(ErrorKind::cancelled, "the engine is shutting down");
  auto refuse = [&](const std::string& why) {
    ++s.refused;
    const double each_s = s.stats.request_s.count() > 0 ? s.stats.request_s.sum() / double(s.stats.request_s.count()) : 1;
    throw QueueFull(why, std::clamp(each_s * double(s.waiting + 1) / double(s.options.max_running), 1.0, 300.0));
  };
  if (s.waiting >= s.options.queue_requests && s.open >= s.options.max_running)
    refuse(fmt::format("the queue is full: {} requests wait, the limit is {}", s.waiting, s.options.queue_requests));
  const int64_t held = s.arriving_bytes + s.held_bytes;
  if (bytes > 0 && held + bytes > s.options.queue_bytes)
    refuse(fmt::format("the queue is full: its pictures take {} MB, this request's {} MB, the limit is {} MB", held >> 20, bytes >> 20,
                       s.options.queue_bytes >> 20));
  ++s.open, ++s.waiting;
  s.arriving_bytes += bytes;
  s.arrivals.push_back({s.next_id, std::move(request), std::move(on_event), SteadyClock::now()});
  s.work.notify_all();
  return s.next_id++;
}

void Service::cancel(uint64_t id) {
  std::lock_guard lock(state_->mutex);
  if (state_->open > 0) state_->cancels.push_back(id);
}

void Service::run_on_engine(const std::function<void(LoadedModel&)>& f) {
  State& s = *state_;
  std::packaged_task<void()> task([&] { f(s.engine->model()); });
  std::future<void> done = task.get_future();
  {
    std::lock_guard lock(s.mutex);
    if (s.stop) fail(ErrorKind::cancelled, "the engine is shutting down");
    s.tasks.push_back(std::move(task));
  }
  s.work.notify_all();
  done.get();
}

ServiceStats Service::stats() const {
  std::lock_guard lock(state_->mutex);
  ServiceStats s = state_->stats;
  s.waiting = state_->waiting;
  s.submitted += int64_t(state_->arrivals.size());
  s.refused = state_->refused;
  s.queued_bytes = state_->arriving_bytes + state_->held_bytes;
  return s;
}

void Service::set_queue_limit(int64_t requests) {
  std::lock_guard lock(state_->mutex);
  state_->options.queue_requests = requests;
}

bool Service::drain(std::chrono::milliseconds timeout) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  s.draining = true;
  auto empty = [&] { return s.open == 0; };
  if (s.idle.wait_for(lock, timeout, empty)) return true;
  s.cancel_all = true;
  s.work.notify_all();
  s.idle.wait(lock, empty);  // within one step
  return false;
}

}  // namespace vl8
