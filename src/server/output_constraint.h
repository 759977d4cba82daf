// From a request's output format and forced tools to what the engine constrains its answer with.
#pragma once
#include <memory>

#include "grammar/token_constraint.h"
#include "server/server_state.h"

namespace vl8 {

// Null where the answer is free text. Throws ApiError(400) naming the field where a schema or pattern cannot be used.
std::unique_ptr<TokenConstraint> make_constraint(const ApiRequest& request, ServerState& server);

}  // namespace vl8
