// JSON bodies of every endpoint that generates: the first byte chooses the dialect.
#include "fuzz.h"
#include "server/api_error.h"
#include "server/api_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vl8;
  fuzz::Input in(data, size);
  const uint8_t dialect = in.byte();
  const auto body = Json::parse(in.rest(), nullptr, false);
  if (body.is_discarded()) return 0;
  static const RequestLimits limits;
  static const ModelFacts model;
  const ParseContext context{limits, model};
  try {
    return fuzz::answer([&] {
      switch (dialect % 5) {
        case 0: parse_chat(body, context); break;
        case 1: parse_anthropic(body, context); break;
        case 2: parse_responses(body, context); break;
        case 3: parse_completions(body, context); break;
        default: parse_embeddings(body, context);
      }
    });
  } catch (const ApiError&) {
    return 0;  // a refusal in the shape of the API
  }
}
