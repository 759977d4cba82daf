// /v1/sessions: live sessions over HTTP (engine/session.h). A camera's frames are appended one by one; a question can be asked
// at any time and is answered like a chat completion.
//
//   POST   /v1/sessions              {system?, window_frames?, slack_frames?, key_frames?}      -> session
//   GET    /v1/sessions              all of them;  GET /v1/sessions/ID one
//   PATCH  /v1/sessions/ID           {window_frames?, slack_frames?, key_frames?}
//   POST   /v1/sessions/ID/frames    {image_url, seconds, key?, min_pixels?, max_pixels?}       -> session
//   POST   /v1/sessions/ID/ask       {question, and the sampling fields of a chat completion}   -> chat.completion (or stream)
//   DELETE /v1/sessions/ID
#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "engine/session.h"
#include "server/http.h"

namespace vl8 {

class ServerState;

class Sessions {
 public:
  struct Entry {
    std::unique_ptr<Session> session;
    SessionOptions options;
    int64_t created = 0;
    std::chrono::steady_clock::time_point used = std::chrono::steady_clock::now();
  };

  // 429 where there are `most` already and none has been idle for idle_s; an idle one makes room.
  std::string add(std::unique_ptr<Session> session, const SessionOptions& options, size_t most, double idle_s);
  std::shared_ptr<Entry> find(const std::string& id);  // 404 where there is none
  void remove(const std::string& id);
  std::map<std::string, std::shared_ptr<Entry>> all() const;
  void clear();  // before the service ends

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Entry>> entries_;
};

void start_session_request(ServerState& server, std::shared_ptr<Exchange> exchange);

}  // namespace vl8
