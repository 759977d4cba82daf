#include "watch/actions.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/log.h"

extern char** environ;

namespace vl8::watch {
namespace {

class Webhook : public Sender {
 public:
  explicit Webhook(const ActionConfig& c) : config_(c) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (ready != CURLE_OK) fail(ErrorKind::resource, "libcurl cannot start: {}", curl_easy_strerror(ready));
  }
  void send(const Delivery& d) override {
    std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
    curl_slist* list = curl_slist_append(nullptr, "Content-Type: application/json");
    list = curl_slist_append(list, fmt::format("X-VL8-Event: {}", d.event).c_str());
    list = curl_slist_append(list, fmt::format("Idempotency-Key: {}", d.event).c_str());
    if (!config_.secret.empty()) list = curl_slist_append(list, ("X-VL8-Signature: sha256=" + sign_body(config_.secret, d.body)).c_str());
    std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(list, curl_slist_free_all);
    curl_easy_setopt(curl.get(), CURLOPT_URL, config_.url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, d.body.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(d.body.size()));
    curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, long(config_.timeout_s * 1000));
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, +[](char*, size_t size, size_t n, void*) { return size * n; });
    const CURLcode code = curl_easy_perform(curl.get());
    if (code != CURLE_OK) fail(ErrorKind::resource, "{}: {}", config_.url, curl_easy_strerror(code));
    long status = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status > 299) fail(ErrorKind::resource, "{} answered {}", config_.url, status);
  }

 private:
  ActionConfig config_;
};

// One connection that is opened when it is needed; an event counts as sent when the broker has confirmed it (qos 1, 2).
class Mqtt : public Sender {
 public:
  explicit Mqtt(const ActionConfig& c) : config_(c) {
    static const int ready = mosquitto_lib_init();
    if (ready != MOSQ_ERR_SUCCESS) fail(ErrorKind::resource, "libmosquitto cannot start: {}", mosquitto_strerror(ready));
  }
  ~Mqtt() override { disconnect(); }

  void send(const Delivery& d) override {
    try {
      connect();
      int id = 0;
      confirmed_ = -1;
      require(mosquitto_publish(client_, &id, config_.topic.c_str(), int(d.body.size()), d.body.data(), config_.qos, false));
      pump([&] { return confirmed_ == id; });
    } catch (...) {
      disconnect();
      throw;
    }
  }

 private:
  void connect() {
    if (client_) return;
    client_ = mosquitto_new(nullptr, true, this);
    if (!client_) throw std::bad_alloc();
    connected_ = -1;
    mosquitto_connect_callback_set(client_, [](mosquitto*, void* self, int code) { static_cast<Mqtt*>(self)->connected_ = code; });
    mosquitto_publish_callback_set(client_, [](mosquitto*, void* self, int id) { static_cast<Mqtt*>(self)->confirmed_ = id; });
    if (!config_.user.empty()) require(mosquitto_username_pw_set(client_, config_.user.c_str(), config_.password.c_str()));
    require(mosquitto_connect(client_, config_.host.c_str(), config_.port, 60));
    pump([&] { return connected_ >= 0; });
    if (connected_ != 0) fail(ErrorKind::resource, "{}:{}: {}", config_.host, config_.port, mosquitto_connack_string(connected_));
  }
  void disconnect() {
    if (!client_) return;
    mosquitto_disconnect(client_);
    mosquitto_destroy(client_);
    client_ = nullptr;
  }
  template <typename F>
  void pump(F done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(int64_t(config_.timeout_s * 1000));
    while (!done()) {
      require(mosquitto_loop(client_, 50, 1));
      if (std::chrono::steady_clock::now() > end)
        fail(ErrorKind::resource, "{}:{}: no confirmation in {} seconds", config_.host, config_.port, config_.timeout_s);
    }
  }
  void require(int code) {
    if (code != MOSQ_ERR_SUCCESS)
      fail(ErrorKind::resource, "{}:{}: {}", config_.host, config_.port, code == MOSQ_ERR_ERRNO ? std::strerror(errno) : mosquitto_strerror(code));
  }
  ActionConfig config_;
  mosquitto* client_ = nullptr;
  int connected_ = -1, confirmed_ = -1;
};

// The program gets the event on its standard input; its exit code confirms. No shell is between.
class Command : public Sender {
 public:
  explicit Command(const ActionConfig& c) : config_(c) {}
  void send(const Delivery& d) override {
    int in[2];
    if (pipe2(in, O_CLOEXEC) != 0) fail(ErrorKind::resource, "no pipe: {}", std::strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    std::vector<char*> argv;
    for (std::string& a : config_.argv) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_t pid = 0;
    const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    if (error != 0) {
      close(in[1]);
      fail(ErrorKind::resource, "cannot start {}: {}", config_.argv[0], std::strerror(error));
    }
    // An event is smaller than a pipe holds, so this never waits for the program to read.
    const bool written = write(in[1], d.body.data(), d.body.size()) == ssize_t(d.body.size());
    close(in[1]);
    wait_for(pid);
    if (!written) fail(ErrorKind::resource, "{} did not take the event", config_.argv[0]);
  }

 private:
  void wait_for(pid_t pid) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(int64_t(config_.timeout_s * 1000));
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > end) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        fail(ErrorKind::resource, "{} took more than {} seconds", config_.argv[0], config_.timeout_s);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
      fail(ErrorKind::resource, "{} ended with {}", config_.argv[0], WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  }
  ActionConfig config_;
};

class Output : public Sender {
 public:
  void send(const Delivery& d) override {
    fmt::print("{}\n", d.body);
    if (std::fflush(stdout) != 0) fail(ErrorKind::resource, "standard output cannot be written");
  }
};

}  // namespace

double unix_now_s() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string sign_body(const std::string& secret, const std::string& body) {
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!HMAC(EVP_sha256(), secret.data(), int(secret.size()), reinterpret_cast<const unsigned char*>(body.data()), body.size(), mac, &size))
    fail(ErrorKind::resource, "the event cannot be signed");
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", mac[i]);
  return hex;
}

std::unique_ptr<Sender> make_sender(const ActionConfig& c) {
  switch (c.kind) {
    case ActionKind::webhook: return std::make_unique<Webhook>(c);
    case ActionKind::mqtt: return std::make_unique<Mqtt>(c);
    case ActionKind::command: return std::make_unique<Command>(c);
    case ActionKind::out: return std::make_unique<Output>();
  }
  return nullptr;
}

Actions::Actions(Store& store, const std::vector<ActionConfig>& configs) : store_(store), configs_(configs) {
  for (const ActionConfig& c : configs_) threads_.emplace_back([this, &c] { loop(c); });
}

Actions::~Actions() {
  {
    std::lock_guard guard(lock_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void Actions::wake() {
  {
    std::lock_guard guard(lock_);
    ++news_;
  }
  changed_.notify_all();
}

void Actions::loop(const ActionConfig& config) {
  std::unique_ptr<Sender> sender = make_sender(config);
  uint64_t seen = 0;
  while (true) {
    for (const Delivery& d : store_.due(config.name, unix_now_s(), 64)) {
      {
        std::lock_guard guard(lock_);
        if (stop_) return;
      }
      try {
        sender->send(d);
        store_.delivered(d.event, config.name);
        const double frame_s = nlohmann::json::parse(d.body).value("frame_unix_s", 0.0);
        fmt::print(stderr, "event {} -> {}: confirmed {:.0f} ms after its frame\n", d.event, config.name, (unix_now_s() - frame_s) * 1e3);
      } catch (const Error& e) {
        const bool last = d.attempts + 1 >= config.attempts;
        const double wait = config.first_wait_s * std::pow(2.0, std::min(d.attempts, 12));
        spdlog::warn("action {}: event {}: {} ({})", config.name, d.event, e.what(),
                     last ? fmt::format("given up after {} attempts", config.attempts) : fmt::format("again in {:.1f} s", wait));
        store_.failed(d.event, config.name, unix_now_s() + wait, last);
      }
    }
    std::unique_lock guard(lock_);
    changed_.wait_for(guard, std::chrono::milliseconds(200), [&] { return stop_ || news_ != seen; });
    seen = news_;
    if (stop_) return;
  }
}

bool Actions::flush(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(int64_t(seconds * 1000));
  wake();
  while (store_.counts().pending > 0) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

}  // namespace vl8::watch
