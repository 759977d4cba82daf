// What has been said so far in answer to one HTTP request: any number of choices, each put together from the engine's
// events. Writers (answer_writer.h) make an API's JSON of it.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/api_error.h"
#include "server/api_request.h"
#include "server/box_rewriter.h"
#include "server/tool_calls.h"

namespace vl8 {

struct ToolCall {
  std::string id, name, arguments;  // id as clients see it; arguments: JSON text as the model wrote it
};

// One answer. Lives on the thread that writes the response.
class Choice {
 public:
  // picture: boxes are rewritten to its pixels. end_tokens: of the model; must outlive the choice.
  Choice(const ApiRequest& request, std::optional<Size> picture, std::span<const int32_t> end_tokens);

  // Adds an event; returns the pieces that it adds, in order.
  std::vector<AnswerPiece> take(const GenerationEvent& event);

  const std::string& text() const { return text_; }
  const std::string& reasoning() const { return reasoning_; }
  const std::vector<ToolCall>& calls() const { return calls_; }
  const std::vector<SampledToken>& tokens() const { return tokens_; }  // where log probabilities were asked for
  const GenerationUsage& usage() const { return usage_; }
  const std::vector<float>& embedding() const { return embedding_; }
  bool done() const { return done_; }
  Finish finish() const { return finish_; }
  bool stopped_early() const { return stopped_early_; }  // by a stop string, not by the model's end token

 private:
  void split(std::string text, bool last, std::vector<AnswerPiece>& out);
  void record(const AnswerPiece& piece);
  bool include_reasoning_, keep_tokens_, has_stops_;
  std::optional<ToolCallParser> tools_;
  std::optional<BoxRewriter> boxes_;
  std::string text_, reasoning_;
  std::vector<ToolCall> calls_;
  std::vector<SampledToken> tokens_;
  std::vector<float> embedding_;
  GenerationUsage usage_;
  Finish finish_ = Finish::stop;
  std::span<const int32_t> end_tokens_;
  bool done_ = false, stopped_early_ = false;
};

// What the pictures and clips of a request became.
struct MediaReport {
  std::vector<Size> given, used;                 // pictures: upright as given, and as the model saw them
  std::vector<std::vector<double>> timestamps;   // clips: seconds of each frame group
};

struct Transcript {
  std::string id;        // without prefix
  std::string model;
  int64_t created = 0;   // unix seconds
  ApiRequest request;    // the first one, without media
  std::vector<std::string> echo;  // of each choice: what stands in front of its text
  std::vector<Choice> choices;
  int choices_per_prompt = 1;
  MediaReport media;

  bool done() const;
  // Sums over choices; every prompt counts once.
  GenerationUsage usage() const;
};

std::string random_id(size_t characters = 24);  // letters and digits, from the system's random source
int64_t unix_seconds();
std::string dump(const Json& json);  // one line; invalid UTF-8 becomes U+FFFD

}  // namespace vl8
