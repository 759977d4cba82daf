// Writers whose answers are a list of blocks (reasoning, text, calls) of which one is open at a time: Anthropic's content
// blocks, OpenAI's response items. The base opens and closes; a derived class says how that looks.
#pragma once
#include "server/answer_writer.h"

namespace vl8 {

class BlockWriter : public AnswerWriter {
 public:
  using AnswerWriter::AnswerWriter;

  std::string pieces(size_t, std::span<const AnswerPiece> list, std::span<const SampledToken>) final {
    std::string out;
    for (const AnswerPiece& p : list) out += piece(p);
    return out;
  }
  std::string end_choice(size_t) final { return close_current(); }

 protected:
  enum class Block : uint8_t { reasoning, text, call };
  virtual std::string open(Block block, const ToolCall* call) = 0;  // index() is its place in the answer
  virtual std::string delta(Block block, const std::string& text) = 0;
  virtual std::string close(Block block, const std::string& text, const ToolCall* call) = 0;  // text: all of the block
  size_t index() const { return index_; }

  std::string close_current() {
    if (!open_) return {};
    open_ = false;
    std::string out = close(block_, text_, call());
    ++index_;
    return out;
  }

 private:
  const ToolCall* call() const { return block_ == Block::call ? &t_.choices[0].calls()[call_] : nullptr; }

  std::string piece(const AnswerPiece& p) {
    using Kind = AnswerPiece::Kind;
    const Block block = p.kind == Kind::reasoning ? Block::reasoning : p.kind == Kind::text ? Block::text : Block::call;
    std::string out;
    if (!open_ || block != block_ || p.kind == Kind::call_begin) {
      out = close_current();
      open_ = true;
      block_ = block;
      call_ = size_t(p.call);
      text_.clear();
      out += open(block, call());
    }
    if (p.kind == Kind::call_begin) return out;
    text_ += p.text;
    return out + delta(block, p.text);
  }

  bool open_ = false;
  Block block_ = Block::text;
  size_t index_ = 0, call_ = 0;
  std::string text_;
};

}  // namespace vl8
