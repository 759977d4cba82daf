#include "server/output_constraint.h"

namespace vl8 {

std::unique_ptr<TokenConstraint> make_constraint(const ApiRequest& r, ServerState&) {
  if (r.format.kind != AnswerFormat::Kind::text)
    throw ApiError(400, "invalid_request_error", r.format.param + ": structured output is not supported by this build", r.format.param, "unsupported");
  if (r.tools.mode == ToolMode::required || r.tools.mode == ToolMode::named)
    throw ApiError(400, "invalid_request_error", "tool_choice: forced calls are not supported by this build", "tool_choice", "unsupported");
  return nullptr;
}

}  // namespace vl8
