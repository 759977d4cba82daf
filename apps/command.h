// The subcommands of vl8: one row a command in vl8.cpp, one file a command.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

namespace vl8 {

// Adds options to `app` and returns what to run once they are parsed; its value is the exit code (0 ok, 1 failed, 2 wrong
// usage). Errors are thrown as Error and shown by main.
using CommandBody = std::function<int()>;
CommandBody setup_run(CLI::App& app);
CommandBody setup_chat(CLI::App& app);
CommandBody setup_inspect(CLI::App& app);
CommandBody setup_bench(CLI::App& app);
CommandBody setup_bench_serve(CLI::App& app);  // a subcommand of bench
CommandBody setup_dump(CLI::App& app);
CommandBody setup_eval(CLI::App& app);
CommandBody setup_quantize(CLI::App& app);
CommandBody setup_watch(CLI::App& app);
CommandBody setup_serve(CLI::App& app);

}  // namespace vl8
