// The workload of `vl8 bench serve`: which requests are sent when, drawn from a seed, and what came of them.
#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace vl8 {

struct LoadOptions {
  std::string host = "127.0.0.1", model = "default", api_key;
  int port = 8000;
  int64_t requests = 64;      // in all; with duration_s: at most
  double duration_s = 0;      // 0: until all requests are done
  int concurrency = 16;       // clients; each waits for its answer before it asks again
  double rate = 0;            // requests a second, Poisson; 0: as fast as the clients can
  int burst = 1;              // requests that arrive together
  int64_t prompt_words = 64, answer_tokens = 64;
  double shared_prefix = 0;   // share of requests that begin with one of four common system prompts
  int64_t prefix_words = 256;
  double images = 0;          // share of requests with a picture
  std::string image_size = "640x480";
  int image_pool = 8;         // different pictures
  double disconnect = 0;      // share of clients that leave in the middle of their answer
  double malformed = 0;       // share of requests that are broken on purpose
  uint64_t seed = 0;
};

// What is sent for request `index`; the same for the same options.
struct PlannedRequest {
  std::string body;
  double at_s = 0;           // not before this time
  bool malformed = false;
  double leave_after = -1;   // share of the answer after which the client disconnects; < 0: stays
};

class Workload {
 public:
  explicit Workload(const LoadOptions& options);
  PlannedRequest request(int64_t index) const;

 private:
  std::string malformed_body(uint64_t random) const;
  LoadOptions o_;
  std::vector<std::string> prefixes_, images_;
  std::vector<double> arrivals_;
};

// One request as the client saw it. Times in milliseconds.
struct RequestResult {
  bool ok = false, left = false, malformed = false;
  std::string error;                // why not ok
  int status = 0;
  double first_ms = 0, total_ms = 0;
  int64_t tokens = 0, prompt_tokens = 0;
  std::vector<float> gaps_ms;       // between events that carry text
};

struct LoadReport {
  std::vector<RequestResult> results;
  double wall_s = 0;
  nlohmann::ordered_json json() const;
  std::string text() const;
};

LoadReport run_load(const LoadOptions& options);

}  // namespace vl8
