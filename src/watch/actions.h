// Sends events on: webhook (signed, with retries), MQTT, a command, standard output. One thread an action, fed from the
// store's outbox, so that nothing is lost when a receiver is away or vl8 is killed.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "watch/config.h"
#include "watch/store.h"

namespace vl8::watch {

// One way of sending. Throws Error when the receiver has not confirmed the event.
class Sender {
 public:
  virtual ~Sender() = default;
  virtual void send(const Delivery& delivery) = 0;
};
std::unique_ptr<Sender> make_sender(const ActionConfig& config);

// HMAC-SHA256 of the body in hex, as in the header `X-VL8-Signature: sha256=...`.
std::string sign_body(const std::string& secret, const std::string& body);

class Actions {
 public:
  Actions(Store& store, const std::vector<ActionConfig>& configs);
  ~Actions();  // ends after the deliveries under way
  void wake();  // there is something new in the store
  // Waits until nothing is due any more, at most so long. True when all is delivered or given up.
  bool flush(double seconds);

 private:
  void loop(const ActionConfig& config);
  Store& store_;
  std::vector<ActionConfig> configs_;
  std::mutex lock_;
  std::condition_variable changed_;
  uint64_t news_ = 0;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

double unix_now_s();

}  // namespace vl8::watch
