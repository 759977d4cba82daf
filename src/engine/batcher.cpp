#include "engine/batcher.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>

namespace vl8 {
namespace {

constexpr int64_t kEncodePatches = 4096;  // encoded together, or one picture that is larger
constexpr size_t kLookups = 64;           // waiting requests that are looked up in the prefix cache a step

constexpr double kSeconds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560};
constexpr double kCounts[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192};

using Time = SteadyClock::time_point;
double seconds(Time from, Time to) { return std::chrono::duration<double>(to - from).count(); }

int64_t pixel_bytes(const Prompt& p) {
  int64_t bytes = 0;
  for (const VisualInput& v : p.visuals)
    if (v.patches) bytes += int64_t(v.patches->bytes());
  return bytes;
}

std::vector<float> unit_length(std::span<const float> x) {
  double sum = 0;
  for (float v : x) sum += double(v) * double(v);
  const double scale = sum > 0 ? 1 / std::sqrt(sum) : 0;
  std::vector<float> y;
  for (float v : x) y.push_back(float(double(v) * scale));
  return y;
}

}  // namespace

ServiceStats::ServiceStats()
    : queue_s(kSeconds), first_token_s(kSeconds), inter_token_s(kSeconds), request_s(kSeconds), step_s(kSeconds), step_tokens(kCounts),
      step_sequences(kCounts) {}

void ServiceOptions::validate() const {
  auto range = [](const char* name, double value, double low, double high) {
    if (!(value >= low && value <= high)) fail_usage("{} is {}, but must lie in {}..{}", name, value, low, high);
  };
  range("max_running", double(max_running), 1, 4096);
  range("kv_bytes", double(kv_bytes), 0, 1e15);
  range("step_tokens", double(step_tokens), 1, 1 << 20);
  range("step_target_ms", step_target_ms, 0, 1e6);
  range("queue_requests", double(queue_requests), 0, 1e6);
  range("queue_bytes", double(queue_bytes), 0, 1e15);
  range("vision_cache_bytes", double(vision_cache_bytes), 0, 1e15);
  range("ageing_s", ageing_s, 0, 1e6);
}

struct Batcher::Request {
  Request(GenerationRequest r, const GenerationRules& rules)
      : priority(r.priority), pooled(r.pooled), deadline(r.deadline), bytes(pixel_bytes(r.prompt)), sequence(std::move(r.prompt)) {
    if (!pooled) generation.emplace(r, rules, sequence.prompt.ids);
    path.salt = std::move(r.cache_salt);
    client = std::move(r.client);
    usage.prompt_tokens = sequence.prompt_tokens();
    for (const VisualRun& run : sequence.prompt.runs) usage.visual_tokens += run.tokens();
  }

  uint64_t id = 0;
  std::string client;
  OnEvent on_event;
  int32_t priority;
  bool pooled, running = false, finished = false, looked_up = false;
  std::optional<Time> deadline, begun, first_token, last_token;
  Time submitted;
  int64_t bytes;  // of pixels
  Sequence sequence;
  std::optional<Generation> generation;
  PrefixPath path;
  GenerationUsage usage;
};

struct Batcher::EncodeJob {
  std::string salt;
  std::vector<VisualInput> inputs;
  std::unique_ptr<Encoding> run;
  int64_t patches = 0;
  double ms = 0;
};

Batcher::Batcher(std::unique_ptr<StepModel> model, GenerationRules rules, const ServiceOptions& options, int64_t least_chunk)
    : model_(std::move(model)), rules_(std::move(rules)), options_(options), least_chunk_(least_chunk), prefixes_(model_->pool()),
      features_(options.vision_cache_bytes), budget_(options.step_tokens, options.step_target_ms), start_(SteadyClock::now()) {
  options_.validate();
}

Batcher::~Batcher() = default;

double Batcher::now_s() const { return seconds(start_, SteadyClock::now()); }

void Batcher::add(uint64_t id, GenerationRequest request, OnEvent on_event, Time submitted) {
  auto r = std::make_unique<Request>(std::move(request), rules_);
  r->id = id;
  r->on_event = std::move(on_event);
  r->submitted = submitted;
  r->path.least_chunk = least_chunk_;
  PrefixCache::prepare(r->sequence, r->path, model_->pool().page_tokens());
  stats_.queued_bytes += r->bytes;
  ++stats_.submitted;
  requests_.push_back(std::move(r));
}

void Batcher::cancel(uint64_t id) {
  auto it = std::find_if(requests_.begin(), requests_.end(), [&](const auto& r) { return r->id == id && !r->finished; });
  if (it == requests_.end()) return;
  GenerationEvent e = (*it)->generation ? (*it)->generation->stop(Finish::cancelled) : GenerationEvent{};
  e.done = true, e.finish = Finish::cancelled;
  emit(**it, std::move(e));
  remove_finished();
}

void Batcher::cancel_all() {
  while (!requests_.empty()) cancel(requests_.front()->id);
}

void Batcher::fail_all(const std::exception& e) {
  for (auto& r : requests_) fail_request(*r, e);
  remove_finished();
}

void Batcher::end_overdue() {
  const Time now = SteadyClock::now();
  for (auto& r : requests_) {
    if (!r->deadline || now <= *r->deadline) continue;
    GenerationEvent e = r->generation ? r->generation->stop(Finish::deadline) : GenerationEvent{};
    e.done = true, e.finish = Finish::deadline;
    emit(*r, std::move(e));
  }
  remove_finished();
}

// True where a request that comes first computes the page after the first `matched` ones, and it is the same page.
bool Batcher::same_prefix_is_coming(const Request& waiting, size_t matched) const {
  const auto& want = waiting.path.prompt_hashes;
  const int64_t end = int64_t(matched + 1) * model_->pool().page_tokens();
  if (matched >= want.size() || end >= int64_t(waiting.sequence.tokens.size())) return false;
  for (const auto& r : requests_) {
    if (r.get() == &waiting) {
      if (!waiting.running) return false;  // those behind it in the queue wait for this one
      continue;
    }
    const auto& has = r->path.prompt_hashes;
    const bool first = r->running || r->priority <= waiting.priority;
    if (first && has.size() > matched && has[matched] == want[matched] && r->sequence.cached < end) return true;
  }
  return false;
}

std::vector<ScheduleItem> Batcher::describe() {
  std::vector<ScheduleItem> items;
  size_t lookups = 0;
  const KvPool& pool = model_->pool();
  std::unordered_map<std::string_view, int64_t> turns;
  const int64_t running = std::count_if(requests_.begin(), requests_.end(), [](const auto& r) { return r->running; });
  for (const auto& r : requests_) {
    const Sequence& s = r->sequence;
    ScheduleItem item{.id = r->id, .priority = r->priority, .arrival_s = seconds(start_, r->submitted), .running = r->running,
                      .prompt_tokens = s.prompt_tokens(), .tokens = int64_t(s.tokens.size()), .cached = s.cached, .pages = int64_t(s.pages.size())};
    item.turn = turns[r->client]++;
    if (r->deadline) item.deadline_s = seconds(start_, *r->deadline);
    for (int32_t p : s.pages) item.own_pages += pool.users(p) == 1;
    r->looked_up = !r->running && running < options_.max_running && options_.prefix_cache && lookups++ < kLookups;
    if (r->looked_up) {
      const PrefixCache::Match m = prefixes_.find(s, r->path);
      item.pages = int64_t(m.pages.size()), item.idle_pages = m.idle;
      item.cached = item.pages * pool.page_tokens();
      item.blocked = same_prefix_is_coming(*r, m.pages.size());
    }
    items.push_back(item);
  }
  return items;
}

void Batcher::preempt(Request& r) {
  model_->pool().release(r.sequence.pages);
  r.sequence.cached = 0;
  r.path.serials.clear();
  r.running = false;
  ++r.usage.preemptions, ++stats_.preemptions;
}

void Batcher::admit(Request& r) {
  r.running = true;
  const int64_t cached = r.looked_up ? prefixes_.take(r.sequence, r.path) : 0;
  if (r.begun) return;
  r.begun = SteadyClock::now();
  r.usage.queue_ms = seconds(r.submitted, *r.begun) * 1e3;
  r.usage.cached_tokens = std::min(cached, r.usage.prompt_tokens);
  stats_.queue_s.add(r.usage.queue_ms / 1e3);
  stats_.prompt_tokens += r.usage.prompt_tokens, stats_.visual_tokens += r.usage.visual_tokens;
  stats_.cached_tokens += r.usage.cached_tokens;
}

// Calls f(request, visual) for everyone who waits for a picture of the job, which it names by its place in it.
template <typename F>
void Batcher::each_asking(F f) {
  for (auto& r : requests_) {
    if (r->finished) continue;
    const Prompt& p = r->sequence.prompt;
    each_visual_in(p, r->sequence.cached, int64_t(p.ids.size()), [&](size_t v) {
      if (r->sequence.features[v] || r->path.salt != encoding_->salt) return;
      for (size_t i = 0; i < encoding_->inputs.size(); ++i)
        if (encoding_->inputs[i].hash == p.visuals[v].hash) return f(*r, v, i);
    });
  }
}

// Takes pictures that this step's work lacks: of one salt, as many as kEncodePatches allow; in batch-invariant mode one.
void Batcher::begin_encoding(const std::vector<StepWork>& work, const std::vector<Request*>& who) {
  auto job = std::make_unique<EncodeJob>();
  for (size_t i = 0; i < who.size(); ++i) {
    const Sequence& s = *work[i].sequence;
    each_visual_in(s.prompt, s.cached, s.cached + work[i].tokens, [&](size_t v) {
      const VisualInput& input = s.prompt.visuals[v];
      const bool full = !job->inputs.empty() && (least_chunk_ > 0 || job->salt != who[i]->path.salt || job->patches + input.grid.patches() > kEncodePatches);
      if (s.features[v] || full) return;
      for (const VisualInput& have : job->inputs)
        if (have.hash == input.hash) return;
      job->salt = who[i]->path.salt;
      job->patches += input.grid.patches();
      job->inputs.push_back(input);
    });
  }
  if (job->inputs.empty()) return;
  std::vector<const VisualInput*> inputs;
  for (const VisualInput& v : job->inputs) inputs.push_back(&v);
  encoding_ = std::move(job);
  encoding_->run = model_->start(inputs);
}

// A few blocks while answers run, so that they are not held up longer than by a piece of a prompt; else all.
void Batcher::advance_encoding(bool answers_run) {
  EncodeJob& job = *encoding_;
  int64_t blocks = job.run->blocks();
  if (answers_run && options_.step_target_ms > 0)
    blocks = patch_block_ms_ > 0 ? std::clamp(int64_t(options_.step_target_ms / 2 / (patch_block_ms_ * double(job.patches))), int64_t(1), blocks) : 1;
  const Time start = SteadyClock::now();
  const bool done = job.run->advance(blocks);
  const double ms = seconds(start, SteadyClock::now()) * 1e3;
  job.ms += ms;
  if (!done) return;
  patch_block_ms_ = job.ms / double(job.patches * job.run->blocks());
  const std::vector<FeaturesPtr> features = job.run->take();
  int64_t asking = 0;
  each_asking([&](Request&, size_t, size_t) { ++asking; });
  each_asking([&](Request& r, size_t v, size_t i) {
    r.sequence.features[v] = features[i];
    if (auto& slot = r.sequence.prompt.visuals[v].slot) slot->features = features[i];
    r.usage.vision_ms += job.ms / double(asking);
    ++r.usage.visuals_encoded;
  });
  for (size_t i = 0; i < features.size(); ++i) features_.add(job.inputs[i].hash, job.salt, features[i]);
  encoding_.reset();
}

// Gets the features that the step needs. Work whose features are not there yet is taken out of the step and comes again.
void Batcher::encode(std::vector<StepWork>& work, std::vector<Request*>& who) {
  bool answers_run = false;
  for (size_t i = 0; i < who.size(); ++i) {
    Sequence& s = *work[i].sequence;
    answers_run = answers_run || s.cached >= s.prompt_tokens();
    each_visual_in(s.prompt, s.cached, s.cached + work[i].tokens, [&](size_t v) {
      VisualInput& input = s.prompt.visuals[v];
      if (s.features[v]) return;
      if (input.slot) s.features[v] = input.slot->features;
      if (!s.features[v]) s.features[v] = features_.find(input.hash, who[i]->path.salt);
      if (!s.features[v]) return;
      if (input.slot) input.slot->features = s.features[v];
      ++who[i]->usage.visuals_cached;
    });
  }
  try {
    bool wanted = false;
    if (encoding_) each_asking([&](Request&, size_t, size_t) { wanted = true; });
    if (!wanted) encoding_.reset();
    if (!encoding_) begin_encoding(work, who);
    if (encoding_) advance_encoding(answers_run);
  } catch (const std::exception& e) {
    each_asking([&](Request& r, size_t, size_t) { fail_request(r, e); });
    encoding_.reset();
  }
  size_t kept = 0;
  for (size_t i = 0; i < who.size(); ++i) {
    bool ready = !who[i]->finished;
    const Sequence& s = *work[i].sequence;
    each_visual_in(s.prompt, s.cached, s.cached + work[i].tokens, [&](size_t v) { ready = ready && s.features[v]; });
    if (ready) work[kept] = work[i], who[kept++] = who[i];
  }
  work.resize(kept), who.resize(kept);
}

void Batcher::emit(Request& r, GenerationEvent e) {
  const Time now = SteadyClock::now();
  if (!e.tokens.empty()) {
    if (!r.first_token) {
      r.first_token = now;
      r.usage.first_token_ms = seconds(r.submitted, now) * 1e3;
      r.usage.prefill_ms = seconds(*r.begun, now) * 1e3 - r.usage.vision_ms;
      stats_.first_token_s.add(seconds(r.submitted, now));
    } else {
      stats_.inter_token_s.add(seconds(*r.last_token, now));
    }
    r.last_token = now;
    stats_.answer_tokens += int64_t(e.tokens.size());
  }
  if (r.generation) r.usage.answer_tokens = r.generation->answer_tokens(), r.usage.reasoning_tokens = r.generation->reasoning_tokens();
  if (r.first_token) r.usage.decode_ms = seconds(*r.first_token, now) * 1e3;
  e.usage = r.usage;
  if (e.done) {
    r.finished = true;
    model_->pool().release(r.sequence.pages);
    stats_.queued_bytes -= r.bytes;
    stats_.request_s.add(seconds(r.submitted, now));
    ++(e.finish == Finish::cancelled ? stats_.cancelled : e.finish == Finish::error ? stats_.failed
       : e.finish == Finish::deadline ? stats_.expired : stats_.finished);
  }
  r.on_event(std::move(e));
}

void Batcher::fail_request(Request& r, const std::exception& e) {
  if (r.finished) return;
  const Error* known = dynamic_cast<const Error*>(&e);
  GenerationEvent event;
  event.done = true, event.finish = Finish::error;
  event.error = RequestError{known ? known->kind() : ErrorKind::internal, e.what()};
  emit(r, std::move(event));
}

void Batcher::remove_finished() {
  std::erase_if(requests_, [](const auto& r) { return r->finished; });
}

// What the step gave to one request.
void Batcher::deliver(Request& r, const StepOutput& out, int64_t& row, int64_t& hidden_row) {
  Sequence& s = r.sequence;
  if (options_.prefix_cache) prefixes_.add(s, r.path);
  drop_used_features(s);
  if (s.pending() > 0) return;
  if (r.pooled) {
    GenerationEvent e;
    e.done = true;
    e.embedding = unit_length(out.hidden_row(hidden_row++));
    return emit(r, std::move(e));
  }
  const std::span<const float> logits = out.row(row++);
  try {
    GenerationEvent e = r.generation->next(logits);
    if (!e.done) s.tokens.push_back(e.tokens.back().token);
    emit(r, std::move(e));
  } catch (const std::exception& e) {
    fail_request(r, e);
  }
}

bool Batcher::step() {
  end_overdue();
  if (requests_.empty()) return false;
  const std::vector<ScheduleItem> items = describe();
  int64_t answers = 0, prompt_tokens = 0;
  for (const ScheduleItem& i : items) answers += i.running && i.tokens - i.cached == 1;
  const StepLimits limits{options_.step_tokens, budget_.prompt_tokens(answers), options_.max_running, model_->pool().page_tokens(),
                          model_->pool().free_pages(), least_chunk_, options_.ageing_s};
  const StepPlan plan = plan_step(items, limits, now_s());
  check(!plan.work.empty() || !plan.preempt.empty(), "{} requests, but nothing to do", requests_.size());
  for (size_t i : plan.preempt) preempt(*requests_[i]);
  for (size_t i : plan.admit) admit(*requests_[i]);
  std::vector<StepWork> work;
  std::vector<Request*> who;
  answers = 0;
  for (const StepPlan::Slice& slice : plan.work) {
    Request& r = *requests_[slice.item];
    work.push_back({&r.sequence, slice.tokens, false, r.pooled});
    who.push_back(&r);
  }
  encode(work, who);
  for (const StepWork& w : work) (w.sequence->cached >= w.sequence->prompt_tokens() ? answers : prompt_tokens) += w.tokens;
  if (!work.empty()) {
    const Time start = SteadyClock::now();
    try {
      const StepOutput out = model_->step(work);
      const double step_s = seconds(start, SteadyClock::now());
      budget_.record(answers, prompt_tokens, step_s * 1e3);
      ++stats_.steps;
      stats_.step_s.add(step_s), stats_.step_tokens.add(double(answers + prompt_tokens)), stats_.step_sequences.add(double(work.size()));
      int64_t row = 0, hidden_row = 0;
      for (Request* r : who) deliver(*r, out, row, hidden_row);
    } catch (const std::exception& e) {
      for (Request* r : who) fail_request(*r, e);
    }
  }
  remove_finished();
  return !requests_.empty();
}

const ServiceStats& Batcher::stats() {
  const KvPool& pool = model_->pool();
  stats_.running = std::count_if(requests_.begin(), requests_.end(), [](const auto& r) { return r->running; });
  stats_.waiting = int64_t(requests_.size()) - stats_.running;
  stats_.page_tokens = pool.page_tokens(), stats_.kv_pages = pool.pages();
  stats_.kv_pages_used = pool.pages() - pool.free_pages(), stats_.kv_pages_cached = pool.idle_pages();
  stats_.vision_hits = features_.hits(), stats_.vision_misses = features_.misses(), stats_.vision_cache_bytes = features_.bytes();
  return stats_;
}

}  // namespace vl8
