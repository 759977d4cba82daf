// What the parsers of the APIs share: content parts, sampling, tools, output formats, media options.
#pragma once
#include "server/api_request.h"

namespace vl8 {

void read_model(const Fields& body, const ParseContext& context, ApiRequest& r);    // 404 for a name that is not served
void read_sampling(const Fields& body, const ParseContext& context, ApiRequest& r); // temperature .. seed, penalties, bias
void read_stops(const Fields& body, std::string_view key, const ParseContext& context, ApiRequest& r);
void read_max_tokens(const Fields& body, std::initializer_list<std::string_view> keys, const ParseContext& context, ApiRequest& r);
void read_media_options(const Fields& body, ApiRequest& r);  // mm_processor_kwargs, min_pixels .. fps, boxes
void read_scheduling(const Fields& body, ApiRequest& r);     // priority, timeout, cache_salt
void read_guided(const Fields& body, ApiRequest& r);         // guided_json, guided_regex, guided_choice, guided_grammar, structured_outputs
void read_reasoning(const Fields& body, ApiRequest& r);      // chat_template_kwargs, enable_thinking, budgets, effort

// {"type": "text" | "json_object" | "json_schema", ...}; `schema` is where the schema lies.
void read_format(const Fields& format, const Fields& schema, ApiRequest& r);

// A function's name, description and parameters, checked; as templates expect it.
Json function_tool(const Fields& function, std::string_view parameters_key);
void add_tool(ApiRequest& r, Json tool, const std::string& path, const ParseContext& context);
void choose_tool(ApiRequest& r, ToolMode mode, const std::string& name, const std::string& path);  // after all tools are added

// A placeholder for the template, and its source in r.media.
Json media_part(ApiRequest& r, MediaSource source, const ParseContext& context);
std::string read_detail(const Fields& part);

// Conversations that cannot be answered: none, too many, or one that nothing was asked in.
void check_messages(const Json& messages, const std::string& path, const ParseContext& context);
void finish_request(ApiRequest& r);  // combinations that exclude each other

}  // namespace vl8
