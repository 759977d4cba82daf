// vl8 chat: a conversation in the terminal. Lines that begin with / are commands.
#include <cstdio>
#include <iostream>
#include <unistd.h>

#include "answer_view.h"
#include "core/interrupt.h"
#include "options.h"

namespace vl8 {
namespace {
using Json = nlohmann::ordered_json;

struct ChatCommandOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string system;
  bool think = false;
};

class Chat {
 public:
  Chat(Engine& engine, const ChatCommandOptions& o) : engine_(engine), o_(o), terminal_(isatty(0)) { clear(); }

  int loop() {
    if (terminal_) fmt::print("Type a question, or /help. Ctrl-D ends.\n");
    std::string line;
    while (read_line(line)) {
      try {
        if (line.empty()) continue;
        if (line[0] == '/') {
          if (!command(line)) break;
        } else {
          ask(line);
        }
      } catch (const Error& e) {
        if (e.kind() == ErrorKind::internal) throw;
        fmt::print(stderr, "{}\n", e.what());
      }
    }
    if (terminal_) fmt::print("\n");
    return 0;
  }

 private:
  bool read_line(std::string& line) {
    if (terminal_) fmt::print("{}> ", pending_.empty() ? "" : fmt::format("[{} picture{}] ", pending_.size(), pending_.size() > 1 ? "s" : ""));
    std::fflush(stdout);
    return !interrupted() && bool(std::getline(std::cin, line));
  }

  void clear() {
    messages_ = Json::array();
    if (!o_.system.empty()) messages_.push_back({{"role", "system"}, {"content", o_.system}});
    images_.clear(), videos_.clear(), pending_.clear();
  }

  bool command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space), argument = space == std::string::npos ? "" : line.substr(line.find_first_not_of(' ', space));
    if (name == "/quit" || name == "/exit") return false;
    if (name == "/help") print_help();
    else if (name == "/clear") clear(), fmt::print("(new conversation)\n");
    else if (name == "/image" || name == "/video") attach(name == "/video", argument);
    else if (name == "/stats") fmt::print("{}\n", summary_.empty() ? "nothing has been asked yet" : summary_);
    else fail_usage("unknown command {}; /help lists them", name);
    return true;
  }

  static void print_help() {
    fmt::print("  /image FILE    attach a picture to the next question\n"
               "  /video FOLDER  attach a folder of frames\n"
               "  /clear         forget the conversation\n"
               "  /stats         tokens and times of the last answer\n"
               "  /quit          end (or Ctrl-D); Ctrl-C stops an answer\n");
  }

  void attach(bool video, const std::string& path) {
    if (path.empty()) fail_usage("say which: {}", video ? "/video FOLDER" : "/image FILE");
    if (video) {
      videos_.push_back(std::make_shared<FolderFrames>(path));
    } else {
      images_.push_back({read_image_file(path), path});
      probe_image(std::as_bytes(std::span(images_.back().bytes)), path);  // refuse it now, not with the question
    }
    pending_.push_back(video);
  }

  void ask(const std::string& text) {
    Json content = Json::array();
    for (bool video : pending_) content.push_back({{"type", video ? "video" : "image"}});
    content.push_back({{"type", "text"}, {"text", text}});
    messages_.push_back({{"role", "user"}, {"content", content}});
    ChatRequest r;
    r.messages = messages_;
    r.images = images_, r.videos = videos_;
    r.sampling = o_.sampling.resolve(engine_.generation().sampling);
    r.stops = o_.sampling.stops, r.max_tokens = o_.sampling.max_tokens;
    if (o_.think) r.template_options.extra = {{"enable_thinking", true}};
    TerminalStream stream(ThinkingView::dim);
    Answer a;
    try {
      a = engine_.chat(r, [&](const AnswerDelta& d) {
        stream.write(d);
        return !interrupted();
      });
    } catch (...) {
      messages_.erase(messages_.size() - 1);  // the question is not part of the conversation
      throw;
    }
    stream.finish();
    if (a.finish == Finish::cancelled) clear_interrupt(), fmt::print("(stopped)\n");
    messages_.push_back({{"role", "assistant"}, {"content", a.text}});
    pending_.clear();
    summary_ = answer_summary(engine_, a);
  }

  Engine& engine_;
  const ChatCommandOptions& o_;
  bool terminal_;
  Json messages_;
  std::vector<EncodedImage> images_;
  std::vector<std::shared_ptr<FrameSource>> videos_;
  std::vector<bool> pending_;  // attachments of the next question: true for a clip
  std::string summary_;
};

}  // namespace

CommandBody setup_chat(CLI::App& app) {
  auto o = std::make_shared<ChatCommandOptions>();
  app.add_option("-s,--system", o->system, "system prompt");
  app.add_flag("--think", o->think, "let the model reason first, where its template offers it");
  o->sampling.add_to(app);
  o->model.add_to(app);
  app.footer("Example:\n  vl8 chat -m Qwen3-VL-4B-Instruct-FP8\n  > /image photo.jpg\n  > What is wrong here?");
  return [o] {
    auto engine = Engine::load(o->model.folder(), o->model.engine());
    return Chat(*engine, *o).loop();
  };
}

}  // namespace vl8
