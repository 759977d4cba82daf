#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <mutex>

#include "core/error.h"
#include "text/splitter.h"
#include "text/utf8.h"

namespace vl8 {
namespace {
constexpr uint32_t kMatchLimit = 20'000'000;  // backtracking steps of one match
constexpr size_t kStackBytes = 1 << 20;       // of the compiled matcher, for backtracking
constexpr size_t kMaxPatternBytes = 64 * 1024;

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

// \h is a hexadecimal digit in Oniguruma and a blank here; \R, \X, \K and friends have no counterpart there.
void refuse_foreign_escapes(const std::string& pattern, const std::string& where) {
  for (size_t i = 0; i + 1 < pattern.size(); ++i) {
    if (pattern[i] != '\\') continue;
    char c = pattern[++i];
    if (std::string_view("hHRXKCNOyY").find(c) != std::string_view::npos)
      fail(ErrorKind::unsupported, "{}: the split pattern uses \\{}, which vl8 does not do", where, c);
  }
}
}  // namespace

namespace {
// What one call of split needs; a match context must not be shared between threads.
struct Matching {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, kStackBytes, nullptr);
  pcre2_match_data* data;
  explicit Matching(const pcre2_code* code) : data(pcre2_match_data_create_from_pattern(code, nullptr)) {
    if (!context || !stack || !data) fail(ErrorKind::resource, "no memory for the split pattern");
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  Matching(const Matching&) = delete;
  ~Matching() {
    pcre2_match_data_free(data);
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
  }
};
}  // namespace

struct PcreSplitter::Code {
  pcre2_code* code = nullptr;
  std::mutex mutex;
  std::vector<std::unique_ptr<Matching>> idle;  // one for each call in flight, kept for the next one
  ~Code() {
    idle.clear();
    pcre2_code_free(code);
  }
  std::unique_ptr<Matching> take() {
    std::lock_guard lock(mutex);
    if (idle.empty()) return std::make_unique<Matching>(code);
    auto m = std::move(idle.back());
    idle.pop_back();
    return m;
  }
  void give(std::unique_ptr<Matching> m) {
    std::lock_guard lock(mutex);
    idle.push_back(std::move(m));
  }
};

PcreSplitter::PcreSplitter(const std::string& pattern, bool literal, const std::string& where)
    : code_(std::make_unique<Code>()) {
  if (pattern.empty() || pattern.size() > kMaxPatternBytes)
    fail_input("{}: a split pattern of {} bytes; 1 to {} are accepted", where, pattern.size(),
               kMaxPatternBytes);
  if (!literal) refuse_foreign_escapes(pattern, where);
  // Ruby's ^ and $ match at every line, hence MULTILINE.
  uint32_t options =
      PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error,
                              &offset, nullptr);
  if (!code_->code)
    fail(ErrorKind::unsupported, "{}: cannot read the split pattern at byte {}: {}", where, offset,
         message_of(error));
  // Without JIT (a system that forbids executable pages) matching is interpreted: slower, same result.
  pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);
}
PcreSplitter::PcreSplitter(PcreSplitter&&) noexcept = default;
PcreSplitter::~PcreSplitter() = default;

void PcreSplitter::split(std::string_view text, std::vector<std::string_view>& pieces) const {
  auto m = code_->take();
  auto put = [&](size_t begin, size_t end) {
    if (begin < end) pieces.push_back(text.substr(begin, end - begin));
  };
  size_t done = 0;  // everything before it is in a piece
  size_t from = 0;
  while (from < text.size()) {
    int rc = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                         PCRE2_NO_UTF_CHECK, m->data, m->context);
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) fail_input("the tokenizer's split pattern failed on this text: {}", message_of(rc));
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(m->data);
    if (range[1] > range[0]) {
      put(done, range[0]);
      put(range[0], range[1]);
      done = from = range[1];
    } else {  // an empty match makes no piece; go on after the next character
      if (range[0] >= text.size()) break;
      from = range[0] + decode_valid(text.data() + range[0]).bytes;
    }
  }
  put(done, text.size());
  code_->give(std::move(m));
}

}  // namespace vl8
