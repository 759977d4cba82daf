// The skip list of a quantisation config, used to warn where it contradicts the tensors (spec 8.7).
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace vl8 {

// Is a module (canonical name, no `.weight`) on the list? An entry names the module, a module above it, or
// the end of its name, in any spelling; `re:` entries are regular expressions that match from the start of
// the stored name. A pattern that does not compile, or works too hard, is an Error(input).
class SkipList {
 public:
  explicit SkipList(const QuantConfig& config);
  ~SkipList();
  SkipList(const SkipList&) = delete;
  SkipList& operator=(const SkipList&) = delete;
  bool contains(std::string_view module) const;

 private:
  struct Pattern;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<Pattern>> patterns_;
};

}  // namespace vl8
