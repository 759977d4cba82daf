// A loaded model and what is needed to ask it: the library's front door.
//
//   auto engine = Engine::load("Qwen3-VL-8B-Instruct-FP8", {});
//   ChatRequest request;  request.messages = ...;  request.images.push_back(read_file("photo.jpg"));
//   Answer answer = engine->chat(request, [](const AnswerDelta& d) { std::cout << d.text; return true; });
//
// prepare(), tokenize(), detokenize() and the other const members may be called from any number of threads at once; chat()
// by one thread at a time, and not while a Service owns the engine. Errors are Error (core/error.h).
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/answer.h"
#include "engine/generation_config.h"
#include "engine/loaded_model.h"
#include "engine/prompt.h"
#include "engine/request.h"
#include "engine/runner.h"
#include "engine/sampler.h"

namespace vl8 {

class CompiledGrammar;

// A picture by its encoded bytes, and what messages call it.
struct EncodedImage {
  std::string bytes, name;
  std::shared_ptr<const Image> pixels = {};         // instead of bytes: decoded already
  std::shared_ptr<VisualStream> stream = {};        // of a camera: only what changed is computed again (engine/gating.h)
};

struct ChatRequest {
  nlohmann::ordered_json messages;  // OpenAI or Hugging Face style; placeholders in the order of images and clips
  nlohmann::ordered_json tools;
  ChatOptions template_options;
  std::vector<EncodedImage> images;
  std::vector<std::shared_ptr<FrameSource>> videos;
  ImageOverrides image_overrides;
  VideoOverrides video_overrides;
  VideoDialect dialect = VideoDialect::replace_triple;
  Sparsity sparsity;  // how much visual work is done; off: all of it
  SamplingParams sampling;
  std::vector<std::string> stops;
  int64_t max_tokens = 0;  // 0: as much as the context leaves, at most 4096
  bool ignore_end = false;
  std::shared_ptr<CompiledGrammar> structure;  // of the answer, after any reasoning; made for this model's tokenizer. Null: free text
};

// A conversation ready for the engine: what a worker thread makes of a ChatRequest.
struct PreparedChat {
  Prompt prompt;
  bool starts_thinking = false;                  // the template left `<think>` open
  std::vector<Size> image_sizes, resized_sizes;  // of request.images
  std::vector<std::vector<double>> timestamps;   // of request.videos, seconds of each frame group
  double activation = 0;                         // share of visual work that will be done (engine/gating.h)
  double pixels_ms = 0;
};

struct AnswerTimes {
  double pixels_ms = 0, vision_ms = 0, prefill_ms = 0, first_token_ms = 0, decode_ms = 0;  // prefill excludes vision
};

struct Answer {
  std::string text, reasoning;
  std::vector<SampledToken> tokens;  // the end token included
  Finish finish = Finish::stop;
  int64_t prompt_tokens = 0, visual_tokens = 0, cached_tokens = 0;  // cached: of the prompt, from the call before
  std::vector<Size> image_sizes, resized_sizes;  // of request.images
  std::vector<std::vector<double>> timestamps;   // of request.videos
  double activation = 0;                         // share of the visual work that was done; 1: dense
  AnswerTimes times;
};

class Batcher;
struct ServiceOptions;

class Engine {
 public:
  static std::unique_ptr<Engine> load(const std::filesystem::path& folder, const EngineOptions& options);
  ~Engine();

  const ModelConfig& config() const { return model_.config; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const ChatTemplate& chat_template() const { return *template_; }
  const GenerationConfig& generation() const { return generation_; }
  const ProcessorConfig& processor() const { return processor_; }
  Ops& ops() { return *model_.ops; }
  std::string_view ops_name() const { return model_.ops->name(); }
  LoadedModel& model() { return model_; }
  double load_ms() const { return load_ms_; }

  // Most tokens of prompt and answer together.
  int64_t max_context() const { return model_.config.text.context_limit(); }

  // Template, tokens, pixels. Throws Error(input) where messages, media and placeholders do not fit together.
  PreparedChat prepare(const ChatRequest& request) const;

  std::vector<int32_t> tokenize(std::string_view text, bool special = true) const;  // special: `<|im_end|>` becomes its id
  std::string detokenize(std::span<const int32_t> ids, bool skip_special = false) const;

  // A prompt of text alone, without a template (completions, embeddings of text).
  Prompt prompt_from_text(std::string_view text, bool special = true) const;

  // Throws Error(usage) with the arithmetic where prompt and answer exceed the model's context.
  void check_context(int64_t prompt_tokens, int64_t max_tokens) const;
  // max_tokens of a request that asks for `asked` (0: what the context leaves, at most 4096).
  int64_t answer_budget(int64_t prompt_tokens, int64_t asked) const;
  int64_t kv_bytes_per_token() const;
  const EngineOptions& options() const { return options_; }

  // Checks a request against this model and fills in max_tokens. Throws Error(usage) naming what is wrong.
  void check_request(GenerationRequest& request) const;

  // The machinery that runs requests, with a key/value cache for kv_tokens (0: as options.kv_bytes says). It refers to
  // this engine, and only one may work at a time. Throws Error(resource) where the memory is not there.
  std::unique_ptr<Batcher> make_batcher(const ServiceOptions& options, int64_t kv_tokens);

  // One answer on this thread. on_delta gets each new piece of text, and an empty one while the prompt is computed; it
  // returns false to stop (Finish::cancelled). What is cached of one conversation is used by the next call.
  using OnDelta = std::function<bool(const AnswerDelta&)>;
  Answer chat(const ChatRequest& request, const OnDelta& on_delta);

 private:
  Engine();
  void check_memory(int64_t tokens) const;
  bool can_be_routed() const;
  Batcher& chat_batcher(int64_t tokens);

  EngineOptions options_;
  LoadedModel model_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> template_;
  ProcessorConfig processor_;
  GenerationConfig generation_;
  double load_ms_ = 0;
  std::unique_ptr<Batcher> chat_batcher_;  // after the model: it goes first
};

}  // namespace vl8
