// The server: routes, admission, signals, logs. `vl8 serve` makes one and runs it.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "server/server_state.h"

namespace vl8 {

class ApiServer {
 public:
  struct Options {
    ServerConfig config;
    std::string folder_name;                     // of the model, where the configuration has no other name
    std::function<ServerConfig()> load_config;   // SIGHUP: the configuration as it would be read now; null: no reload
    bool handle_signals = true;
  };
  // Opens the port; requests are answered from run() on.
  ApiServer(std::unique_ptr<Service> service, Options options);
  ~ApiServer();

  int port() const;
  void run();       // until stop(), or SIGTERM and the end of running answers
  void shutdown();  // from any thread: what SIGTERM does
  void stop();      // from any thread: at once
  ServerState& state();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vl8
