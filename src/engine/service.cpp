#include "engine/service.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace vl8 {
namespace {

constexpr double kSeconds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560};
constexpr double kCounts[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192};

double seconds_since(SteadyClock::time_point t) { return std::chrono::duration<double>(SteadyClock::now() - t).count(); }

}  // namespace

ServiceStats::ServiceStats()
    : queue_s(kSeconds), first_token_s(kSeconds), inter_token_s(kSeconds), request_s(kSeconds), step_s(kSeconds), step_tokens(kCounts),
      step_sequences(kCounts) {}

struct Service::State {
  struct Job {
    uint64_t id;
    GenerationRequest request;
    OnEvent on_event;
    SteadyClock::time_point submitted;
    int64_t budget;
  };
  std::unique_ptr<Engine> engine;
  ServiceOptions options;
  mutable std::mutex mutex;
  std::condition_variable work, idle;
  std::deque<Job> queue;
  uint64_t next_id = 1, running_id = 0;
  bool running_cancelled = false, draining = false, stop = false;
  ServiceStats stats;
  std::thread thread;

  void loop() {
    for (;;) {
      std::unique_lock lock(mutex);
      work.wait(lock, [&] { return stop || !queue.empty(); });
      if (queue.empty()) return;
      Job job = std::move(queue.front());
      queue.pop_front();
      running_id = job.id, running_cancelled = stop;
      lock.unlock();
      GenerationEvent last;
      try {
        last = run(job);
      } catch (const Error& e) {
        last.finish = Finish::error, last.error = RequestError{e.kind(), e.what()};
      } catch (const std::exception& e) {
        last.finish = Finish::error, last.error = RequestError{ErrorKind::internal, e.what()};
      }
      last.done = true;
      lock.lock();
      running_id = 0;
      ++(last.finish == Finish::cancelled ? stats.cancelled : last.finish == Finish::error ? stats.failed : stats.finished);
      stats.answer_tokens += last.usage.answer_tokens, stats.prompt_tokens += last.usage.prompt_tokens;
      idle.notify_all();
      lock.unlock();
      job.on_event(std::move(last));
    }
  }

  bool cancelled() const {
    std::lock_guard lock(mutex);
    return running_cancelled || stop;
  }

  GenerationEvent run(Job& job) {
    GenerationEvent last;
    GenerationUsage& usage = last.usage;
    const GenerationRequest& r = job.request;
    usage.queue_ms = seconds_since(job.submitted) * 1e3;
    if (r.pooled || r.constraint) fail(ErrorKind::unsupported, "embeddings and structured output are not there yet");
    Sequence s(std::move(job.request.prompt));
    const EngineOptions& eo = engine->options();
    LoadedModel& m = engine->model();
    Runner runner(*m.ops, m.config, m.weights, (s.prompt_tokens() + job.budget) / eo.page_tokens + 1, eo.page_tokens);
    Sampler sampler(r.sampling, s.prompt.ids);
    AnswerText text(engine->tokenizer(), r.starts_thinking, r.stops);
    usage.prompt_tokens = s.prompt_tokens();
    for (const VisualRun& run : s.prompt.runs) usage.visual_tokens += run.tokens();
    const auto start = SteadyClock::now();
    auto over = [&] {
      if (cancelled()) last.finish = Finish::cancelled;
      else if (r.deadline && SteadyClock::now() > *r.deadline) last.finish = Finish::deadline;
      else return false;
      return true;
    };
    Runner::Logits logits;
    while (s.pending() > 0) {
      if (over()) return last;
      Runner::Work w{&s, std::min(s.pending(), eo.prefill_chunk)};
      logits = runner.step(std::span(&w, 1));
    }
    const auto first = SteadyClock::now();
    usage.vision_ms = runner.vision_ms();
    usage.prefill_ms = seconds_since(start) * 1e3 - usage.vision_ms;
    usage.first_token_ms = seconds_since(job.submitted) * 1e3;
    const auto& ends = engine->generation().end_tokens;
    last.finish = Finish::length;
    for (int64_t n = 0; n < job.budget; ++n) {
      if (over()) break;
      GenerationEvent e;
      e.tokens.push_back(sampler.sample(logits.row(0)));
      const int32_t token = e.tokens[0].token;
      ++usage.answer_tokens;
      const bool end = !r.ignore_end && std::find(ends.begin(), ends.end(), token) != ends.end();
      if (!end) {
        e.delta = text.push(token);
        usage.reasoning_tokens += text.thinking();
      }
      e.usage = usage;
      job.on_event(e);
      if (end || text.stopped()) {
        last.finish = Finish::stop;
        break;
      }
      if (n + 1 == job.budget) break;
      s.tokens.push_back(token);
      Runner::Work w{&s, 1};
      logits = runner.step(std::span(&w, 1));
    }
    last.delta = text.finish();
    usage.decode_ms = seconds_since(first) * 1e3;
    return last;
  }
};

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
  state->engine = std::move(engine);
  state->options = options;
  return std::unique_ptr<Service>(new Service(std::move(state)));
}

const Engine& Service::engine() const { return *state_->engine; }
const ServiceOptions& Service::options() const { return state_->options; }
int64_t Service::kv_tokens() const { return state_->engine->max_context(); }

uint64_t Service::submit(GenerationRequest request, OnEvent on_event) {
  request.sampling.validate();
  const int64_t prompt = int64_t(request.prompt.ids.size());
  if (prompt == 0) fail_usage("the prompt is empty");
  const int64_t budget = state_->engine->answer_budget(prompt, request.max_tokens);
  state_->engine->check_context(prompt, budget);
  std::lock_guard lock(state_->mutex);
  if (state_->draining) fail(ErrorKind::cancelled, "the engine is shutting down");
  if (int64_t(state_->queue.size()) >= state_->options.queue_requests) {
    ++state_->stats.refused;
    throw QueueFull(fmt::format("the queue is full: {} requests wait", state_->queue.size()), 1);
  }
  ++state_->stats.submitted;
  state_->queue.push_back({state_->next_id, std::move(request), std::move(on_event), SteadyClock::now(), budget});
  state_->work.notify_all();
  return state_->next_id++;
}

void Service::cancel(uint64_t id) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  if (s.running_id == id) s.running_cancelled = true;
  auto it = std::find_if(s.queue.begin(), s.queue.end(), [&](const State::Job& j) { return j.id == id; });
  if (it == s.queue.end()) return;
  State::Job job = std::move(*it);
  s.queue.erase(it);
  ++s.stats.cancelled;
  lock.unlock();
  GenerationEvent e;
  e.done = true, e.finish = Finish::cancelled;
  job.on_event(std::move(e));
}

ServiceStats Service::stats() const {
  std::lock_guard lock(state_->mutex);
  ServiceStats s = state_->stats;
  s.waiting = int64_t(state_->queue.size());
  s.running = state_->running_id != 0;
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
  bool done = s.idle.wait_for(lock, timeout, [&] { return s.queue.empty() && s.running_id == 0; });
  if (!done) s.stop = true;
  return done;
}

}  // namespace vl8
