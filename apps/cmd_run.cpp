// vl8 run: one question, one answer.
#include <iostream>
#include <iterator>
#include <unistd.h>

#include "answer_view.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "media/draw.h"
#include "options.h"
#include "structured_options.h"

namespace vl8 {
namespace {

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  MediaOptions media;
  StructuredOptions structured;
  std::string prompt, system, tools_file, thinking_view = "dim", draw, boxes = "square", dialect = "trained";
  bool json = false, think = false, no_think = false, verbose = false, vision_id = false;
};

nlohmann::ordered_json read_tools(const std::string& path) {
  if (path.empty()) return nullptr;
  auto j = nlohmann::ordered_json::parse(read_file(path, 16 << 20), nullptr, false);
  if (!j.is_array()) fail_input("{}: tools must be a JSON list of functions", path);
  return j;
}

std::string read_prompt(const RunOptions& o) {
  if (o.prompt != "-") return o.prompt;
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

ChatRequest make_request(const RunOptions& o, const Engine& engine) {
  ChatRequest r;
  o.media.fill(r);
  r.messages = nlohmann::ordered_json::array();
  if (!o.system.empty()) r.messages.push_back({{"role", "system"}, {"content", o.system}});
  r.messages.push_back(user_message(r.images.size(), r.videos.size(), read_prompt(o)));
  r.tools = read_tools(o.tools_file);
  r.template_options.add_vision_id = o.vision_id;
  if (o.think || o.no_think) r.template_options.extra = {{"enable_thinking", o.think}};
  r.dialect = o.dialect == "trained" ? VideoDialect::replace_triple : VideoDialect::keep_outer_pair;
  r.sampling = o.sampling.resolve(engine.generation().sampling);
  r.stops = o.sampling.stops;
  r.max_tokens = o.sampling.max_tokens;
  r.structure = o.structured.compile(engine.tokenizer());
  return r;
}

void draw_answer(const RunOptions& o, const Answer& a) {
  if (o.media.images.empty()) fail_usage("--draw needs a picture (--image)");
  Image picture = load_image(o.media.images[0]);
  std::vector<Mark> marks;
  for (const Mark& m : parse_marks(a.text)) marks.push_back(square_to_pixels(m, {picture.width, picture.height}));
  draw_boxes(picture, marks);
  write_png(o.draw, picture);
  fmt::print(stderr, "{} box{} drawn into {}\n", marks.size(), marks.size() == 1 ? "" : "es", o.draw);
}

int run(const RunOptions& o) {
  if (!o.draw.empty() && o.media.images.empty()) fail_usage("--draw needs a picture (--image)");
  auto engine = Engine::load(o.model.folder(), o.model.engine());
  ChatRequest request = make_request(o, *engine);
  ThinkingView view = o.thinking_view == "hide" ? ThinkingView::hide : o.thinking_view == "plain" ? ThinkingView::plain : ThinkingView::dim;
  TerminalStream stream(view);
  const bool pixels = o.boxes == "pixels";
  Answer answer = engine->chat(request, [&](const AnswerDelta& d) {
    if (!o.json && !pixels) stream.write(d);
    return !interrupted();
  });
  if (o.json) {
    fmt::print("{}\n", answer_json(*engine, answer, pixels || !o.draw.empty()).dump());
  } else {
    if (pixels) stream.write({answer.reasoning, boxes_in_pixels(answer)});
    stream.finish();
  }
  if (!o.draw.empty()) draw_answer(o, answer);
  if (o.verbose) fmt::print(stderr, "{}\n", answer_summary(*engine, answer));
  if (answer.finish == Finish::cancelled) throw Error(ErrorKind::cancelled, "stopped by the user");
  if (answer.finish == Finish::length && !o.json)
    fmt::print(stderr, "(cut off at {} tokens; --max-tokens raises it)\n", answer.tokens.size());
  return 0;
}

}  // namespace

CommandBody setup_run(CLI::App& app) {
  auto o = std::make_shared<RunOptions>();
  app.add_option("prompt", o->prompt, "the question; - reads it from standard input")->required();
  o->media.add_to(app);
  app.add_option("-s,--system", o->system, "system prompt");
  app.add_option("--tools", o->tools_file, "JSON file with a list of functions the model may call");
  app.add_flag("--think", o->think, "let the model reason first, where its template offers it");
  app.add_flag("--no-think", o->no_think, "keep it from reasoning, where its template offers it")->excludes("--think");
  app.add_option("--thinking", o->thinking_view, "how reasoning is shown: dim, hide or plain")->check(CLI::IsMember({"dim", "hide", "plain"}))->capture_default_str();
  app.add_option("--boxes", o->boxes, "boxes in the answer: square (0..1000, as the model writes) or pixels of the first picture")->check(CLI::IsMember({"square", "pixels"}))->capture_default_str();
  app.add_option("--draw", o->draw, "draw the answer's boxes over the first picture into this PNG file");
  app.add_flag("--vision-id", o->vision_id, "number pictures and clips in the prompt (Picture 1: ...)");
  app.add_option("--video-dialect", o->dialect, "placeholders of clips: trained (as the official models) or outer-pair (as transformers 5.10 and later)")->check(CLI::IsMember({"trained", "outer-pair"}))->capture_default_str();
  app.add_flag("--json", o->json, "print one JSON object: text, usage, timings, boxes, logprobs");
  app.add_flag("--verbose", o->verbose, "print token counts and times to stderr");
  o->structured.add_to(app);
  o->sampling.add_to(app);
  o->model.add_to(app);
  app.footer(
      "Examples:\n"
      "  vl8 run --image block.png \"Which screw is missing?\" --draw marked.png\n"
      "  vl8 run -m Qwen3-VL-8B-Instruct-FP8 -i a.jpg -i b.jpg \"What changed?\" --max-tokens 200\n"
      "  vl8 run -i block.png --choice yes --choice no \"Is a screw missing?\"\n"
      "  vl8 run -i invoice.png --schema invoice.json \"Read the invoice.\" --json\n"
      "  vl8 run --video frames/ --source-fps 10 \"When does the lamp turn red?\" --json");
  return [o] { return run(*o); };
}

}  // namespace vl8
