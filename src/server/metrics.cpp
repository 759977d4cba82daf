#include "server/metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace vl8 {
namespace {

class Page {
 public:
  explicit Page(const std::string& model) {
    for (char c : model) label_ += c == '"' || c == '\\' ? std::string("\\") + c : c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  void head(const char* name, const char* type, const char* help) { add("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type); }
  void value(const char* name, double v, const std::string& labels = {}) {
    add("{}{{model_name=\"{}\"{}{}}} {}\n", name, label_, labels.empty() ? "" : ",", labels, number(v));
  }
  void gauge(const char* name, const char* help, double v) { head(name, "gauge", help), value(name, v); }
  void counter(const char* name, const char* help, double v) { head(name, "counter", help), value(name, v); }
  void histogram(const std::string& name, const char* help, const Histogram& h) {
    head(name.c_str(), "histogram", help);
    int64_t sum = 0;
    for (size_t i = 0; i < h.counts().size(); ++i) {
      sum += h.counts()[i];
      value((name + "_bucket").c_str(), double(sum), fmt::format("le=\"{}\"", i < h.bounds().size() ? number(h.bounds()[i]) : "+Inf"));
    }
    value((name + "_sum").c_str(), h.sum());
    value((name + "_count").c_str(), double(h.count()));
  }
  std::string text;

 private:
  template <typename... A>
  void add(fmt::format_string<A...> f, A&&... a) {
    fmt::format_to(std::back_inserter(text), f, std::forward<A>(a)...);
  }
  static std::string number(double v) { return v == double(int64_t(v)) && std::abs(v) < 1e15 ? fmt::format("{}", int64_t(v)) : fmt::format("{}", v); }
  std::string label_;
};

double resident_bytes() {
  long pages = 0, resident = 0;
  if (std::FILE* f = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(f, "%ld %ld", &pages, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  return double(resident) * double(sysconf(_SC_PAGESIZE));
}

void engine_part(Page& p, const ServiceStats& s) {
  p.gauge("vllm:num_requests_running", "Requests whose tokens are being computed.", double(s.running));
  p.gauge("vllm:num_requests_waiting", "Requests waiting for their first step.", double(s.waiting));
  p.gauge("vllm:kv_cache_usage_perc", "Share of the key/value pages held by running requests, 0 to 1.", s.kv_pages ? double(s.kv_pages_used) / double(s.kv_pages) : 0);
  p.counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", double(s.prompt_tokens));
  p.counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", double(s.cached_tokens));
  p.counter("vllm:mm_cache_queries_total", "Pictures and clips looked up in the cache of vision features.", double(s.vision_hits + s.vision_misses));
  p.counter("vllm:mm_cache_hits_total", "Pictures and clips found in the cache of vision features.", double(s.vision_hits));
  p.counter("vllm:num_preemptions_total", "Times a request gave its pages up and was computed again.", double(s.preemptions));
  p.counter("vllm:prompt_tokens_total", "Tokens of prompts.", double(s.prompt_tokens));
  p.counter("vllm:generation_tokens_total", "Tokens of answers.", double(s.answer_tokens));
  p.histogram("vllm:time_to_first_token_seconds", "From submission to the first token.", s.first_token_s);
  p.histogram("vllm:inter_token_latency_seconds", "Between consecutive tokens of one answer.", s.inter_token_s);
  p.histogram("vllm:e2e_request_latency_seconds", "From submission to the last token.", s.request_s);
  p.histogram("vllm:request_queue_time_seconds", "From submission to the first step.", s.queue_s);
  p.histogram("vllm:iteration_tokens_total", "Tokens of one step.", s.step_tokens);
  p.histogram("vl8_step_seconds", "Duration of one step of the engine.", s.step_s);
  p.histogram("vl8_step_sequences", "Requests that share one step.", s.step_sequences);
  p.gauge("vl8_inter_token_worst_seconds", "Longest time between two tokens of one answer since the start.", s.inter_token_s.worst());
  p.gauge("vl8_kv_pages", "Pages of the key/value cache.", double(s.kv_pages));
  p.gauge("vl8_kv_pages_cached", "Pages kept for later requests with the same beginning.", double(s.kv_pages_cached));
  p.counter("vl8_visual_tokens_total", "Tokens of pictures and clips in prompts.", double(s.visual_tokens));
  p.gauge("vl8_vision_cache_bytes", "Vision features kept for pictures seen before.", double(s.vision_cache_bytes));
  p.counter("vl8_requests_refused_total", "Requests refused because the queue was full.", double(s.refused));
}

void server_part(Page& p, const MetricsSources& m) {
  p.head("vllm:request_success_total", "counter", "Finished requests by reason.");
  for (size_t i = 0; i < m.server.finished.size(); ++i) {
    const std::string_view name = Finish(i) == Finish::cancelled ? "abort" : finish_name(Finish(i));
    p.value("vllm:request_success_total", double(m.server.finished[i]), fmt::format("finished_reason=\"{}\"", name));
  }
  p.head("vl8_http_responses_total", "counter", "HTTP answers by class of status.");
  for (size_t i = 1; i < m.server.responses.size(); ++i) p.value("vl8_http_responses_total", double(m.server.responses[i]), fmt::format("status=\"{}xx\"", i));
  p.gauge("vl8_http_connections", "Open connections.", double(m.http.connections));
  p.counter("vl8_http_connections_total", "Connections accepted.", double(m.http.accepted));
  p.counter("vl8_http_connections_refused_total", "Connections closed at once: too many were open.", double(m.http.refused));
  p.counter("vl8_http_bad_requests_total", "Connections whose bytes were not HTTP.", double(m.http.bad_requests));
  p.counter("vl8_http_timeouts_total", "Connections closed because the client was too slow.", double(m.http.timeouts));
  p.counter("vl8_http_abandoned_total", "Requests whose client went away before the end.", double(m.http.abandoned));
  p.gauge("vl8_http_inflight_bytes", "Request bodies in memory.", double(m.http.inflight_bytes));
  p.counter("vl8_images_total", "Pictures in requests.", double(m.server.images));
  p.counter("vl8_image_pixels_total", "Pixels of these pictures as given.", double(m.server.image_pixels));
  p.counter("vl8_videos_total", "Clips in requests.", double(m.server.videos));
  p.counter("vl8_remote_media_total", "Pictures and clips fetched from other hosts.", double(m.server.remote_media));
  p.counter("vl8_decoded_images_total", "Pictures decoded.", double(m.decoders.decoded));
  p.counter("vl8_decode_refused_total", "Pictures whose bytes were refused.", double(m.decoders.refused));
  p.counter("vl8_decoders_lost_total", "Decoder processes that died or took too long.", double(m.decoders.lost));
  p.counter("vl8_tool_calls_total", "Calls of functions in answers.", double(m.server.tool_calls));
  p.counter("vl8_streams_total", "Answers sent as event streams.", double(m.server.streams));
  p.gauge("vl8_ready", "1 while requests are accepted.", m.ready);
  p.text += fmt::format("# HELP process_resident_memory_bytes Resident memory.\n# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}\n", int64_t(resident_bytes()));
}

}  // namespace

std::string metrics_text(const MetricsSources& m) {
  Page p(m.model);
  engine_part(p, m.service);
  server_part(p, m);
  return std::move(p.text);
}

}  // namespace vl8
