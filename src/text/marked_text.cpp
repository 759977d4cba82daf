#include "text/marked_text.h"

#include <algorithm>

namespace vl8 {

void MarkedText::mark(size_t begin, size_t end, Trust trust) {
  if (trust == Trust::author || begin == end) return;
  if (!spans_.empty() && spans_.back().end == begin && spans_.back().trust == trust)
    spans_.back().end = end;
  else
    spans_.push_back({begin, end, trust});
}

Trust MarkedText::trust() const {
  Trust worst = Trust::author;
  for (const TrustSpan& s : spans_) worst = std::max(worst, s.trust);
  return worst;
}

Trust MarkedText::trust_at(size_t byte) const {
  auto it =
      std::partition_point(spans_.begin(), spans_.end(), [&](const TrustSpan& s) { return s.end <= byte; });
  return it != spans_.end() && it->begin <= byte ? it->trust : Trust::author;
}

void MarkedText::append(const MarkedText& other) {
  if (&other == this) return append(MarkedText(other));
  size_t base = bytes_.size();
  bytes_ += other.bytes_;
  for (const TrustSpan& s : other.spans_) mark(base + s.begin, base + s.end, s.trust);
}

void MarkedText::append(std::string_view text, Trust trust) {
  size_t base = bytes_.size();
  bytes_ += text;
  mark(base, bytes_.size(), trust);
}

MarkedText MarkedText::slice(size_t begin, size_t end) const {
  end = std::min(end, bytes_.size());
  begin = std::min(begin, end);
  MarkedText out;
  out.bytes_.assign(bytes_, begin, end - begin);
  auto it =
      std::partition_point(spans_.begin(), spans_.end(), [&](const TrustSpan& s) { return s.end <= begin; });
  for (; it != spans_.end() && it->begin < end; ++it)
    out.mark(std::max(it->begin, begin) - begin, std::min(it->end, end) - begin, it->trust);
  return out;
}

MarkedText MarkedText::replaced(std::string_view from, const MarkedText& to, size_t limit) const {
  MarkedText out;
  size_t done = 0;
  for (size_t at; limit > 0 && (at = bytes_.find(from, done)) != std::string::npos; --limit) {
    out.append(slice(done, at));
    out.append(to);
    done = at + from.size();
  }
  out.append(slice(done, bytes_.size()));
  return out;
}

}  // namespace vl8
