// A loaded model and what is needed to ask it: the library's front door.
//
//   auto engine = Engine::load("Qwen3-VL-8B-Instruct-FP8", {});
//   ChatRequest request;  request.messages = ...;  request.images.push_back(read_file("photo.jpg"));
//   Answer answer = engine->chat(request, [](const AnswerDelta& d) { std::cout << d.text; return true; });
//
// One thread at a time may use an Engine. Errors are Error (core/error.h).
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/answer.h"
#include "engine/generation_config.h"
#include "engine/loaded_model.h"
#include "engine/prompt.h"
#include "engine/runner.h"
#include "engine/sampler.h"

namespace vl8 {

// A picture by its encoded bytes, and what messages call it.
struct EncodedImage {
  std::string bytes, name;
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
  SamplingParams sampling;
  std::vector<std::string> stops;
  int64_t max_tokens = 0;  // 0: as much as the context leaves, at most 4096
  bool ignore_end = false;
};

enum class Finish : uint8_t { stop, length, cancelled };
std::string_view finish_name(Finish finish);

struct AnswerTimes {
  double pixels_ms = 0, vision_ms = 0, prefill_ms = 0, first_token_ms = 0, decode_ms = 0;  // prefill excludes vision
};

struct Answer {
  std::string text, reasoning;
  std::vector<SampledToken> tokens;  // the end token included
  Finish finish = Finish::stop;
  int64_t prompt_tokens = 0, visual_tokens = 0;
  std::vector<Size> image_sizes, resized_sizes;  // of request.images
  std::vector<std::vector<double>> timestamps;   // of request.videos
  AnswerTimes times;
};

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

  // on_delta gets each new piece of text and returns false to stop (Finish::cancelled).
  using OnDelta = std::function<bool(const AnswerDelta&)>;
  Answer chat(const ChatRequest& request, const OnDelta& on_delta);

 private:
  Engine() = default;
  void check_fits(int64_t prompt_tokens, int64_t max_tokens) const;
  int64_t answer_budget(int64_t prompt_tokens, int64_t asked) const;
  Answer generate(Sequence& sequence, const ChatRequest& request, bool thinking, const OnDelta& on_delta);

  EngineOptions options_;
  LoadedModel model_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> template_;
  ProcessorConfig processor_;
  GenerationConfig generation_;
  double load_ms_ = 0;
};

}  // namespace vl8
