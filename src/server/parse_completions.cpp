// /v1/completions and /v1/embeddings.
#include "server/parse_common.h"

namespace vl8 {
namespace {

std::vector<int32_t> read_ids(const Json& list, const std::string& path, const ParseContext& context) {
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  if (list.empty()) fail_field(path, "is empty");
  if (int64_t(list.size()) > context.model.context) fail_field(path, "has {} tokens; this model's context is {}", list.size(), context.model.context);
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_number_integer()) fail_field(at(path, i), "must be a token id");
    const int64_t id = list[i].get<int64_t>();
    if (id < 0 || id >= context.model.vocabulary) fail_field(at(path, i), "{} is not a token id (0 to {})", id, context.model.vocabulary - 1);
    ids.push_back(int32_t(id));
  }
  return ids;
}

void read_one(const Json& value, const std::string& path, ApiRequest& r, const ParseContext& context) {
  if (value.is_array()) {
    r.raw_ids = read_ids(value, path, context);
    return;
  }
  if (!value.is_string()) fail_field(path, "must be a string or an array of token ids, not {}", json_type(value));
  r.raw_prompt = value.get<std::string>();
  if (int64_t(r.raw_prompt->size()) > context.limits.max_prompt_chars) fail_field(path, "is longer than {} bytes", context.limits.max_prompt_chars);
  if (r.raw_prompt->empty()) fail_field(path, "is empty");
}

// A string, a list of strings, a list of ids or a list of those: one copy of `common` for each prompt.
std::vector<ApiRequest> each_prompt(const Json& value, const std::string& path, const ApiRequest& common, const ParseContext& context) {
  std::vector<ApiRequest> out;
  const bool many = value.is_array() && !value.empty() && !value[0].is_number();
  const size_t count = many ? value.size() : 1;
  if (int(count) > context.limits.max_prompts) fail_field(path, "at most {} inputs in one request, not {}", context.limits.max_prompts, count);
  for (size_t i = 0; i < count; ++i) {
    out.push_back(common);
    read_one(many ? value[i] : value, many ? at(path, i) : path, out.back(), context);
  }
  return out;
}

// vLLM's form for embeddings of pictures: a conversation instead of `input`.
ApiRequest conversation(const Json& json, const ParseContext& context) {
  Json chat = json;
  for (const char* key : {"input", "dimensions", "encoding_format"}) chat.erase(key);
  chat.erase("stream");
  ApiRequest r = parse_chat(chat, context);
  r.chat.template_options.add_generation_prompt = true;  // the state behind the question, as Qwen3-VL-Embedding does
  return r;
}

}  // namespace

std::vector<ApiRequest> parse_completions(const Json& json, const ParseContext& context) {
  Fields body(json, "");
  ApiRequest r;
  read_model(body, context, r);
  read_sampling(body, context, r);
  read_stops(body, "stop", context, r);
  read_max_tokens(body, {"max_tokens"}, context, r);
  if (!body.has("max_tokens") && context.limits.default_max_tokens == 0) r.chat.max_tokens = 16;  // the API's default
  read_scheduling(body, r);
  read_guided(body, r);
  if (auto format = body.object("response_format")) {
    format->need("type");
    read_format(*format, format->json()["type"] == "json_schema" ? format->need_object("json_schema") : *format, r);
  }
  if (auto n = body.integer("logprobs", 0, 20)) r.logprobs = true, r.chat.sampling.logprobs = int32_t(*n);
  r.n = int(body.integer("n", 1, context.limits.max_n).value_or(1));
  if (auto best = body.integer("best_of", 1, 128); best && *best != r.n) body.refuse("best_of", "is supported only where it equals n");
  r.echo = body.boolean("echo").value_or(false);
  if (r.echo && r.logprobs) fail_field("echo", "cannot be combined with logprobs: the prompt's log probabilities are not kept");
  if (auto suffix = body.string("suffix"); suffix && !suffix->empty()) body.refuse("suffix", "is not supported: this model was not trained to fill gaps");
  r.stream = body.boolean("stream").value_or(false);
  if (auto o = body.object("stream_options")) r.include_usage = o->boolean("include_usage").value_or(false);
  if (auto ignore = body.boolean("ignore_eos")) r.chat.ignore_end = *ignore;
  finish_request(r);
  return each_prompt(body.need("prompt"), "prompt", r, context);
}

EmbeddingsRequest parse_embeddings(const Json& json, const ParseContext& context) {
  Fields body(json, "");
  EmbeddingsRequest out;
  if (body.has("messages")) {
    if (body.has("input")) fail_field("messages", "and input exclude each other");
    out.inputs.push_back(conversation(json, context));
  } else {
    ApiRequest r;
    read_model(body, context, r);
    read_scheduling(body, r);
    out.inputs = each_prompt(body.need("input"), "input", r, context);
  }
  out.base64 = body.one_of("encoding_format", {"float", "base64"}).value_or("float") == "base64";
  out.dimensions = body.integer("dimensions", 1, 1 << 20).value_or(0);
  return out;
}

}  // namespace vl8
