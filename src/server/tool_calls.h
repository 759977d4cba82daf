// Calls of functions in the family's notation, taken out of an answer while it streams:
//   <tool_call>\n{"name": "f", "arguments": {...}}\n</tool_call>
// Names are reported as soon as they are complete, arguments as they come. A block that is not such a call is given back as
// text, so that nothing the model wrote is lost.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace vl8 {

struct AnswerPiece {
  enum class Kind : uint8_t { reasoning, text, call_begin, call_arguments } kind = Kind::text;
  int call = 0;      // of call_begin and call_arguments: 0, 1, ... within the answer
  std::string text;  // call_begin: the function's name
};

class ToolCallParser {
 public:
  explicit ToolCallParser(int max_calls) : max_calls_(max_calls) {}  // further calls are dropped

  void push(std::string_view text, std::vector<AnswerPiece>& out);
  void finish(std::vector<AnswerPiece>& out);  // the answer is over; a call that is cut off keeps what there is
  int calls() const { return calls_; }

 private:
  enum class State : uint8_t { text, block, arguments, tail };
  using Out = std::vector<AnswerPiece>;
  bool step(Out& out, bool last);  // false: more input is needed
  bool take_text(Out& out, bool last);
  bool take_block(Out& out, bool last);
  bool take_arguments(Out& out);
  bool take_tail(bool last);
  void whole_block(std::string_view block, Out& out, bool closed);
  void begin_call(std::string name, Out& out);
  void arguments(std::string_view text, Out& out);

  State state_ = State::text;
  std::string held_;   // not decided yet
  std::string blanks_; // white space that is dropped in front of a call and kept in front of text
  int depth_ = 0;
  bool in_string_ = false, escaped_ = false, dropped_ = false;
  int calls_ = 0, max_calls_;
};

}  // namespace vl8
