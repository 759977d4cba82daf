#include "engine/engine.h"

#include "io/weight_store.h"

#include <algorithm>
#include "engine/gating.h"
#include <chrono>


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

Answer Engine::chat(const ChatRequest& request, const OnDelta& on_delta) {
  PreparedChat chat = prepare(request);
  Sequence sequence(std::move(chat.prompt));
  Answer answer = generate(sequence, request, chat.starts_thinking, on_delta);
  answer.image_sizes = std::move(chat.image_sizes);
  answer.resized_sizes = std::move(chat.resized_sizes);
  answer.timestamps = std::move(chat.timestamps);
  answer.times.pixels_ms = chat.pixels_ms;
  answer.activation = chat.activation;
  answer.times.first_token_ms += chat.pixels_ms;
  return answer;
}

Answer Engine::generate(Sequence& s, const ChatRequest& request, bool thinking, const OnDelta& on_delta) {
  const int64_t budget = answer_budget(s.prompt_tokens(), request.max_tokens);
  check_context(s.prompt_tokens(), budget);
  check_memory(s.prompt_tokens() + budget);
  Runner runner(*model_.ops, model_.config, model_.weights, (s.prompt_tokens() + budget + options_.page_tokens - 1) / options_.page_tokens,
                options_.page_tokens);
  Sampler sampler(request.sampling, s.prompt.ids);
  AnswerText text(*tokenizer_, thinking, request.stops);
  Answer answer;
  answer.prompt_tokens = s.prompt_tokens();
  for (const VisualRun& run : s.prompt.runs) answer.visual_tokens += run.tokens();
  answer.finish = Finish::length;

  auto start = Clock::now();
  Runner::Logits logits;
  while (s.pending() > 0) {
    Runner::Work work{&s, std::min(s.pending(), options_.prefill_chunk)};
    logits = runner.step(std::span(&work, 1));
    if (!on_delta({})) {
      answer.finish = Finish::cancelled;
      return answer;
    }
  }
  answer.times.vision_ms = runner.vision_ms();
  answer.times.first_token_ms = ms_since(start);
  answer.times.prefill_ms = answer.times.first_token_ms - answer.times.vision_ms;

  auto decode = Clock::now();
  const auto& ends = generation_.end_tokens;
  for (int64_t n = 0; n < budget; ++n) {
    answer.tokens.push_back(sampler.sample(logits.row(0)));
    const int32_t token = answer.tokens.back().token;
    if (!request.ignore_end && std::find(ends.begin(), ends.end(), token) != ends.end()) {
      answer.finish = Finish::stop;
      break;
    }
    AnswerDelta delta = text.push(token);
    if (!on_delta(delta)) {
      answer.finish = Finish::cancelled;
      break;
    }
    if (text.stopped()) {
      answer.finish = Finish::stop;
      break;
    }
    if (n + 1 == budget) break;
    s.tokens.push_back(token);
    Runner::Work work{&s, 1};
    logits = runner.step(std::span(&work, 1));
  }
  AnswerDelta rest = text.finish();
  if (answer.finish != Finish::cancelled) on_delta(rest);
  answer.times.decode_ms = ms_since(decode);
  answer.text = text.text();
  answer.reasoning = text.reasoning();
  return answer;
}

}  // namespace vl8
