#include "engine/engine.h"

#include <algorithm>
#include "engine/gating.h"
#include <chrono>

#include "engine/batcher.h"
#include "engine/invariant_model.h"
#include "engine/runner.h"
#include "grammar/compiled_grammar.h"
#include "io/weight_store.h"

namespace vl8 {
namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

PromptMedia preprocess(const ChatRequest& request, const ProcessorConfig& processor) {
  PromptMedia media;
  media.sparsity = request.sparsity;
  for (const EncodedImage& image : request.images) {
    media.images.push_back(image.pixels ? preprocess_image(*image.pixels, processor.image, request.image_overrides)
                                        : preprocess_encoded(std::as_bytes(std::span(image.bytes)), image.name, processor.image, request.image_overrides));
    media.streams.push_back(image.stream);
  }
  for (const auto& video : request.videos)
    media.videos.push_back(preprocess_frames(*video, processor.video, request.video_overrides));
  return media;
}

}  // namespace

std::string_view finish_name(Finish finish) {
  constexpr std::string_view kNames[] = {"stop", "length", "cancelled", "deadline", "error"};
  return kNames[size_t(finish)];
}

Engine::Engine() = default;
Engine::~Engine() = default;

std::unique_ptr<Engine> Engine::load(const std::filesystem::path& folder, const EngineOptions& options) {
  auto start = Clock::now();
  std::unique_ptr<Engine> e(new Engine);
  e->options_ = options;
  require_model_folder(folder);
  e->tokenizer_ = Tokenizer::load(folder);
  e->template_ = ChatTemplate::load(folder);
  e->processor_ = ProcessorConfig::load(folder);
  e->generation_ = GenerationConfig::load(folder);
  e->model_ = load_model(folder, options);
  if (e->generation_.end_tokens.empty())
    for (int64_t id : e->config().tokens.eos) e->generation_.end_tokens.push_back(int32_t(id));
  e->load_ms_ = ms_since(start);
  return e;
}

// The arithmetic of a request that cannot fit is part of its refusal.
void Engine::check_context(int64_t prompt_tokens, int64_t max_tokens) const {
  const int64_t total = prompt_tokens + max_tokens;
  if (total <= max_context()) return;
  const RopeConfig& rope = config().text.rope;
  const std::string how = rope.yarn_factor > 1 ? fmt::format(" (YaRN: {} x {} positions)", rope.yarn_factor, rope.yarn_original_positions) : "";
  fail_usage("the prompt has {} tokens and the answer may have {}: together {}, but this model's context is {}{}. Use smaller "
             "pictures (max_pixels), fewer of them, or max_tokens {}",
             prompt_tokens, max_tokens, total, max_context(), how, std::max<int64_t>(0, max_context() - prompt_tokens));
}

int64_t Engine::kv_bytes_per_token() const {
  return config().kv_bytes_per_token(options_.precision == Precision::bf16 ? DType::bf16 : DType::f32);
}

void Engine::check_memory(int64_t tokens) const {
  const int64_t bytes = tokens * kv_bytes_per_token(), available = int64_t(available_memory_bytes());
  if (available > 0 && bytes > available)
    fail(ErrorKind::resource,
         "{} tokens (prompt and answer) need {} MB for keys and values ({} bytes a token), but only {} MB of memory are available",
         tokens, bytes >> 20, kv_bytes_per_token(), available >> 20);
}

int64_t Engine::answer_budget(int64_t prompt_tokens, int64_t asked) const {
  if (asked > 0) return asked;
  return std::clamp<int64_t>(max_context() - prompt_tokens, 1, 4096);
}

std::vector<int32_t> Engine::tokenize(std::string_view text, bool special) const {
  return tokenizer_->encode(text, special ? Special::recognise : Special::literal);
}

std::string Engine::detokenize(std::span<const int32_t> ids, bool skip_special) const { return tokenizer_->decode(ids, skip_special); }

Prompt Engine::prompt_from_text(std::string_view text, bool special) const {
  return prompt_from_ids(tokenize(text, special), {}, {}, config());
}

PreparedChat Engine::prepare(const ChatRequest& request) const {
  auto start = Clock::now();
  PreparedChat chat;
  MarkedText rendered = template_->render(request.messages, request.tools, request.template_options);
  PromptMedia media = preprocess(request, processor_);
  for (const ImageInput& i : media.images) chat.image_sizes.push_back(i.original), chat.resized_sizes.push_back(i.resized);
  for (const VideoInput& v : media.videos) chat.timestamps.push_back(v.timestamps);
  chat.starts_thinking = rendered.view().ends_with("<think>\n");
  chat.prompt = build_prompt(rendered, std::move(media), *tokenizer_, config(), request.dialect);
  chat.activation = activation(chat.prompt, config());
  chat.pixels_ms = ms_since(start);
  return chat;
}

void Engine::check_request(GenerationRequest& r) const {
  r.sampling.validate();
  const int64_t prompt = int64_t(r.prompt.ids.size());
  if (prompt == 0) fail_usage("the prompt is empty");
  if (r.max_tokens < 0) fail_usage("max_tokens is {}, but must be at least 1 (0: as many as the context leaves)", r.max_tokens);
  if (r.thinking_budget < -1) fail_usage("the thinking budget is {}, but must be at least 0 (-1: none)", r.thinking_budget);
  for (const auto& [token, bias] : r.sampling.logit_bias)
    if (token < 0 || token >= config().text.vocab_size)
      fail_usage("logit_bias names token {}, but the vocabulary has {} tokens", token, config().text.vocab_size);
  if (!r.pooled) r.max_tokens = answer_budget(prompt, r.max_tokens);
  check_context(prompt, r.pooled ? 0 : r.max_tokens);
}

std::unique_ptr<Batcher> Engine::make_batcher(const ServiceOptions& o, int64_t kv_tokens) {
  const bool routed = o.batch_invariant && !model_.ops->batch_invariant();
  if (routed && !can_be_routed())
    fail(ErrorKind::unsupported, "batch-invariant answers of {} on {} in this precision are not there: its results depend on the batch",
         config().text.experts > 0 ? "mixtures of experts" : "dense models", model_.ops->name());
  const int64_t page = options_.page_tokens, per_token = kv_bytes_per_token();
  if (kv_tokens > 0) {
    kv_tokens = (kv_tokens + page - 1) / page * page;
  } else {
    kv_tokens = o.kv_bytes / per_token;
    if (o.kv_bytes == 0) kv_tokens = std::min(o.max_running * max_context(), int64_t(double(available_memory_bytes()) * 0.4) / per_token);
  }
  if (kv_tokens < page)
    fail(ErrorKind::resource, "the key/value cache would hold {} tokens ({} bytes each), less than one page of {}", kv_tokens, per_token, page);
  std::unique_ptr<StepModel> model = std::make_unique<Runner>(*model_.ops, model_.config, model_.weights, (kv_tokens + page - 1) / page, page);
  if (routed) model = std::make_unique<InvariantModel>(std::move(model));
  return std::make_unique<Batcher>(std::move(model), GenerationRules::of(*tokenizer_, generation_.end_tokens), o,
                                   routed ? InvariantModel::kLeastChunk : 0);
}

// What InvariantModel relies on holds for the CPU's kernels; how many tokens an expert gets depends on the batch.
bool Engine::can_be_routed() const { return options_.backend == "cpu" && config().text.experts == 0; }

Batcher& Engine::chat_batcher(int64_t tokens) {
  if (chat_batcher_ && chat_batcher_->capacity_tokens() >= tokens) return *chat_batcher_;
  const int64_t before = chat_batcher_ ? chat_batcher_->capacity_tokens() : 0;
  chat_batcher_.reset();
  check_memory(tokens);
  ServiceOptions o;
  o.max_running = 1, o.step_tokens = options_.prefill_chunk, o.step_target_ms = 0;
  o.batch_invariant = can_be_routed();
  chat_batcher_ = make_batcher(o, std::max(tokens, std::min(2 * before, max_context())));
  return *chat_batcher_;
}

Answer Engine::chat(const ChatRequest& request, const OnDelta& on_delta) {
  PreparedChat chat = prepare(request);
  GenerationRequest g;
  g.prompt = std::move(chat.prompt);
  g.sampling = request.sampling, g.stops = request.stops, g.max_tokens = request.max_tokens;
  g.ignore_end = request.ignore_end, g.starts_thinking = chat.starts_thinking;
  if (request.structure) g.constraint = request.structure->start(generation_.end_tokens);
  check_request(g);
  Batcher& batcher = chat_batcher(int64_t(g.prompt.ids.size()) + g.max_tokens);

  constexpr uint64_t kId = 1;
  std::vector<GenerationEvent> events;  // of one step; on_delta may throw, so it is called outside of the batcher
  batcher.add(kId, std::move(g), [&](GenerationEvent e) { events.push_back(std::move(e)); });
  Answer answer;
  GenerationEvent last;
  auto take = [&] {
    bool go_on = events.empty() ? on_delta({}) : true;
    for (GenerationEvent& e : std::exchange(events, {})) {
      if (e.finish != Finish::cancelled) go_on = on_delta(e.delta);
      answer.text += e.delta.text, answer.reasoning += e.delta.reasoning;
      answer.tokens.insert(answer.tokens.end(), e.tokens.begin(), e.tokens.end());
      if (e.done) last = std::move(e);
    }
    return go_on;
  };
  try {
    while (!last.done) {
      batcher.step();
      if (take() || last.done) continue;
      batcher.cancel(kId);
      take();
    }
  } catch (...) {
    batcher.cancel_all();
    throw;
  }
  if (last.error) throw Error(last.error->kind, last.error->message);
  answer.finish = last.finish;
  answer.prompt_tokens = last.usage.prompt_tokens, answer.visual_tokens = last.usage.visual_tokens;
  answer.cached_tokens = last.usage.cached_tokens;
  answer.image_sizes = std::move(chat.image_sizes);
  answer.resized_sizes = std::move(chat.resized_sizes);
  answer.timestamps = std::move(chat.timestamps);
  answer.activation = chat.activation;
  answer.times = {chat.pixels_ms, last.usage.vision_ms, last.usage.prefill_ms, last.usage.first_token_ms + chat.pixels_ms, last.usage.decode_ms};
  return answer;
}

}  // namespace vl8
