// What a quantisation has written, in a text file beside the weights: after a kill the next run goes on behind the last
// finished job, and every run compares the written pieces with what the disk gives back.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "quant/format.h"

namespace vl8 {

struct WrittenPiece {
  uint64_t tensor = 0, offset = 0, bytes = 0, hash = 0;
};

struct FinishedJob {
  CodeError error;
  float tensor_scale = 0, input_scale = 0;
  double output_sqnr_db = 0;  // 0: not measured
  std::vector<WrittenPiece> pieces;
};

class Journal {
 public:
  // Goes on with the file when its first line is this fingerprint; else starts it anew.
  Journal(std::filesystem::path path, const std::string& fingerprint);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  const FinishedJob* find(uint64_t job) const;  // null: not finished
  const std::map<uint64_t, FinishedJob>& jobs() const { return jobs_; }
  // One write(): a kill leaves the whole entry or a torn last line, which is not believed. From one thread.
  void finish(uint64_t job, FinishedJob entry);
  int64_t resumed() const { return resumed_; }  // jobs that an earlier run finished

 private:
  void parse(const std::string& text, const std::string& fingerprint);
  std::filesystem::path path_;
  std::map<uint64_t, FinishedJob> jobs_;
  int64_t resumed_ = 0;
  int fd_ = -1;
};

uint64_t piece_hash(const void* data, size_t bytes);

}  // namespace vl8
