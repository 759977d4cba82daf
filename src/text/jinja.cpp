#include "text/jinja.h"

#include "text/jinja_ast.h"
#include "text/jinja_run.h"

namespace vl8 {

struct JinjaTemplate::State {
  std::string origin;
  JinjaBody body;
};

JinjaTemplate::JinjaTemplate(std::unique_ptr<State> state) : state_(std::move(state)) {}
JinjaTemplate::JinjaTemplate(JinjaTemplate&&) noexcept = default;
JinjaTemplate& JinjaTemplate::operator=(JinjaTemplate&&) noexcept = default;
JinjaTemplate::~JinjaTemplate() = default;

JinjaTemplate JinjaTemplate::parse(std::string_view source, const std::string& origin) {
  return JinjaTemplate(std::make_unique<State>(State{origin, parse_jinja(source, origin)}));
}

MarkedText JinjaTemplate::render(const JinjaDict& variables, std::optional<std::time_t> now,
                                 const JinjaLimits& limits) const {
  JinjaRun run(state_->origin, limits, now ? *now : std::time(nullptr));
  return run.render(state_->body, variables);
}

}  // namespace vl8
