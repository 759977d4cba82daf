#define PCRE2_CODE_UNIT_WIDTH 8
#include "io/skip_list.h"

#include <pcre2.h>

#include "core/error.h"
#include "io/checkpoint.h"

namespace vl8 {

struct SkipList::Pattern {
  std::string text;
  pcre2_code* code = nullptr;
  pcre2_match_data* match = nullptr;
  pcre2_match_context* limits = nullptr;

  explicit Pattern(std::string pattern) : text(std::move(pattern)) {
    if (text.size() > 4096)
      fail_input("config.json: a skip-list pattern of {} bytes is too long", text.size());
    int error;
    size_t at;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), PCRE2_ANCHORED, &error, &at,
                         nullptr);
    if (!code)
      fail_input("config.json: the skip-list pattern \"re:{}\" is not a regular expression (at {})", text,
                 at);
    match = pcre2_match_data_create(1, nullptr);
    limits = pcre2_match_context_create(nullptr);
    if (match && limits) {
      pcre2_set_match_limit(limits, 100'000);  // names are short; only a hostile pattern needs more
      pcre2_set_heap_limit(limits, 4096);      // KiB
      return;
    }
    free_all();
    fail(ErrorKind::resource, "no memory for a regular expression");
  }
  ~Pattern() { free_all(); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  bool matches(const std::string& name) const {
    int rc = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0, 0, match, limits);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
      fail_input("config.json: the skip-list pattern \"re:{}\" takes too long on {}", text, name);
    return rc >= 0;
  }

 private:
  void free_all() {
    pcre2_code_free(code);
    pcre2_match_data_free(match);
    pcre2_match_context_free(limits);
  }
};

SkipList::SkipList(const QuantConfig& config) {
  for (const std::string& entry : config.skipped) {
    if (entry.starts_with("re:"))
      patterns_.push_back(std::make_unique<Pattern>(entry.substr(3)));
    else
      names_.push_back(canonical_name(entry));
  }
}
SkipList::~SkipList() = default;

bool SkipList::contains(std::string_view module) const {
  for (const std::string& name : names_) {
    if (name.empty() || module.size() < name.size()) continue;
    if (module == name) return true;
    if (module.starts_with(name) && module[name.size()] == '.') return true;
    if (module.ends_with(name) && module[module.size() - name.size() - 1] == '.') return true;
  }
  for (const auto& pattern : patterns_) {
    std::string plain(module);
    if (pattern->matches(plain) || pattern->matches("model." + plain)) return true;
  }
  return false;
}

}  // namespace vl8
