#include "server/sessions.h"

#include "server/generation.h"
#include "server/media_loader.h"
#include "server/parse_common.h"

namespace vl8 {

std::string Sessions::add(std::unique_ptr<Session> session, const SessionOptions& options, size_t most, double idle_s) {
  std::shared_ptr<Entry> ended;  // outside of the lock: its end waits for a step
  std::lock_guard lock(mutex_);
  if (entries_.size() >= most) {
    auto oldest = entries_.begin();
    for (auto it = entries_.begin(); it != entries_.end(); ++it)
      if (it->second->used < oldest->second->used) oldest = it;
    const double idle = std::chrono::duration<double>(std::chrono::steady_clock::now() - oldest->second->used).count();
    if (idle < idle_s) throw overloaded(fmt::format("there are {} sessions, as many as are allowed; DELETE one", entries_.size()), std::max(1, int(idle_s - idle)));
    ended = std::move(oldest->second);
    entries_.erase(oldest);
  }
  auto entry = std::make_shared<Entry>();
  entry->session = std::move(session);
  entry->options = options;
  entry->created = unix_seconds();
  const std::string id = "sess_" + random_id();
  entries_[id] = std::move(entry);
  return id;
}

std::shared_ptr<Sessions::Entry> Sessions::find(const std::string& id) {
  std::lock_guard lock(mutex_);
  auto it = entries_.find(id);
  if (it == entries_.end()) throw ApiError(404, "invalid_request_error", "there is no such session", {}, "session_not_found");
  it->second->used = std::chrono::steady_clock::now();
  return it->second;
}

void Sessions::remove(const std::string& id) {
  std::shared_ptr<Entry> ended = find(id);
  std::lock_guard lock(mutex_);
  entries_.erase(id);
}

std::map<std::string, std::shared_ptr<Sessions::Entry>> Sessions::all() const {
  std::lock_guard lock(mutex_);
  return entries_;
}

void Sessions::clear() {
  std::map<std::string, std::shared_ptr<Entry>> ended;
  std::lock_guard lock(mutex_);
  ended.swap(entries_);
}

namespace {

using EntryPtr = std::shared_ptr<Sessions::Entry>;

Json session_json(const std::string& id, const Sessions::Entry& e) {
  const SessionStats s = e.session->stats();
  Json j = {{"id", id}, {"object", "session"}, {"created", e.created}, {"window_frames", e.options.window_frames}, {"slack_frames", e.options.slack_frames},
            {"key_frames", e.options.key_frames}, {"frames", {{"appended", s.appended}, {"in_view", s.in_view}, {"dropped", s.dropped}, {"pending", s.pending}}},
            {"tokens", s.tokens}, {"computed_tokens", s.computed_tokens}, {"rebuilds", s.rebuilds}, {"oldest_s", s.oldest_s}, {"newest_s", s.newest_s}};
  if (s.failed) j["error"] = s.error;
  return j;
}

void read_window(const Fields& body, SessionOptions& o) {
  if (auto n = body.integer("window_frames", 1, 100000)) o.window_frames = *n;
  if (auto n = body.integer("slack_frames", 1, 100000)) o.slack_frames = *n;
  if (auto n = body.integer("key_frames", 0, 100000)) o.key_frames = *n;
}

// One request, from its path to its answer; runs on a worker.
class SessionCall : public std::enable_shared_from_this<SessionCall> {
 public:
  SessionCall(ServerState& server, std::shared_ptr<Exchange> x) : server_(server), x_(std::move(x)) {}

  void run() {
    try {
      dispatch();
    } catch (...) {
      respond_error(x_, std::current_exception(), openai_error);
    }
  }

 private:
  void dispatch() {
    const HttpRequest& r = x_->request();
    std::string rest = r.path.substr(std::string_view("/v1/sessions").size());  // "", "/ID", "/ID/frames"
    if (rest.empty()) return r.method == "GET" ? list() : create();
    const size_t slash = rest.find('/', 1);
    id_ = rest.substr(1, slash == std::string::npos ? slash : slash - 1);
    const std::string verb = slash == std::string::npos ? "" : rest.substr(slash + 1);
    if (verb.empty() && r.method == "DELETE") {
      server_.sessions.remove(id_);
      return reply({{"id", id_}, {"object", "session.deleted"}, {"deleted", true}});
    }
    entry_ = server_.sessions.find(id_);
    if (verb.empty() && r.method == "GET") return reply(session_json(id_, *entry_));
    if (verb.empty() && r.method == "PATCH") return change();
    if (verb == "frames" && r.method == "POST") return append();
    if (verb == "ask" && r.method == "POST") return ask();
    throw ApiError(404, "invalid_request_error", "a session answers to GET, PATCH, DELETE, and POST of frames and ask", {}, "not_found");
  }

  void reply(const Json& json) {
    x_->post([x = x_.get(), text = dump(json)] { x->respond(200, text); });
  }

  void list() {
    Json data = Json::array();
    for (const auto& [id, e] : server_.sessions.all()) data.push_back(session_json(id, *e));
    reply({{"object", "list"}, {"data", std::move(data)}});
  }

  void create() {
    const Json json = x_->request().body.empty() ? Json::object() : parse_json(x_->request().body);
    Fields body(json, "");
    SessionOptions o;
    o.system = body.string("system").value_or("");
    o.salt = body.string("cache_salt").value_or("");
    read_window(body, o);
    o.validate(server_.engine());
    const auto config = server_.config();
    const std::string id = server_.sessions.add(std::make_unique<Session>(server_.service(), o), o, size_t(config->max_sessions), config->session_idle_s);
    reply(session_json(id, *server_.sessions.find(id)));
  }

  void change() {
    const Json json = parse_json(x_->request().body);
    SessionOptions o = entry_->options;
    read_window(Fields(json, ""), o);
    o.validate(server_.engine());
    entry_->session->set_window(o.window_frames, o.slack_frames, o.key_frames);
    entry_->options = o;
    reply(session_json(id_, *entry_));
  }

  void append() {
    const Json json = parse_json(x_->request().body);
    Fields body(json, "");
    const auto config = server_.config();
    const ParseContext context{config->limits, server_.model()};
    auto requests = std::make_shared<std::vector<ApiRequest>>(1);
    ApiRequest& r = requests->front();
    const Json& url = body.need("image_url");
    MediaSource source{MediaSource::Kind::image, url.is_string() ? url.get<std::string>() : Fields(url, "image_url").need_string("url"), "image_url"};
    media_part(r, std::move(source), context);
    read_media_options(body, r);
    body.need("seconds");
    seconds_ = *body.number("seconds", 0, 1e9);
    key_ = body.boolean("key").value_or(false);
    x_->request().body = {};
    load_media(server_, requests, [self = shared_from_this(), requests](std::exception_ptr fault) {
      if (fault) return respond_error(self->x_, fault, openai_error);
      if (!self->server_.workers.submit([self, requests] { self->add_frame(requests->front()); }))
        respond_error(self->x_, std::make_exception_ptr(overloaded("too many requests are being prepared", 1)), openai_error);
    });
  }

  void add_frame(ApiRequest& r) {
    try {
      const EncodedImage& file = r.chat.images.at(0);
      const Image image = decode_image(std::as_bytes(std::span(file.bytes)), file.name);
      SessionFrame frame = session_frame(server_.engine(), image, seconds_, r.chat.image_overrides);
      frame.key = key_;
      entry_->session->append(std::move(frame));
      reply(session_json(id_, *entry_));
    } catch (...) {
      respond_error(x_, std::current_exception(), openai_error);
    }
  }

  void ask() {
    Json json = parse_json(x_->request().body);
    const std::string question = Fields(json, "").need_string("question");
    json.erase("question");
    json["messages"] = Json::array({{{"role", "user"}, {"content", question}}});
    const auto config = server_.config();
    ApiRequest r = parse_chat(json, {config->limits, server_.model()});
    answer_question(server_, x_, std::move(r), [entry = entry_, question](GenerationRequest g, Service::OnEvent f) { return entry->session->ask(question, std::move(g), std::move(f)); });
  }

  ServerState& server_;
  std::shared_ptr<Exchange> x_;
  std::string id_;
  EntryPtr entry_;
  double seconds_ = 0;
  bool key_ = false;
};

}  // namespace

void start_session_request(ServerState& server, std::shared_ptr<Exchange> x) {
  auto call = std::make_shared<SessionCall>(server, x);
  if (!server.workers.submit([call] { call->run(); })) respond_error(x, std::make_exception_ptr(overloaded("too many requests are waiting to be read", 1)), openai_error);
}

}  // namespace vl8
