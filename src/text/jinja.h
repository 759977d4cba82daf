// A small Jinja interpreter for chat templates. The language is that of Jinja2 3.1 as transformers sets it
// up: trim_blocks and lstrip_blocks on, undefined names are empty, `tojson` is plain JSON (spec section 4),
// break and continue, raise_exception, strftime_now, and {% generation %}. Left out, with a clear error:
// include, import, extends and block (a template is one file), and filters that no chat template needs.
//
// Templates are not trusted: source size, nesting, steps, bytes held and bytes written are limited.
#pragma once
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "text/jinja_value.h"
#include "text/marked_text.h"

namespace vl8 {

struct JinjaLimits {
  size_t steps = 20'000'000;          // expressions, statements and container elements handled; about 1 s
  size_t output_bytes = 64u << 20;    // of the rendered text, and of any one string
  size_t allocated_bytes = 1u << 30;  // strings and containers made during one rendering, together
  int depth = 400;                    // nested statements, expressions and macro calls while running
};
constexpr size_t kMaxTemplateBytes = 1 << 20;
constexpr int kMaxTemplateNesting = 200;  // of statements and expressions in the source

class JinjaTemplate {
 public:
  // Throws Error(input): "origin:line: what is wrong".
  static JinjaTemplate parse(std::string_view source, const std::string& origin);

  JinjaTemplate(JinjaTemplate&&) noexcept;
  JinjaTemplate& operator=(JinjaTemplate&&) noexcept;
  ~JinjaTemplate();

  // `variables`: name -> value; `now` for strftime_now. Thread-safe as long as the values are not shared.
  MarkedText render(const JinjaDict& variables, std::optional<std::time_t> now = std::nullopt,
                    const JinjaLimits& limits = {}) const;

 private:
  struct State;
  explicit JinjaTemplate(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vl8
