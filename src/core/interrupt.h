// Ctrl-C: the first one asks the work to stop at the next good place, the second ends the process at once.
#pragma once

namespace vl8 {
void install_interrupt_handler();  // SIGINT and SIGTERM
bool interrupted();
void clear_interrupt();  // the stop has been dealt with; the next Ctrl-C asks again
void throw_if_interrupted();  // Error(cancelled)
}  // namespace vl8
