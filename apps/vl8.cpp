// vl8: one program, a table of subcommands. Results go to stdout, everything else to stderr.
#include <cstdio>
#include <iterator>

#include "command.h"
#include "core/env.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "media/worker.h"

namespace vl8 {
namespace {

struct Row {
  const char* name;
  const char* help;
  CommandBody (*setup)(CLI::App&);
};
constexpr Row kCommands[] = {
    {"run", "ask one question about pictures, frames or text", setup_run},
    {"chat", "talk to a model in the terminal", setup_chat},
    {"inspect", "what is in a model folder and what it will need", setup_inspect},
    {"serve", "HTTP server with the APIs of OpenAI and Anthropic", setup_serve},
    {"bench", "measure decode, prefill and vision against this machine's ceilings", setup_bench},
    {"watch", "watch cameras, videos and folders; report what the model sees", setup_watch},
    {"eval", "score a model on a suite of questions", setup_eval},
    {"quantize", "write an FP8 copy of a model", setup_quantize},
    {"dump", "tokens, prompts, pixels and logits, for comparison with other programs", setup_dump},
};

void print_env() {
  fmt::print("Environment switches of vl8:\n");
  for (const EnvSwitch& s : env_switches()) fmt::print("  {:<12} {}\n               {}\n", s.name, s.values, s.help);
}

int exit_code(const Error& e) {
  return e.kind() == ErrorKind::usage ? 2 : e.kind() == ErrorKind::cancelled ? 130 : 1;
}

int run(int argc, char** argv) {
  CLI::App app("vl8 " VL8_VERSION " - Qwen3-VL vision-language models in FP8, on the hardware you have", "vl8");
  app.set_version_flag("--version", VL8_VERSION);
  app.add_flag_callback("--help-env", [] {
    print_env();
    throw CLI::Success();
  }, "list the environment switches");
  app.require_subcommand(1);
  app.footer("vl8 COMMAND --help shows a command's options and examples.");
  app.get_formatter()->column_width(34);
  CommandBody bodies[std::size(kCommands)];
  CLI::App* subs[std::size(kCommands)];
  for (size_t i = 0; i < std::size(kCommands); ++i) {
    subs[i] = app.add_subcommand(kCommands[i].name, kCommands[i].help);
    bodies[i] = kCommands[i].setup(*subs[i]);
  }
  if (argc > 1 && argv[1][0] != '-') {
    std::string names;
    bool known = false;
    for (const Row& r : kCommands) {
      names += std::string(names.empty() ? "" : ", ") + r.name;
      known |= std::string_view(argv[1]) == r.name;
    }
    if (!known) fail_usage("unknown command '{}'; there are {}", argv[1], names);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  for (size_t i = 0; i < std::size(kCommands); ++i)
    if (subs[i]->parsed()) return bodies[i]();
  return 2;
}

}  // namespace
}  // namespace vl8

int main(int argc, char** argv) {
  using namespace vl8;
  if (is_media_worker(argc, argv)) return media_worker_main(argv);
  try {
    init_log();
    install_interrupt_handler();
    return run(argc, argv);
  } catch (const Error& e) {
    fmt::print(stderr, "vl8: {}{}\n", e.kind() == ErrorKind::internal ? "internal error, please report: " : "", e.what());
    return exit_code(e);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "vl8: out of memory\n");
  } catch (const std::exception& e) {
    fmt::print(stderr, "vl8: internal error, please report: {}\n", e.what());
  }
  return 1;
}
