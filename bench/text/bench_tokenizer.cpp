// Speed of the tokenizer on one thread: load time, encode MB/s by script, decode MB/s, and the long piece.
//   build/release/bench_tokenizer MODEL_FOLDER [MB of text per script, default 4]
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "core/error.h"
#include "corpus.h"
#include "text/tokenizer.h"

namespace {
using namespace vl8;

// Processor time of this thread, so that other programs on the machine disturb less.
double seconds(auto&& work) {
  auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
  };
  double begin = now();
  work();
  return now() - begin;
}
double best_of(int runs, auto&& work) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) best = std::min(best, seconds(work));
  return best;
}

void run(const char* folder, size_t bytes) {
  double load = best_of(9, [&] { Tokenizer::load(folder); });
  fmt::print("load                     {:8.1f} ms\n", load * 1e3);
  Tokenizer tokenizer = Tokenizer::load(folder);
  for (const auto& [name, text] : bench::make_samples(tokenizer, bytes, 20240607)) {
    // The first pass meets every piece for the first time in this text; later ones run with a warm piece
    // cache.
    Tokenizer fresh = Tokenizer::load(folder);
    std::vector<TokenId> ids;
    double first = seconds([&] { ids = fresh.encode(text); });
    double best = best_of(9, [&] { ids = fresh.encode(text); });
    double decode = best_of(3, [&] { fresh.decode(ids); });
    double mb = double(text.size()) / 1e6;
    fmt::print("{:8} encode {:7.1f} MB/s (first pass {:6.1f}), {:5.2f} bytes/token, decode {:6.0f} MB/s\n",
               name, mb / best, mb / first, double(text.size()) / double(ids.size()), mb / decode);
  }
  std::string letters;
  for (size_t i = 0; i < 1'000'000; ++i) letters += char('a' + (i * i + i / 7) % 26);
  fmt::print("1 MB of letters, one piece {:6.1f} ms\n", 1e3 * best_of(2, [&] { tokenizer.encode(letters); }));
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return fmt::print(stderr, "usage: bench_tokenizer MODEL_FOLDER [MB]\n"), 2;
  try {
    run(argv[1], size_t((argc > 2 ? std::atof(argv[2]) : 4) * 1e6));
  } catch (const vl8::Error& e) {
    return fmt::print(stderr, "{}\n", e.what()), 1;
  }
}
