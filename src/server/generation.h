// The way of a generating request: parse (worker), fetch and decode media (their own pools), prepare (worker), submit to the
// engine, and write events as they come (the connection's thread). Every fault ends here as one answer.
#pragma once
#include <memory>

#include "server/answer_writer.h"
#include "server/http.h"
#include "server/server_state.h"

namespace vl8 {

// One API: how its body is read and its answer written.
struct ApiDialect {
  std::vector<ApiRequest> (*parse)(const Json& body, const ParseContext& context);
  std::unique_ptr<AnswerWriter> (*writer)(const Transcript& transcript, const Tokenizer& tokenizer);
  Json (*error)(const ApiError& e);
};
extern const ApiDialect kChatDialect, kCompletionsDialect, kAnthropicDialect, kResponsesDialect;

// Takes the exchange over; returns at once.
void start_generation(ServerState& server, std::shared_ptr<Exchange> exchange, const ApiDialect& dialect);
void start_embeddings(ServerState& server, std::shared_ptr<Exchange> exchange);
void start_count_tokens(ServerState& server, std::shared_ptr<Exchange> exchange);  // /v1/messages/count_tokens
void start_tokenize(ServerState& server, std::shared_ptr<Exchange> exchange);      // prompt or messages to ids

// Answers a question about something that is not in the request (a session) like a chat completion. submit_one: hands the request,
// which has everything but its prompt, to the engine.
using SubmitOne = std::function<uint64_t(GenerationRequest request, Service::OnEvent on_event)>;
void answer_question(ServerState& server, std::shared_ptr<Exchange> exchange, ApiRequest request, SubmitOne submit_one);

// Answers with the fault; on any thread.
void respond_error(const std::shared_ptr<Exchange>& exchange, std::exception_ptr fault, Json (*shape)(const ApiError&));

}  // namespace vl8
