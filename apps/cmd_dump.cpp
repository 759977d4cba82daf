// vl8 dump: what goes in and out of the model, in files that other programs can read.
#include <fstream>
#include <iostream>

#include "dump_logits.h"
#include "dump_pixels.h"
#include "dump_text.h"
#include "options.h"

namespace vl8 {
namespace {

struct DumpOptions {
  ModelOptions model;
  MediaOptions media;
  DumpLogits logits;
  std::string out;
};

CommandBody setup_logits(CLI::App& app, std::shared_ptr<DumpOptions> o) {
  o->model.add_to(app);
  app.add_option("--inputs", o->logits.inputs, "safetensors file with input_ids, pixel_values, image_grid_thw, ... (a second one gives what the first lacks)")->required()->expected(1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--out", o->out, "safetensors file to write: logits, position_ids, greedy_ids, probed tensors")->required();
  app.add_option("--probe", o->logits.probe, "intermediates to write, by the reference's module names: \"layers.*.mlp,visual.*\"");
  app.add_option("--greedy", o->logits.greedy, "tokens to decode greedily")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--chunk", o->logits.chunk, "tokens of the prompt per step (default: all at once)")->check(CLI::PositiveNumber);
  app.footer("Example: vl8 dump logits -m tiny-dense --inputs case.safetensors --out out.safetensors --precision f32 --probe 'layers.*'");
  return [o] {
    o->logits.model = o->model.folder();
    o->logits.engine = o->model.engine();
    o->logits.out = o->out;
    dump_logits(o->logits);
    return 0;
  };
}

}  // namespace

CommandBody setup_dump(CLI::App& app) {
  auto o = std::make_shared<DumpOptions>();
  auto body = std::make_shared<CommandBody>();
  app.require_subcommand(1);
  CLI::App* tokens = app.add_subcommand("tokens", "JSON lines {\"text\"} on stdin to {\"ids\", \"decoded\"} on stdout");
  tokens->add_option("-m,--model", o->model.model, "model folder (no weights needed)");
  tokens->callback([=] { *body = [o] { return dump_tokens(o->model.folder(), std::cin, std::cout), 0; }; });

  CLI::App* prompt = app.add_subcommand("prompt", "JSON lines {\"messages\", \"tools\"?, ...} on stdin to {\"rendered\", \"ids\"} on stdout");
  prompt->add_option("-m,--model", o->model.model, "model folder (no weights needed)");
  prompt->callback([=] { *body = [o] { return dump_prompt(o->model.folder(), std::cin, std::cout), 0; }; });

  CLI::App* logits = app.add_subcommand("logits", "logits, positions, greedy tokens and intermediates of one case");
  CommandBody run_logits = setup_logits(*logits, o);
  logits->callback([=] { *body = run_logits; });

  CLI::App* pixels = app.add_subcommand("pixels", "pictures or a clip to pixel_values and grids");
  auto p = std::make_shared<DumpPixelsArguments>();
  CommandBody run_pixels = setup_dump_pixels(*pixels, p);
  pixels->callback([=] { *body = run_pixels; });
  return [body] { return (*body)(); };
}

}  // namespace vl8
