#include "answer_view.h"

#include <unistd.h>

#include <cstdio>

#include "media/boxes.h"

namespace vl8 {

TerminalStream::TerminalStream(ThinkingView thinking) : view_(thinking), colour_(isatty(1)) {}
TerminalStream::~TerminalStream() {
  if (dimmed_) std::fputs("\033[0m", stdout);
}

void TerminalStream::write(const AnswerDelta& d) {
  if (!d.reasoning.empty() && view_ != ThinkingView::hide) {
    if (view_ == ThinkingView::dim && colour_ && !dimmed_) std::fputs("\033[2m", stdout), dimmed_ = true;
    std::fwrite(d.reasoning.data(), 1, d.reasoning.size(), stdout);
    wrote_ = true;
    newline_ = d.reasoning.back() == '\n';
  }
  if (!d.text.empty()) {
    if (dimmed_) std::fputs("\033[0m", stdout), dimmed_ = false;
    if (wrote_ && view_ != ThinkingView::hide && !text_) std::fputs(newline_ ? "\n" : "\n\n", stdout);
    text_ = true;
    std::fwrite(d.text.data(), 1, d.text.size(), stdout);
    newline_ = d.text.back() == '\n';
  }
  std::fflush(stdout);
}

void TerminalStream::finish() {
  if (dimmed_) std::fputs("\033[0m", stdout), dimmed_ = false;
  if (!newline_) std::fputs("\n", stdout);
  std::fflush(stdout);
}

namespace {

nlohmann::ordered_json marks_in_pixels(const Answer& a) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  if (a.image_sizes.empty()) return list;
  for (const Mark& m : parse_marks(a.text)) {
    Mark p = square_to_pixels(m, a.image_sizes[0]);
    nlohmann::ordered_json one;
    if (p.is_point) one["point"] = {std::lround(p.x1), std::lround(p.y1)};
    else one["box"] = {std::lround(p.x1), std::lround(p.y1), std::lround(p.x2), std::lround(p.y2)};
    one["label"] = p.label;
    list.push_back(one);
  }
  return list;
}

nlohmann::ordered_json logprobs_json(const Engine& e, const Answer& a) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const SampledToken& t : a.tokens) {
    nlohmann::ordered_json top = nlohmann::ordered_json::array();
    for (const TokenLogprob& p : t.top)
      top.push_back({{"token", e.tokenizer().decode(std::span(&p.token, 1))}, {"id", p.token}, {"logprob", p.logprob}});
    list.push_back({{"token", e.tokenizer().decode(std::span(&t.token, 1))}, {"id", t.token}, {"logprob", t.logprob}, {"top", top}});
  }
  return list;
}

double tokens_per_second(const Answer& a) {
  return a.tokens.size() > 1 && a.times.decode_ms > 0 ? double(a.tokens.size() - 1) * 1000 / a.times.decode_ms : 0;
}
double round1(double v) { return std::round(v * 10) / 10; }

}  // namespace

std::string boxes_in_pixels(const Answer& a) {
  if (a.image_sizes.empty()) return a.text;
  std::vector<Mark> marks = parse_marks(a.text);
  for (Mark& m : marks) m = square_to_pixels(m, a.image_sizes[0]);
  return marks.empty() ? a.text : marks_json(marks);
}

nlohmann::ordered_json answer_json(const Engine& e, const Answer& a, bool boxes) {
  nlohmann::ordered_json j;
  j["text"] = a.text;
  if (!a.reasoning.empty()) j["reasoning"] = a.reasoning;
  if (boxes) j["boxes"] = marks_in_pixels(a);
  j["finish_reason"] = finish_name(a.finish);
  j["usage"] = {{"prompt_tokens", a.prompt_tokens}, {"visual_tokens", a.visual_tokens}, {"completion_tokens", a.tokens.size()}, {"activation", a.activation}};
  nlohmann::ordered_json images = nlohmann::ordered_json::array();
  for (size_t i = 0; i < a.image_sizes.size(); ++i)
    images.push_back({{"width", a.image_sizes[i].width}, {"height", a.image_sizes[i].height},
                      {"used_width", a.resized_sizes[i].width}, {"used_height", a.resized_sizes[i].height}});
  if (!images.empty()) j["images"] = images;
  if (!a.timestamps.empty()) j["video_timestamps"] = a.timestamps;
  if (!a.tokens.empty() && !a.tokens[0].top.empty()) j["logprobs"] = logprobs_json(e, a);
  j["timings"] = {{"load_ms", round1(e.load_ms())},        {"pixels_ms", round1(a.times.pixels_ms)},
                  {"vision_ms", round1(a.times.vision_ms)}, {"prefill_ms", round1(a.times.prefill_ms)},
                  {"first_token_ms", round1(a.times.first_token_ms)}, {"decode_ms", round1(a.times.decode_ms)},
                  {"tokens_per_s", round1(tokens_per_second(a))}};
  return j;
}

std::string answer_summary(const Engine& e, const Answer& a) {
  return fmt::format("{} prompt tokens ({} visual), {} answer tokens; load {:.2f} s, first token {:.2f} s (pixels {:.0f}, vision "
                     "{:.0f}, prefill {:.0f} ms), {:.1f} tokens/s, {}",
                     a.prompt_tokens, a.visual_tokens, a.tokens.size(), e.load_ms() / 1000, a.times.first_token_ms / 1000,
                     a.times.pixels_ms, a.times.vision_ms, a.times.prefill_ms, tokens_per_second(a), e.ops_name());
}

}  // namespace vl8
