// Requests of every API: what is understood, and that each fault names its field.
#include <gtest/gtest.h>

#include "server/api_request.h"

namespace vl8 {
namespace {

struct Parsing : testing::Test {
  RequestLimits limits;
  ModelFacts model{{"nano"}, {}, 1000, 4096, true};
  ParseContext context() { return {limits, model}; }
  ApiRequest chat(const std::string& body) { return parse_chat(parse_json(body), context()); }

  template <typename F>
  ApiError fault(F&& f) {
    try {
      f();
    } catch (const ApiError& e) {
      return e;
    }
    ADD_FAILURE() << "was accepted";
    return ApiError(0, "", "");
  }
};

std::string dump_types(const ApiRequest& r) {
  std::string out;
  for (const Json& part : r.chat.messages.back()["content"]) out += (out.empty() ? "" : ",") + part["type"].get<std::string>();
  return out;
}

std::string with(const std::string& fields) { return R"({"messages":[{"role":"user","content":"hi"}],)" + fields + "}"; }

TEST_F(Parsing, ChatFieldsReachTheRequest) {
  ApiRequest r = chat(with(R"("model":"x","temperature":0.5,"top_p":0.9,"top_k":7,"min_p":0.1,"seed":42,"presence_penalty":1,"frequency_penalty":-1,
    "logit_bias":{"5":-100},"max_completion_tokens":9,"max_tokens":99,"stop":["a",""],"n":3,"logprobs":true,"top_logprobs":2,"stream":true,
    "stream_options":{"include_usage":true},"priority":-2,"timeout":1.5,"mm_processor_kwargs":{"min_pixels":1000,"max_pixels":2000,"fps":3},
    "boxes":"square","thinking_token_budget":100)"));
  EXPECT_EQ(r.model, "x");
  EXPECT_FLOAT_EQ(r.chat.sampling.temperature, 0.5f);
  EXPECT_EQ(r.chat.sampling.top_k, 7);
  EXPECT_EQ(r.chat.sampling.seed, 42u);
  EXPECT_EQ(r.chat.sampling.logit_bias.at(0), (std::pair<int32_t, float>(5, -100.f)));
  EXPECT_EQ(r.chat.max_tokens, 9);  // the newer name wins
  EXPECT_EQ(r.chat.stops, std::vector<std::string>{"a"});
  EXPECT_EQ(r.n, 3);
  EXPECT_TRUE(r.logprobs && r.stream && r.include_usage);
  EXPECT_EQ(r.chat.sampling.logprobs, 2);
  EXPECT_EQ(r.priority, -2);
  EXPECT_DOUBLE_EQ(r.timeout_s, 1.5);
  EXPECT_EQ(*r.chat.image_overrides.max_pixels, 2000);
  EXPECT_DOUBLE_EQ(*r.chat.video_overrides.fps, 3);
  EXPECT_EQ(r.reasoning.budget, 100);
}

TEST_F(Parsing, PartsBecomePlaceholdersInOrder) {
  ApiRequest r = chat(R"({"messages":[{"role":"developer","content":"s"},{"role":"user","content":[
    {"type":"image_url","image_url":{"url":"data:a","detail":"low"}},{"type":"text","text":"t"},{"type":"video_url","video_url":"data:b"},
    {"type":"input_image","image_url":"data:c"}]}]})");
  EXPECT_EQ(r.chat.messages[0]["role"], "system");
  ASSERT_EQ(r.media.size(), 3u);
  EXPECT_EQ(r.media[0].detail, "low");
  EXPECT_EQ(r.media[1].kind, MediaSource::Kind::video);
  EXPECT_EQ(r.media[2].url, "data:c");
  EXPECT_EQ(r.media[2].param, "messages[1].content[3].image_url");
  EXPECT_EQ(dump_types(r), "image,text,video,image");
}

TEST_F(Parsing, EveryFaultNamesItsField) {
  const std::pair<std::string, std::string> cases[] = {
      {R"({})", "messages"},
      {R"({"messages":3})", "messages"},
      {R"({"messages":[]})", "messages"},
      {R"({"messages":[3]})", "messages[0]"},
      {R"({"messages":[{"content":"x"}]})", "messages[0].role"},
      {R"({"messages":[{"role":"king","content":"x"}]})", "messages[0].role"},
      {R"({"messages":[{"role":"user"}]})", "messages[0].content"},
      {R"({"messages":[{"role":"user","content":[{"type":"smell"}]}]})", "messages[0].content[0].type"},
      {R"({"messages":[{"role":"user","content":[{"type":"input_audio"}]}]})", "messages[0].content[0].type"},
      {R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})", "messages[0].content[0].text"},
      {R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":5}}]}]})", "messages[0].content[0].image_url.url"},
      {R"({"messages":[{"role":"assistant"}]})", "messages[0].content"},
      {R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}]})", "messages[0].tool_calls[0].function.name"},
      {with(R"("temperature":3)"), "temperature"},
      {with(R"("temperature":"hot")"), "temperature"},
      {with(R"("top_p":1.1)"), "top_p"},
      {with(R"("n":0)"), "n"},
      {with(R"("n":17)"), "n"},
      {with(R"("max_tokens":0)"), "max_tokens"},
      {with(R"("max_tokens":1.5)"), "max_tokens"},
      {with(R"("stop":[1])"), "stop[0]"},
      {with(R"("stop":{})"), "stop"},
      {with(R"("logit_bias":{"x":1})"), "logit_bias"},
      {with(R"("logit_bias":{"1000":1})"), "logit_bias"},
      {with(R"("logit_bias":{"1":101})"), "logit_bias.1"},
      {with(R"("top_logprobs":2)"), "top_logprobs"},
      {with(R"("stream_options":{})"), "stream_options"},
      {with(R"("tools":[{"type":"function","function":{"name":"a b"}}])"), "tools[0].function.name"},
      {with(R"("tools":[{"type":"web_search"}])"), "tools[0].type"},
      {with(R"("tool_choice":"required")"), "tool_choice"},
      {with(R"("tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":{"type":"function","function":{"name":"b"}})"), "tool_choice.function.name"},
      {with(R"("response_format":{"type":"xml"})"), "response_format.type"},
      {with(R"("response_format":{"type":"json_schema"})"), "response_format.json_schema"},
      {with(R"("response_format":{"type":"json_schema","json_schema":{"schema":4}})"), "response_format.json_schema.schema"},
      {with(R"("guided_choice":[])"), "guided_choice"},
      {with(R"("guided_regex":"a","guided_choice":["b"])"), "guided_choice"},
      {with(R"("mm_processor_kwargs":{"min_pixels":9,"max_pixels":3})"), "mm_processor_kwargs.min_pixels"},
      {with(R"("mm_processor_kwargs":{"fps":0})"), "mm_processor_kwargs.fps"},
      {with(R"("boxes":"round")"), "boxes"},
      {with(R"("boxes":"pixels","boxes_image":1)"), "boxes_image"},
      {with(R"("chat_template_kwargs":{"messages":[]})"), "chat_template_kwargs.messages"},
      {with(R"("reasoning_effort":"huge")"), "reasoning_effort"},
      {with(R"("functions":[{"name":"f"}])"), "functions"},
      {with(R"("audio":{"voice":"x"})"), "audio"},
  };
  for (const auto& [body, field] : cases) {
    ApiError e = fault([&] { chat(body); });
    EXPECT_EQ(e.status, 400) << body;
    EXPECT_EQ(e.param, field) << body << " -> " << e.what();
  }
}

TEST_F(Parsing, LimitsAreKept) {
  limits.max_images = 1;
  limits.max_tokens = 10;
  EXPECT_EQ(fault([&] { chat(with(R"("max_tokens":11)")); }).param, "max_tokens");
  EXPECT_EQ(chat(with(R"("n":1)")).chat.max_tokens, 10);
  EXPECT_EQ(fault([&] { chat(R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":"data:a"},{"type":"image_url","image_url":"data:b"}]}]})"); }).param,
            "messages[0].content[1].image_url");
  model.any_name = false;
  ApiError e = fault([&] { chat(with(R"("model":"gpt")")); });
  EXPECT_EQ(e.status, 404);
  EXPECT_EQ(e.code, "model_not_found");
}

TEST_F(Parsing, MalformedJson) {
  for (const std::string& text : {std::string(""), std::string(" "), std::string("{"), std::string("{\"a\":}"), std::string("[1,2"), std::string("\xff\xfe"),
                                  std::string("{\"a\":\"\xc3\x28\"}"), std::string("nul"), std::string("{\"a\":1}x")}) {
    ApiError e = fault([&] { parse_json(text); });
    EXPECT_EQ(e.status, 400) << text;
    EXPECT_EQ(e.code, "invalid_json") << text;
  }
  EXPECT_EQ(fault([&] { parse_json(std::string(100000, '[')); }).code, "invalid_json");
  EXPECT_NE(std::string(fault([&] { parse_json(std::string(100, '[') + std::string(100, ']')); }).what()).find("nested"), std::string::npos);
  EXPECT_EQ(fault([&] { chat("[]"); }).code, "invalid_json");
  EXPECT_EQ(parse_json(R"({"a":123456789012345678901234567890})")["a"].is_number(), true);  // beyond 64 bits
}

TEST_F(Parsing, Anthropic) {
  ApiRequest r = parse_anthropic(parse_json(R"({"model":"c","max_tokens":5,"system":[{"type":"text","text":"a"},{"type":"text","text":"b"}],
    "messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}},{"type":"text","text":"x"}]},
      {"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"call"},{"type":"tool_use","id":"t1","name":"f","input":{"a":1}}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"42"},{"type":"text","text":"go"}]}],
    "tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"any","disable_parallel_tool_use":true},"stop_sequences":["z"]})"), context());
  const Json& m = r.chat.messages;
  ASSERT_EQ(m.size(), 5u);
  EXPECT_EQ(m[0]["content"], "a\n\nb");
  EXPECT_EQ(r.media.at(0).url, "data:image/png;base64,QUJD");
  EXPECT_EQ(m[2]["tool_calls"][0]["function"]["arguments"]["a"], 1);
  EXPECT_EQ(m[2]["reasoning_content"], "hm");
  EXPECT_EQ(m[3]["role"], "tool");
  EXPECT_EQ(m[4]["role"], "user");
  EXPECT_EQ(r.tools.mode, ToolMode::required);
  EXPECT_FALSE(r.tools.parallel);
  EXPECT_EQ(fault([&] { parse_anthropic(parse_json(R"({"messages":[{"role":"user","content":"x"}]})"), context()); }).param, "max_tokens");
}

TEST_F(Parsing, Responses) {
  ApiRequest r = parse_responses(parse_json(R"({"instructions":"s","input":[{"role":"user","content":[{"type":"input_text","text":"a"},
    {"type":"input_image","image_url":"data:x","detail":"high"}]},{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"why"}]},
    {"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"},{"type":"function_call_output","call_id":"c","output":"5"}],
    "text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"}}},"max_output_tokens":7,"reasoning":{"effort":"low"}})"), context());
  const Json& m = r.chat.messages;
  ASSERT_EQ(m.size(), 4u);
  EXPECT_EQ(m[2]["reasoning_content"], "why");
  EXPECT_EQ(m[2]["tool_calls"][0]["function"]["arguments"]["a"], 1);
  EXPECT_EQ(m[3]["role"], "tool");
  EXPECT_EQ(r.format.kind, AnswerFormat::Kind::json_schema);
  EXPECT_EQ(r.chat.max_tokens, 7);
  EXPECT_EQ(r.reasoning.budget, 512);
  EXPECT_EQ(fault([&] { parse_responses(parse_json(R"({"input":"x","previous_response_id":"resp_1"})"), context()); }).code, "unsupported");
}

TEST_F(Parsing, CompletionsTakeManyPrompts) {
  auto list = parse_completions(parse_json(R"({"prompt":["a","b"],"n":2,"echo":true})"), context());
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(*list[1].raw_prompt, "b");
  EXPECT_EQ(list[0].chat.max_tokens, 16);
  EXPECT_EQ(parse_completions(parse_json(R"({"prompt":[1,2,3]})"), context())[0].raw_ids, (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(parse_completions(parse_json(R"({"prompt":[[1],[2,3]]})"), context()).size(), 2u);
  EXPECT_EQ(fault([&] { parse_completions(parse_json(R"({"prompt":[1,1000]})"), context()); }).param, "prompt[1]");
  EXPECT_EQ(fault([&] { parse_completions(parse_json(R"({"prompt":""})"), context()); }).param, "prompt");
}

TEST_F(Parsing, OffSwitchOfReasoning) {
  EXPECT_EQ(*chat(with(R"("chat_template_kwargs":{"enable_thinking":false})")).reasoning.enabled, false);
  EXPECT_EQ(*chat(with(R"("reasoning_effort":"none")")).reasoning.enabled, false);
  EXPECT_EQ(*chat(with(R"("thinking_budget":0)")).reasoning.enabled, false);
  EXPECT_FALSE(chat(with(R"("n":1)")).reasoning.enabled.has_value());
}

}  // namespace
}  // namespace vl8
