#include "server/output_constraint.h"

namespace vl8 {
namespace {

OutputFormat output_format(const AnswerFormat& f) {
  using Kind = AnswerFormat::Kind;
  switch (f.kind) {
    case Kind::json_schema: return {OutputKind::json_schema, f.schema.dump()};
    case Kind::regex: return {OutputKind::regex, f.pattern};
    case Kind::grammar: return {OutputKind::grammar, f.pattern};
    case Kind::choice: return {OutputKind::choice, Json(f.choices).dump()};
    default: return {OutputKind::json_object, ""};
  }
}

// A fault of the schema, pattern or grammar is one of the request's field.
template <typename F>
std::unique_ptr<TokenConstraint> of_field(const std::string& field, F&& make) {
  try {
    return make();
  } catch (const ApiError&) {
    throw;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::input && e.kind() != ErrorKind::unsupported && e.kind() != ErrorKind::usage) throw;
    throw ApiError(400, "invalid_request_error", field + ": " + e.what(), field, e.kind() == ErrorKind::unsupported ? "unsupported" : "");
  }
}

}  // namespace

std::unique_ptr<TokenConstraint> make_constraint(const ApiRequest& r, ServerState& server) {
  const auto& ends = server.engine().generation().end_tokens;
  const bool forced = r.tools.mode == ToolMode::required || r.tools.mode == ToolMode::named;
  if (forced)
    return of_field("tools", [&] {
      return server.structured.compile(ToolCallFormat{r.tools.functions, r.tools.mode == ToolMode::named ? r.tools.name : "", r.tools.parallel})->start(ends);
    });
  if (r.format.kind == AnswerFormat::Kind::text) return nullptr;
  return of_field(r.format.param, [&] { return server.structured.compile(output_format(r.format))->start(ends); });
}

}  // namespace vl8
