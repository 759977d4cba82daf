// From a transcript to the bytes of one API: the whole answer as JSON, or the frames of an event stream as they come.
#pragma once
#include <memory>
#include <span>

#include "server/transcript.h"
#include "text/tokenizer.h"

namespace vl8 {

class AnswerWriter {
 public:
  explicit AnswerWriter(const Transcript& transcript) : t_(transcript) {}  // which must outlive the writer
  virtual ~AnswerWriter() = default;

  virtual Json whole() = 0;  // once all choices are done

  // Streaming; each returns what is to be sent now, possibly nothing.
  virtual std::string begin() = 0;
  virtual std::string pieces(size_t choice, std::span<const AnswerPiece> pieces, std::span<const SampledToken> tokens) = 0;
  virtual std::string end_choice(size_t choice) = 0;
  virtual std::string end() = 0;
  virtual std::string error(const ApiError& e) = 0;  // in the middle of a stream, instead of an end
  virtual Json error_body(const ApiError& e) { return openai_error(e); }

 protected:
  const Transcript& t_;
};

std::unique_ptr<AnswerWriter> make_chat_writer(const Transcript& t, const Tokenizer& tokenizer);
std::unique_ptr<AnswerWriter> make_completions_writer(const Transcript& t, const Tokenizer& tokenizer);
std::unique_ptr<AnswerWriter> make_anthropic_writer(const Transcript& t);
std::unique_ptr<AnswerWriter> make_responses_writer(const Transcript& t, const Tokenizer& tokenizer);

// Shared by writers.
std::string sse(const Json& data);                               // "data: {...}\n\n"
std::string sse(std::string_view event, const Json& data);       // with an "event:" line
std::string json_string(std::string_view text);                  // quoted and escaped
Json openai_usage(const Transcript& t);
Json token_logprob(const SampledToken& token, const Tokenizer& tokenizer);  // {token, logprob, bytes, top_logprobs}
// stop, length, tool_calls
const char* openai_finish(const Choice& choice);

}  // namespace vl8
