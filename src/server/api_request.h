// What every API's body is parsed into: one internal request. The parsers (parse_*.cpp) check and translate; nothing
// behind them knows which API a request came from, except the writer of its answer.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/json_fields.h"

namespace vl8 {

// Where a picture or clip is to come from. Not fetched or decoded yet.
struct MediaSource {
  enum class Kind : uint8_t { image, video } kind = Kind::image;
  std::string url;    // data:, http(s): or file: URL
  std::string param;  // field of the request, for errors
  std::string detail = "auto";  // auto, low, high
};

enum class ToolMode : uint8_t { none, automatic, required, named };

struct ToolOptions {
  Json functions = Json::array();  // [{"type": "function", "function": {name, description?, parameters?, strict?}}]
  ToolMode mode = ToolMode::none;
  std::string name;      // of ToolMode::named
  bool parallel = true;  // more than one call in an answer
};

// What the text of the answer must be.
struct AnswerFormat {
  enum class Kind : uint8_t { text, json_object, json_schema, regex, choice, grammar } kind = Kind::text;
  Json schema;                       // json_schema
  std::string name;                  // of the schema, as the client calls it
  std::string pattern;               // regex or grammar
  std::vector<std::string> choices;  // choice
  std::string param;                 // field of the request, for errors
};

struct ReasoningOptions {
  std::optional<bool> enabled;  // nothing: as the template does by default
  int64_t budget = -1;          // tokens; -1: as much as leaves room for an answer
  bool include = true;          // false: thought, but not sent
};

struct ApiRequest {
  std::string model;              // as asked; answers repeat it
  ChatRequest chat;               // messages, sampling, stops, max_tokens; media are filled in once they are decoded
  std::vector<MediaSource> media; // in the order of their placeholders
  std::optional<std::string> raw_prompt;         // completions: no template
  std::vector<int32_t> raw_ids;                  // completions and embeddings: the prompt as ids
  ToolOptions tools;
  AnswerFormat format;
  ReasoningOptions reasoning;
  int n = 1;
  bool stream = false, include_usage = false, logprobs = false, echo = false;
  bool pixel_boxes = false;  // boxes in pixels of the picture boxes_image
  int boxes_image = 0;
  int32_t priority = 0;
  double timeout_s = 0;      // 0: none
  std::string cache_salt;
  bool seeded = false;       // the client chose the seed
};

// Limits on what a request may ask for; the server's configuration fills them.
struct RequestLimits {
  int64_t max_tokens = 0;      // per answer; 0: the context is the only limit
  int64_t default_max_tokens = 0;  // where the request names none; 0: what the context leaves, at most 4096
  int max_n = 16;
  int max_messages = 2048;
  int max_images = 64, max_videos = 8;
  int max_stops = 16;
  int max_tools = 128;
  int max_prompts = 256;       // inputs of one completions or embeddings request
  int64_t max_prompt_chars = int64_t(8) << 20;
};

// What a parser needs to know of the model.
struct ModelFacts {
  std::vector<std::string> names;  // the first one is used in answers to requests without a model
  SamplingParams sampling;         // the folder's generation_config.json
  int64_t vocabulary = 0, context = 0;
  bool any_name = true;            // false: a model name that is not in names is 404
};

struct ParseContext {
  const RequestLimits& limits;
  const ModelFacts& model;
};

ApiRequest parse_chat(const Json& body, const ParseContext& context);         // /v1/chat/completions
ApiRequest parse_anthropic(const Json& body, const ParseContext& context);    // /v1/messages
ApiRequest parse_responses(const Json& body, const ParseContext& context);    // /v1/responses
std::vector<ApiRequest> parse_completions(const Json& body, const ParseContext& context);  // one for each prompt

struct EmbeddingsRequest {
  std::vector<ApiRequest> inputs;
  bool base64 = false;
  int64_t dimensions = 0;  // 0: all
};
EmbeddingsRequest parse_embeddings(const Json& body, const ParseContext& context);

}  // namespace vl8
