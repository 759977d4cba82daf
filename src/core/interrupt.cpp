#include "core/interrupt.h"

#include <csignal>
#include <unistd.h>

#include "core/error.h"

namespace vl8 {
namespace {
volatile std::sig_atomic_t g_interrupted = 0;
void on_signal(int) {
  if (g_interrupted) _exit(130);
  g_interrupted = 1;
}
}  // namespace

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = on_signal;  // no SA_RESTART: a read from the terminal returns
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}
bool interrupted() { return g_interrupted != 0; }
void clear_interrupt() { g_interrupted = 0; }
void throw_if_interrupted() {
  if (interrupted()) throw Error(ErrorKind::cancelled, "stopped by the user");
}
}  // namespace vl8
