#include "quant/journal.h"

#include <fcntl.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "core/error.h"
#include "core/file.h"

namespace vl8 {

uint64_t piece_hash(const void* data, size_t bytes) { return XXH3_64bits(data, bytes); }

Journal::Journal(std::filesystem::path path, const std::string& fingerprint) : path_(std::move(path)) {
  const std::string first = "vl8 quantize " + fingerprint + "\n";
  if (is_file(path_)) parse(read_file(path_), first);
  resumed_ = int64_t(jobs_.size());
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (jobs_.empty() ? O_TRUNC : 0);
  fd_ = open(path_.c_str(), flags, 0644);
  // A torn line would spoil the next one: an entry begins on a line of its own.
  const std::string head = jobs_.empty() ? first : "\n";
  if (fd_ < 0 || write(fd_, head.data(), head.size()) != ssize_t(head.size()))
    fail(ErrorKind::resource, "cannot write {}: {}", path_.string(), std::strerror(errno));
}

Journal::~Journal() {
  if (fd_ >= 0) close(fd_);
}

void Journal::parse(const std::string& text, const std::string& first) {
  if (!text.starts_with(first)) return;
  FinishedJob entry;
  size_t at = first.size();
  while (true) {
    const size_t end = text.find('\n', at);
    if (end == std::string::npos) return;
    std::istringstream line(text.substr(at, end - at));
    at = end + 1;
    char kind = 0;
    line >> kind;
    if (kind == 'p') {
      WrittenPiece p;
      if (line >> p.tensor >> p.offset >> p.bytes >> p.hash) entry.pieces.push_back(p);
      else entry = {};
    } else if (kind == 'j') {
      uint64_t job;
      CodeError& e = entry.error;
      if (line >> job >> e.error >> e.square >> e.coded >> e.product >> entry.tensor_scale >> entry.input_scale >> entry.output_sqnr_db)
        jobs_[job] = std::move(entry);
      entry = {};
    } else {
      entry = {};
    }
  }
}

const FinishedJob* Journal::find(uint64_t job) const {
  auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : &it->second;
}

void Journal::finish(uint64_t job, FinishedJob entry) {
  std::string text;
  for (const WrittenPiece& p : entry.pieces) text += fmt::format("p {} {} {} {}\n", p.tensor, p.offset, p.bytes, p.hash);
  const CodeError& e = entry.error;
  text += fmt::format("j {} {:.17g} {:.17g} {:.17g} {:.17g} {:.9g} {:.9g} {:.17g}\n", job, e.error, e.square, e.coded, e.product,
                      entry.tensor_scale, entry.input_scale, entry.output_sqnr_db);
  if (write(fd_, text.data(), text.size()) != ssize_t(text.size()))
    fail(ErrorKind::resource, "cannot write {}: {}", path_.string(), std::strerror(errno));
  jobs_[job] = std::move(entry);
}

}  // namespace vl8
