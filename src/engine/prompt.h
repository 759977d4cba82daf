// From a conversation and its pictures to what the model reads: token ids with one id per merged patch, rotary
// positions, and where each picture's features go (spec 4, 5.7, 7.2).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "media/processor.h"
#include "model/model.h"
#include "model/positions.h"
#include "sparse/policy.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace vl8 {

struct VisualGate;    // what of a visual is computed and read: engine/gating.h
struct VisualStream;
// Where the features of a picture are kept beyond a request: filled by its maker before submit, or by the engine.
struct FeatureSlot {
  std::shared_ptr<const VisionFeatures> features;
};

struct VisualInput {
  std::shared_ptr<const PatchBuffer> patches;  // [grid.patches(), features], F32; may be null where the slot is filled
  Grid grid;
  ContentHash hash;                        // of pixels and gate
  std::shared_ptr<FeatureSlot> slot;       // or null
  std::shared_ptr<const VisualGate> gate;  // null: all of it
};

struct Prompt {
  std::vector<int32_t> ids;
  Positions positions;
  std::vector<VisualInput> visuals;  // pictures and clips in the order of their placeholders
  std::vector<VisualRun> runs;       // ascending; one a picture, one a frame group
  struct RunSource {
    size_t visual;       // index into visuals
    int64_t first_row;   // row of its features where the run begins
  };
  std::vector<RunSource> sources;  // of each run
};

// How a clip's placeholder is written out (spec 5.7). `replace_triple` is what the official checkpoints were trained
// on; `keep_outer_pair` is what transformers does since about 5.10.
enum class VideoDialect : uint8_t { replace_triple, keep_outer_pair };

struct PromptMedia {
  std::vector<ImageInput> images;  // in the order of their placeholders
  std::vector<VideoInput> videos;
  Sparsity sparsity;                                  // off: everything is computed and read
  std::vector<std::shared_ptr<VisualStream>> streams; // of the images; empty, or null for those of no stream
};

// Writes out each clip's placeholder as stamp, start, pad, end for every frame group. `stamps` of each clip, in order. The
// text must be tokenised after this, because a stamp's "<" may join the letter before it.
MarkedText expand_stamps(const MarkedText& rendered, std::span<const std::vector<std::string>> stamps, VideoDialect dialect);

// Throws Error(input) where the placeholders of the rendered text do not match the media.
Prompt build_prompt(const MarkedText& rendered, PromptMedia media, const Tokenizer& tokenizer, const ModelConfig& config,
                    VideoDialect dialect = VideoDialect::replace_triple);

// The same from ids that are already expanded (golden cases, benchmarks): grids say how the placeholders fall.
Prompt prompt_from_ids(std::vector<int32_t> ids, std::vector<VisualInput> images, std::vector<VisualInput> videos,
                       const ModelConfig& config);

}  // namespace vl8
