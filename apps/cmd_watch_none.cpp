// In the place of cmd_watch.cpp where a library of vl8 watch was not there at configure time.
#include "command.h"
#include "core/error.h"

namespace vl8 {

CommandBody setup_watch(CLI::App& app) {
  app.allow_extras();
  return []() -> int {
    fail(ErrorKind::unsupported,
         "this vl8 was built without watch: install libsqlite3-dev, libcurl4-openssl-dev, libssl-dev, libmosquitto-dev and libtomlplusplus-dev, and build again");
  };
}

}  // namespace vl8
