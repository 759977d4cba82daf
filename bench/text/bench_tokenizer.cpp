// Speed of the tokenizer on one thread: load time, encode MB/s by script, decode MB/s, and the long piece.
//   build/release/bench_tokenizer MODEL_FOLDER [MB of text per script, default 2 [FILE...]]
// Files are measured as well, so that real text can be tried.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <span>

#include "core/error.h"
#include "core/file.h"
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

double megabytes(const std::string& text) {
  return double(text.size()) / 1e6;
}

// Text that the tokenizer has not seen, after other text of the kind has warmed its cache; the best of
// several.
void measure_samples(const Tokenizer& tokenizer, size_t bytes) {
  std::vector<std::vector<bench::Sample>> rounds;
  for (uint64_t seed = 1; seed <= 6; ++seed) rounds.push_back(bench::make_samples(tokenizer, bytes, seed));
  for (size_t kind = 0; kind < rounds[0].size(); ++kind) {
    double encode = 0, decode = 0, bytes_per_token = 0;
    for (size_t r = 0; r < rounds.size(); ++r) {
      const std::string& text = rounds[r][kind].text;
      std::vector<TokenId> ids;
      double rate = megabytes(text) / seconds([&] { ids = tokenizer.encode(text); });
      if (r == 0) continue;  // it warms up
      encode = std::max(encode, rate);
      decode = std::max(decode, megabytes(text) / seconds([&] { tokenizer.decode(ids); }));
      bytes_per_token = double(text.size()) / double(ids.size());
    }
    fmt::print("{:8} encode {:6.1f} MB/s of fresh text, {:.2f} bytes/token, decode {:4.0f} MB/s\n",
               rounds[0][kind].name, encode, bytes_per_token, decode);
  }
}

void measure_file(const char* folder, const char* name) {
  std::string text = read_file(name);
  Tokenizer tokenizer = Tokenizer::load(folder);
  double first = seconds([&] { tokenizer.encode(text); });
  double again = best_of(9, [&] { tokenizer.encode(text); });
  fmt::print("{}: {:.1f} MB/s by a new tokenizer, {:.1f} MB/s when it comes again\n", name,
             megabytes(text) / first, megabytes(text) / again);
}

void run(const char* folder, size_t bytes, std::span<char*> files) {
  fmt::print("load {:.1f} ms\n", 1e3 * best_of(9, [&] { Tokenizer::load(folder); }));
  Tokenizer tokenizer = Tokenizer::load(folder);
  measure_samples(tokenizer, bytes);
  for (const char* file : files) measure_file(folder, file);
  std::string letters;
  for (size_t i = 0; i < 1'000'000; ++i) letters += char('a' + (i * i + i / 7) % 26);
  fmt::print("1 MB of letters, one piece: {:.1f} ms\n", 1e3 * best_of(2, [&] { tokenizer.encode(letters); }));
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return fmt::print(stderr, "usage: bench_tokenizer MODEL_FOLDER [MB [FILE...]]\n"), 2;
  try {
    std::span<char*> arguments(argv, size_t(argc));
    run(argv[1], size_t((argc > 2 ? std::atof(argv[2]) : 2) * 1e6),
        arguments.subspan(std::min<size_t>(3, argc)));
  } catch (const vl8::Error& e) {
    return fmt::print(stderr, "{}\n", e.what()), 1;
  }
}
