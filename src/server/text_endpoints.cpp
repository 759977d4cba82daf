// The smaller endpoints that need the tokenizer or one engine step: embeddings, tokenize, count_tokens.
#include <cmath>
#include <cstring>
#include <limits>

#include "server/generation.h"
#include "server/media_loader.h"

namespace vl8 {
namespace {

// Parses on a worker, loads media where there are any, then calls `then` on a worker. Faults are answered in `shape`.
void with_requests(ServerState& server, std::shared_ptr<Exchange> x, Json (*shape)(const ApiError&),
                   std::function<std::vector<ApiRequest>(const Json&, const ParseContext&)> parse,
                   std::function<void(std::vector<ApiRequest>&)> then) {
  auto guarded = [x, shape](auto&& f) {
    try {
      f();
    } catch (...) {
      respond_error(x, std::current_exception(), shape);
    }
  };
  auto busy = [x, shape] { respond_error(x, std::make_exception_ptr(overloaded("too many requests are waiting to be read", 1)), shape); };
  auto job = [&server, x, shape, parse, then, guarded, busy] {
    guarded([&] {
      const auto config = server.config();
      auto requests = std::make_shared<std::vector<ApiRequest>>(parse(parse_json(x->request().body), {config->limits, server.model()}));
      bool media = false;
      for (const ApiRequest& r : *requests) media |= !r.media.empty();
      if (!media) return then(*requests);
      load_media(server, requests, [=, &server](std::exception_ptr fault) {
        if (fault) return respond_error(x, fault, shape);
        if (!server.workers.submit([=] { guarded([&] { then(*requests); }); })) busy();
      });
    });
  };
  if (!server.workers.submit(job)) busy();
}

Prompt prompt_of(const Engine& e, const ApiRequest& r) {
  if (r.raw_prompt) return e.prompt_from_text(*r.raw_prompt);
  if (!r.raw_ids.empty()) return prompt_from_ids(r.raw_ids, {}, {}, e.config());
  return e.prepare(r.chat).prompt;
}

class Embeddings : public std::enable_shared_from_this<Embeddings> {
 public:
  Embeddings(ServerState& server, std::shared_ptr<Exchange> x) : server_(server), x_(std::move(x)) {}
  bool base64 = false;
  int64_t dimensions = 0;

  void submit(std::vector<ApiRequest>& requests) {
    model_ = requests[0].model;
    const int64_t width = server_.engine().config().text.hidden_size;
    if (dimensions > width) fail_field("dimensions", "this model's vectors have {} dimensions, not {}", width, dimensions);
    std::vector<GenerationRequest> list;
    for (ApiRequest& r : requests) {
      GenerationRequest g;
      g.prompt = prompt_of(server_.engine(), r);
      g.max_tokens = 1;
      g.pooled = true;
      g.priority = r.priority;
      g.cache_salt = r.cache_salt;
      list.push_back(std::move(g));
    }
    vectors_.resize(list.size());
    left_ = list.size();
    std::vector<uint64_t> ids;
    try {
      for (size_t i = 0; i < list.size(); ++i)
        ids.push_back(server_.service().submit(std::move(list[i]), [self = shared_from_this(), i](GenerationEvent e) {
          if (e.done) self->x_->post([self, i, e = std::move(e)] { self->arrived(i, e); });
        }));
    } catch (...) {
      for (uint64_t id : ids) server_.service().cancel(id);
      try {
        throw;
      } catch (const QueueFull& e) {
        throw overloaded(e.what(), std::max(1, int(e.retry_after_s() + 0.999)));
      }
    }
    x_->on_abandon([&server = server_, ids] {
      for (uint64_t id : ids) server.service().cancel(id);
    });
  }

 private:
  void arrived(size_t i, const GenerationEvent& e) {
    if (x_->ended()) return;
    ++server_.counters.finished[size_t(e.finish)];
    if (e.finish == Finish::error || e.finish == Finish::cancelled) {
      auto fault = e.error ? std::make_exception_ptr(Error(e.error->kind, e.error->message)) : std::make_exception_ptr(unavailable("the server is shutting down", 5));
      return respond_error(x_, fault, openai_error);
    }
    vectors_[i] = shortened(e.embedding);
    tokens_ += e.usage.prompt_tokens;
    if (--left_ > 0) return;
    Json data = Json::array();
    for (size_t k = 0; k < vectors_.size(); ++k) data.push_back({{"object", "embedding"}, {"index", k}, {"embedding", encoded(vectors_[k])}});
    x_->note("prompt_tokens", tokens_);
    x_->respond(200, dump({{"object", "list"}, {"data", std::move(data)}, {"model", model_}, {"usage", {{"prompt_tokens", tokens_}, {"total_tokens", tokens_}}}}));
  }

  // The first dimensions, of length 1 again.
  std::vector<float> shortened(std::vector<float> v) const {
    if (dimensions == 0 || dimensions >= int64_t(v.size())) return v;
    v.resize(size_t(dimensions));
    double sum = 0;
    for (float f : v) sum += double(f) * f;
    for (float& f : v) f = float(f / std::sqrt(std::max(sum, 1e-30)));
    return v;
  }

  Json encoded(const std::vector<float>& v) const {
    static_assert(std::numeric_limits<float>::is_iec559);
    if (base64) return base64_encode({reinterpret_cast<const char*>(v.data()), v.size() * sizeof(float)});
    return v;
  }

  ServerState& server_;
  std::shared_ptr<Exchange> x_;
  std::string model_;
  std::vector<std::vector<float>> vectors_;
  size_t left_ = 0;
  int64_t tokens_ = 0;
};

std::vector<ApiRequest> single(ApiRequest r) {
  std::vector<ApiRequest> list;
  list.push_back(std::move(r));
  return list;
}

}  // namespace

void start_embeddings(ServerState& server, std::shared_ptr<Exchange> x) {
  auto e = std::make_shared<Embeddings>(server, x);
  with_requests(server, x, openai_error,
                [e](const Json& body, const ParseContext& c) {
                  EmbeddingsRequest r = parse_embeddings(body, c);
                  e->base64 = r.base64;
                  e->dimensions = r.dimensions;
                  return std::move(r.inputs);
                },
                [e](std::vector<ApiRequest>& requests) { e->submit(requests); });
}

void start_count_tokens(ServerState& server, std::shared_ptr<Exchange> x) {
  with_requests(server, x, anthropic_error,
                [](const Json& json, const ParseContext& c) {
                  Json body = json;
                  if (body.is_object()) body["max_tokens"] = 1;  // not part of this endpoint
                  return single(parse_anthropic(body, c));
                },
                [&server, x](std::vector<ApiRequest>& r) {
                  const size_t n = prompt_of(server.engine(), r[0]).ids.size();
                  x->post([x = x.get(), n] { x->respond(200, dump({{"input_tokens", n}})); });
                });
}

// vLLM's: {"prompt"} or {"messages"}; control tokens of a prompt are read as such unless add_special_tokens is false.
void start_tokenize(ServerState& server, std::shared_ptr<Exchange> x) {
  auto strings = std::make_shared<bool>(false);
  with_requests(server, x, openai_error,
                [strings](const Json& json, const ParseContext& c) {
                  Fields body(json, "");
                  *strings = body.boolean("return_token_strs").value_or(false);
                  if (body.has("messages")) {
                    ApiRequest r = parse_chat(json, c);
                    if (auto add = body.boolean("add_generation_prompt")) r.chat.template_options.add_generation_prompt = *add;
                    return single(std::move(r));
                  }
                  ApiRequest r;
                  r.raw_prompt = body.need_string("prompt");
                  if (int64_t(r.raw_prompt->size()) > c.limits.max_prompt_chars) fail_field("prompt", "is longer than {} bytes", c.limits.max_prompt_chars);
                  return single(std::move(r));
                },
                [&server, x, strings](std::vector<ApiRequest>& r) {
                  const Engine& e = server.engine();
                  const std::vector<int32_t> ids = r[0].raw_prompt ? e.tokenize(*r[0].raw_prompt) : prompt_of(e, r[0]).ids;
                  Json out = {{"count", ids.size()}, {"max_model_len", e.max_context()}, {"tokens", ids}, {"token_strs", nullptr}};
                  if (*strings) {
                    out["token_strs"] = Json::array();
                    for (int32_t id : ids) out["token_strs"].push_back(e.detokenize(std::span(&id, 1)));
                  }
                  x->post([x = x.get(), body = dump(out)] { x->respond(200, body); });
                });
}

}  // namespace vl8
