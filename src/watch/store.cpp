#include "watch/store.h"

#include <sqlite3.h>

#include <map>

#include "core/error.h"
#include "core/file.h"

namespace vl8::watch {
namespace {

constexpr const char* kSchema = R"(
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS frame (
  source TEXT NOT NULL, key TEXT NOT NULL, unix_s REAL NOT NULL, jpeg BLOB, PRIMARY KEY (source, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
  id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, key TEXT NOT NULL, part INTEGER NOT NULL, unix_s REAL NOT NULL,
  body TEXT NOT NULL, UNIQUE (source, key, part));
CREATE TABLE IF NOT EXISTS outbox (
  event INTEGER NOT NULL REFERENCES event (id) ON DELETE CASCADE, action TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  next_s REAL NOT NULL DEFAULT 0, state INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (event, action)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (action, state, event);
CREATE INDEX IF NOT EXISTS frame_age ON frame (unix_s);
)";
// outbox.state
enum : int { kWaiting = 0, kSent = 1, kGivenUp = 2 };

}  // namespace

class Store::Statement {
 public:
  Statement(Store& s, const char* sql) : store_(s) {
    if (sqlite3_prepare_v2(s.db_, sql, -1, &statement_, nullptr) != SQLITE_OK) refuse();
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& bind(int64_t v) { return sqlite3_bind_int64(statement_, ++bound_, v), *this; }
  Statement& bind(double v) { return sqlite3_bind_double(statement_, ++bound_, v), *this; }
  Statement& bind(const std::string& v) { return sqlite3_bind_text(statement_, ++bound_, v.data(), int(v.size()), SQLITE_TRANSIENT), *this; }
  Statement& blob(const std::string& v) {
    ++bound_;
    if (!v.empty()) sqlite3_bind_blob(statement_, bound_, v.data(), int(v.size()), SQLITE_TRANSIENT);
    return *this;
  }
  bool step() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) refuse();
    return code == SQLITE_ROW;
  }
  int64_t integer(int column) { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) {
    const void* p = sqlite3_column_blob(statement_, column);
    return p ? std::string(static_cast<const char*>(p), size_t(sqlite3_column_bytes(statement_, column))) : std::string();
  }

 private:
  [[noreturn]] void refuse() { fail(ErrorKind::resource, "{}: {}", store_.path_.string(), sqlite3_errmsg(store_.db_)); }
  Store& store_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

nlohmann::ordered_json Event::json() const {
  nlohmann::ordered_json j{{"id", id}, {"source", source}, {"frame", frame}, {"rule", rule}, {"defect", defect}};
  if (x_mm) j["x"] = *x_mm, j["y"] = *y_mm, j["unit"] = "mm";
  else if (has_box) j["x"] = x_px, j["y"] = y_px, j["unit"] = "px";
  if (has_box) j["box_px"] = box_px;
  if (!label.empty()) j["label"] = label;
  if (!sentence.empty()) j["sentence"] = sentence;
  j["answer"] = answer, j["unix_s"] = unix_s, j["frame_unix_s"] = frame_unix_s, j["stream_s"] = stream_s, j["activation"] = activation, j["latency_ms"] = latency_ms;
  return j;
}

Store::Store(const std::filesystem::path& path) : path_(path) {
  if (sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, nullptr) != SQLITE_OK) {
    const std::string why = db_ ? sqlite3_errmsg(db_) : "no memory";
    sqlite3_close(db_);
    fail(ErrorKind::resource, "{}: {}", path.string(), why);
  }
  sqlite3_busy_timeout(db_, 10000);
  try {
    run(kSchema);
  } catch (...) {
    sqlite3_close(db_);
    throw;
  }
}

Store::~Store() { sqlite3_close(db_); }

void Store::run(const char* sql) {
  char* message = nullptr;
  if (sqlite3_exec(db_, sql, nullptr, nullptr, &message) == SQLITE_OK) return;
  const std::string why = message ? message : "failed";
  sqlite3_free(message);
  fail(ErrorKind::resource, "{}: {}", path_.string(), why);
}

bool Store::done(const std::string& source, const std::string& frame) {
  std::lock_guard guard(lock_);
  return Statement(*this, "SELECT 1 FROM frame WHERE source = ? AND key = ?").bind(source).bind(frame).step();
}

bool Store::commit(const std::string& source, const std::string& frame, std::vector<Event>& events, const std::string& jpeg) {
  std::lock_guard guard(lock_);
  run("BEGIN IMMEDIATE");
  try {
    const double now = events.empty() ? 0 : events[0].unix_s;
    if (done(source, frame)) return run("ROLLBACK"), false;
    Statement(*this, "INSERT INTO frame (source, key, unix_s, jpeg) VALUES (?, ?, CASE WHEN ? > 0 THEN ? ELSE unixepoch() END, ?)")
        .bind(source).bind(frame).bind(now).bind(now).blob(jpeg).step();
    int64_t part = 0;
    for (Event& e : events) {
      e.source = source, e.frame = frame;  // what is told of an event names the frame under which it is kept
      Statement(*this, "INSERT INTO event (source, key, part, unix_s, body) VALUES (?, ?, ?, ?, '')")
          .bind(source).bind(frame).bind(part++).bind(e.unix_s).step();
      e.id = sqlite3_last_insert_rowid(db_);
      Statement(*this, "UPDATE event SET body = ? WHERE id = ?").bind(e.json().dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)).bind(e.id).step();
      for (const std::string& a : e.actions) Statement(*this, "INSERT INTO outbox (event, action) VALUES (?, ?)").bind(e.id).bind(a).step();
    }
    run("COMMIT");
  } catch (...) {
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
  return true;
}

std::vector<Delivery> Store::due(const std::string& action, double now_s, int limit) {
  std::lock_guard guard(lock_);
  Statement s(*this, "SELECT o.event, o.attempts, e.body FROM outbox o JOIN event e ON e.id = o.event "
                     "WHERE o.action = ? AND o.state = 0 AND o.next_s <= ? ORDER BY o.event LIMIT ?");
  s.bind(action).bind(now_s).bind(int64_t(limit));
  std::vector<Delivery> out;
  while (s.step()) out.push_back({s.integer(0), action, int(s.integer(1)), s.text(2)});
  return out;
}

void Store::delivered(int64_t event, const std::string& action) {
  std::lock_guard guard(lock_);
  Statement(*this, "UPDATE outbox SET state = ? WHERE event = ? AND action = ?").bind(int64_t(kSent)).bind(event).bind(action).step();
}

void Store::failed(int64_t event, const std::string& action, double next_s, bool give_up) {
  std::lock_guard guard(lock_);
  Statement(*this, "UPDATE outbox SET attempts = attempts + 1, next_s = ?, state = ? WHERE event = ? AND action = ?")
      .bind(next_s).bind(int64_t(give_up ? kGivenUp : kWaiting)).bind(event).bind(action).step();
}

Store::Counts Store::counts() {
  std::lock_guard guard(lock_);
  auto count = [&](const char* sql) {
    Statement s(*this, sql);
    return s.step() ? s.integer(0) : 0;
  };
  return {count("SELECT count(*) FROM event"), count("SELECT count(*) FROM frame"), count("SELECT count(*) FROM outbox WHERE state = 0"),
          count("SELECT count(*) FROM outbox WHERE state = 2")};
}

int64_t Store::retain(double now_s, double keep_days, int64_t keep_mb) {
  std::lock_guard guard(lock_);
  const double oldest = now_s - keep_days * 86400;
  run("BEGIN IMMEDIATE");
  int64_t removed = 0;
  try {
    Statement(*this, "DELETE FROM event WHERE unix_s < ? AND id NOT IN (SELECT event FROM outbox WHERE state = 0)").bind(oldest).step();
    removed += sqlite3_changes(db_);
    // A frame that is forgotten entirely could be looked at again: only its picture goes.
    Statement(*this, "UPDATE frame SET jpeg = NULL WHERE unix_s < ? AND jpeg IS NOT NULL").bind(oldest).step();
    Statement size(*this, "SELECT coalesce(sum(length(jpeg)), 0) FROM frame WHERE jpeg IS NOT NULL");
    size.step();
    int64_t bytes = size.integer(0);
    Statement old(*this, "SELECT source, key, length(jpeg) FROM frame WHERE jpeg IS NOT NULL ORDER BY unix_s");
    while (bytes > keep_mb * (int64_t(1) << 20) && old.step()) {
      Statement(*this, "UPDATE frame SET jpeg = NULL WHERE source = ? AND key = ?").bind(old.text(0)).bind(old.text(1)).step();
      bytes -= old.integer(2);
    }
    run("COMMIT");
  } catch (...) {
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
  return removed;
}

void Store::each_event(const std::function<void(const nlohmann::ordered_json&)>& f) {
  std::lock_guard guard(lock_);
  Statement s(*this, "SELECT body FROM event ORDER BY id");
  while (s.step()) f(nlohmann::ordered_json::parse(s.text(0)));
}

std::string Store::frame_jpeg(const std::string& source, const std::string& frame) {
  std::lock_guard guard(lock_);
  Statement s(*this, "SELECT jpeg FROM frame WHERE source = ? AND key = ?");
  s.bind(source).bind(frame);
  return s.step() ? s.text(0) : std::string();
}

int64_t export_jsonl(Store& store, const std::filesystem::path& file) {
  std::string text;
  int64_t n = 0;
  store.each_event([&](const nlohmann::ordered_json& e) { text += e.dump() + "\n", ++n; });
  write_file(file, text);
  return n;
}

int64_t export_coco(Store& store, const std::filesystem::path& file) {
  using Json = nlohmann::ordered_json;
  std::map<std::string, int64_t> images, categories;
  Json out{{"images", Json::array()}, {"annotations", Json::array()}, {"categories", Json::array()}};
  auto number = [](std::map<std::string, int64_t>& known, const std::string& key) {
    auto [it, fresh] = known.emplace(key, int64_t(known.size()) + 1);
    return std::pair(it->second, fresh);
  };
  store.each_event([&](const Json& e) {
    const std::string source = e["source"], frame = e["frame"];
    auto [image, new_image] = number(images, source + "/" + frame);
    if (new_image) {
      const std::string name = fmt::format("{}-{:06}.jpg", file.stem().string(), image), jpeg = store.frame_jpeg(source, frame);
      if (!jpeg.empty()) write_file(file.parent_path() / name, jpeg);
      out["images"].push_back({{"id", image}, {"file_name", jpeg.empty() ? frame : name}, {"source", source}, {"frame", frame}});
    }
    auto [category, new_category] = number(categories, e["defect"]);
    if (new_category) out["categories"].push_back({{"id", category}, {"name", e["defect"]}});
    Json a{{"id", e["id"]}, {"image_id", image}, {"category_id", category}, {"iscrowd", 0}};
    if (e.contains("box_px")) {
      const std::array<double, 4> b = e["box_px"];
      a["bbox"] = {b[0], b[1], b[2] - b[0], b[3] - b[1]};
      a["area"] = (b[2] - b[0]) * (b[3] - b[1]);
    }
    out["annotations"].push_back(a);
  });
  write_file(file, out.dump(1));
  return int64_t(out["annotations"].size());
}

}  // namespace vl8::watch
