#include "server/generation.h"

#include <algorithm>

#include "core/log.h"
#include "server/media_loader.h"
#include "server/output_constraint.h"

namespace vl8 {
namespace {

std::vector<ApiRequest> one(ApiRequest r) {
  std::vector<ApiRequest> list;
  list.push_back(std::move(r));
  return list;
}

// The engine keeps a quarter of the answer's tokens for what follows the reasoning, as soon as there is a budget at all.
int64_t thinking_budget(const ReasoningOptions& r) {
  if (r.enabled && !*r.enabled) return 0;
  return r.budget >= 0 ? r.budget : INT64_MAX;
}

// Everything about one HTTP request that generates. Until accept() only one worker at a time touches it; from then on it
// belongs to the connection's thread.
class GenerationCall : public std::enable_shared_from_this<GenerationCall> {
 public:
  GenerationCall(ServerState& server, std::shared_ptr<Exchange> exchange, const ApiDialect& dialect)
      : server_(server), exchange_(std::move(exchange)), dialect_(dialect), requests_(std::make_shared<std::vector<ApiRequest>>()) {}

  void parse() {
    const auto config = server_.config();
    const Json body = parse_json(exchange_->request().body);
    exchange_->request().body = {};
    *requests_ = dialect_.parse(body, {config->limits, server_.model()});
    const bool media = std::any_of(requests_->begin(), requests_->end(), [](const ApiRequest& r) { return !r.media.empty(); });
    if (!media) return prepare();
    load_media(server_, requests_, [self = shared_from_this()](std::exception_ptr fault) {
      if (fault) return self->fail(fault);
      if (!self->server_.workers.submit([self] { self->guarded([&] { self->prepare(); }); }))
        self->fail(std::make_exception_ptr(overloaded("too many requests are being prepared", 1)));
    });
  }

  // A question whose prompt is made elsewhere: submit_one adds it.
  void ask(ApiRequest request, SubmitOne submit_one) {
    submit_one_ = std::move(submit_one);
    requests_->push_back(std::move(request));
    prepare();
  }

  template <typename F>
  void guarded(F&& f) {
    try {
      f();
    } catch (...) {
      fail(std::current_exception());
    }
  }

  void fail(std::exception_ptr fault) { respond_error(exchange_, fault, dialect_.error); }

 private:
  void prepare() {
    std::vector<GenerationRequest> generations;
    for (ApiRequest& r : *requests_) add_generations(r, generations);
    begin_transcript();
    writer_ = dialect_.writer(transcript_, server_.engine().tokenizer());
    submit(std::move(generations));
  }

  PreparedChat prompt_of(ApiRequest& r) {
    const Engine& engine = server_.engine();
    if (submit_one_) return {};
    if (r.raw_prompt || !r.raw_ids.empty()) {
      PreparedChat p;
      p.prompt = r.raw_prompt ? engine.prompt_from_text(*r.raw_prompt) : prompt_from_ids(r.raw_ids, {}, {}, engine.config());
      return p;
    }
    return engine.prepare(r.chat);
  }

  void add_generations(ApiRequest& r, std::vector<GenerationRequest>& out) {
    PreparedChat chat = prompt_of(r);
    auto& media = transcript_.media;
    media.given.insert(media.given.end(), chat.image_sizes.begin(), chat.image_sizes.end());
    media.used.insert(media.used.end(), chat.resized_sizes.begin(), chat.resized_sizes.end());
    media.timestamps.insert(media.timestamps.end(), chat.timestamps.begin(), chat.timestamps.end());
    const auto constraint = make_constraint(r, server_);
    for (int i = 0; i < r.n; ++i) {
      GenerationRequest g;
      g.prompt = i + 1 < r.n ? chat.prompt : std::move(chat.prompt);
      g.sampling = r.chat.sampling;
      g.sampling.seed += uint64_t(i);
      g.stops = r.chat.stops;
      g.max_tokens = r.chat.max_tokens;
      g.starts_thinking = chat.starts_thinking;
      g.thinking_budget = thinking_budget(r.reasoning);
      if (constraint) g.constraint = constraint->clone();
      g.priority = r.priority;
      if (r.timeout_s > 0) g.deadline = SteadyClock::now() + std::chrono::microseconds(int64_t(r.timeout_s * 1e6));
      g.ignore_end = r.chat.ignore_end;
      g.cache_salt = r.cache_salt;
      out.push_back(std::move(g));
    }
    std::optional<Size> picture;
    if (r.pixel_boxes && size_t(r.boxes_image) < chat.image_sizes.size()) picture = chat.image_sizes[size_t(r.boxes_image)];
    for (int i = 0; i < r.n; ++i) {
      transcript_.choices.emplace_back(r, picture, server_.engine().generation().end_tokens);
      transcript_.echo.push_back(r.echo ? r.raw_prompt.value_or(server_.engine().detokenize(r.raw_ids)) : std::string());
    }
    r.chat.images.clear();
    r.chat.videos.clear();
  }

  void begin_transcript() {
    ApiRequest& r = requests_->front();
    transcript_.id = random_id();
    transcript_.model = r.model;
    transcript_.created = unix_seconds();
    transcript_.choices_per_prompt = r.n;
    transcript_.request = std::move(r);
    transcript_.request.chat.messages = nullptr;  // not needed any more, and may be large
    requests_.reset();
  }

  void submit(std::vector<GenerationRequest> generations) {
    try {
      for (size_t i = 0; i < generations.size(); ++i)
        ids_.push_back(submit_one(std::move(generations[i]), [self = shared_from_this(), i](GenerationEvent e) {
          self->exchange_->post([self, i, e = std::move(e)] { self->event(i, e); });
        }));
    } catch (const QueueFull& e) {
      cancel_all();
      throw overloaded(e.what(), std::max(1, int(e.retry_after_s() + 0.999)));
    } catch (...) {
      cancel_all();
      throw;
    }
    exchange_->post([self = shared_from_this()] { self->accept(); });
    exchange_->on_abandon([&server = server_, ids = ids_] {
      for (uint64_t id : ids) server.service().cancel(id);
    });
  }

  void cancel_all() {
    for (uint64_t id : ids_) server_.service().cancel(id);
  }

  uint64_t submit_one(GenerationRequest g, Service::OnEvent on_event) {
    return submit_one_ ? submit_one_(std::move(g), std::move(on_event)) : server_.service().submit(std::move(g), std::move(on_event));
  }

  // All choices have a place in the queue: from now on the answer is 200.
  void accept() {
    accepted_ = true;
    if (transcript_.request.stream) {
      ++server_.counters.streams;
      exchange_->begin_stream(200, "text/event-stream; charset=utf-8", {{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}});
      exchange_->send(writer_->begin());
    }
    for (auto& [i, e] : std::exchange(early_, {})) event(i, e);
  }

  void event(size_t i, const GenerationEvent& e) {
    if (!accepted_) {
      early_.emplace_back(i, e);
      return;
    }
    if (exchange_->ended()) return;  // another choice has failed
    Choice& choice = transcript_.choices[i];
    const std::vector<AnswerPiece> pieces = choice.take(e);
    if (e.done) ++server_.counters.finished[size_t(e.finish)];
    if (e.done && (e.finish == Finish::error || e.finish == Finish::cancelled)) return broken(e);
    if (transcript_.request.stream) {
      std::string out = writer_->pieces(i, pieces, e.tokens);
      if (e.done) out += writer_->end_choice(i);
      exchange_->send(std::move(out));
    }
    if (e.done && transcript_.done()) complete();
  }

  // The client is still there, and the engine gave up: shutting down, or out of something.
  void broken(const GenerationEvent& e) {
    cancel_all();
    ApiError fault = e.error ? to_api_error(std::make_exception_ptr(Error(e.error->kind, e.error->message))) : unavailable("the server is shutting down", 5);
    if (e.error && e.error->kind == ErrorKind::internal) spdlog::error("{}: {}", exchange_->request().id, e.error->message);
    if (transcript_.request.stream) {
      exchange_->send(writer_->error(fault));
      exchange_->close_after();
      exchange_->end();
    } else {
      respond_error(exchange_, std::make_exception_ptr(fault), dialect_.error);
    }
  }

  void complete() {
    for (const Choice& c : transcript_.choices) server_.counters.tool_calls += int64_t(c.calls().size());
    const GenerationUsage u = transcript_.usage();
    exchange_->note("prompt_tokens", u.prompt_tokens);
    exchange_->note("answer_tokens", u.answer_tokens);
    if (u.visual_tokens) exchange_->note("visual_tokens", u.visual_tokens);
    if (u.cached_tokens) exchange_->note("cached_tokens", u.cached_tokens);
    if (transcript_.request.stream) {
      exchange_->send(writer_->end());
      exchange_->end();
    } else {
      exchange_->respond(200, dump(writer_->whole()));
    }
  }

  ServerState& server_;
  std::shared_ptr<Exchange> exchange_;
  const ApiDialect& dialect_;
  std::shared_ptr<std::vector<ApiRequest>> requests_;
  Transcript transcript_;
  std::unique_ptr<AnswerWriter> writer_;
  SubmitOne submit_one_;
  std::vector<uint64_t> ids_;  // of the generations; complete before accept()
  bool accepted_ = false;
  std::vector<std::pair<size_t, GenerationEvent>> early_;
};

}  // namespace

const ApiDialect kChatDialect{[](const Json& b, const ParseContext& c) { return one(parse_chat(b, c)); }, make_chat_writer, openai_error};
const ApiDialect kCompletionsDialect{parse_completions, make_completions_writer, openai_error};
const ApiDialect kAnthropicDialect{[](const Json& b, const ParseContext& c) { return one(parse_anthropic(b, c)); },
                                   [](const Transcript& t, const Tokenizer&) { return make_anthropic_writer(t); }, anthropic_error};
const ApiDialect kResponsesDialect{[](const Json& b, const ParseContext& c) { return one(parse_responses(b, c)); }, make_responses_writer, openai_error};

void respond_error(const std::shared_ptr<Exchange>& exchange, std::exception_ptr fault, Json (*shape)(const ApiError&)) {
  const ApiError e = to_api_error(fault);
  if (e.status == 500) try {
      std::rethrow_exception(fault);
    } catch (const std::exception& inner) {
      spdlog::error("{}: {}", exchange->request().id, inner.what());
    }
  exchange->post([exchange = exchange.get(), e, shape] {
    if (exchange->started()) return;
    HttpHeaders headers;
    if (e.retry_after_s > 0) headers.emplace_back("retry-after", std::to_string(e.retry_after_s));
    exchange->respond(e.status, dump(shape(e)), "application/json", headers);
  });
}

void start_generation(ServerState& server, std::shared_ptr<Exchange> exchange, const ApiDialect& dialect) {
  auto g = std::make_shared<GenerationCall>(server, exchange, dialect);
  if (!server.workers.submit([g] { g->guarded([&] { g->parse(); }); })) g->fail(std::make_exception_ptr(overloaded("too many requests are waiting to be read", 1)));
}

void answer_question(ServerState& server, std::shared_ptr<Exchange> exchange, ApiRequest request, SubmitOne submit_one) {
  auto g = std::make_shared<GenerationCall>(server, std::move(exchange), kChatDialect);
  g->guarded([&] { g->ask(std::move(request), std::move(submit_one)); });
}

}  // namespace vl8
