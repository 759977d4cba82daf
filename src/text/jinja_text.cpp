// Helpers on text for filters and methods: case, stripping, characters, and formatting with %.
#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja_run.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace vl8 {
namespace {
using Kind = JinjaValue::Kind;
constexpr int kMaxFieldWidth = 10'000;

template <typename F>
std::string map_characters(std::string_view s, F&& f) {
  std::string out;
  for (const char *p = s.data(), *end = p + s.size(); p < end;) {
    CodePoint c = decode_valid(p);
    p += c.bytes;
    f(c.value, out);
  }
  return out;
}
void append_upper(char32_t c, std::string& out) {
  if (c == 0xDF)
    out += "SS";
  else
    append_utf8(out, char32_t(utf8proc_toupper(utf8proc_int32_t(c))));
}
void append_lower(char32_t c, std::string& out) {
  append_utf8(out, char32_t(utf8proc_tolower(utf8proc_int32_t(c))));
}
}  // namespace

std::string jinja_upper(std::string_view s) {
  return map_characters(s, append_upper);
}
std::string jinja_lower(std::string_view s) {
  return map_characters(s, append_lower);
}
std::string jinja_capitalize(std::string_view s) {
  bool first = true;
  return map_characters(s, [&](char32_t c, std::string& out) {
    if (std::exchange(first, false))
      append_upper(c, out);
    else
      append_lower(c, out);
  });
}

std::vector<MarkedText> jinja_characters(const MarkedText& t) {
  std::vector<MarkedText> out;
  for (size_t i = 0; i < t.size();) {
    size_t n = decode_valid(t.str().data() + i).bytes;
    out.push_back(t.slice(i, i + n));
    i += n;
  }
  return out;
}

MarkedText jinja_strip(const MarkedText& t, const std::string* chars, bool left, bool right) {
  auto goes = [&](const CodePoint& c, const char* p) {
    return chars ? chars->find(std::string(p, c.bytes)) != std::string::npos : is_python_space(c.value);
  };
  const char* data = t.str().data();
  size_t begin = 0, end = t.size();
  while (left && begin < end) {
    CodePoint c = decode_valid(data + begin);
    if (!goes(c, data + begin)) break;
    begin += c.bytes;
  }
  while (right && end > begin) {
    CodePoint c = decode_valid_before(data + end);
    if (!goes(c, data + end - c.bytes)) break;
    end -= c.bytes;
  }
  return t.slice(begin, end);
}

namespace {
// One "%" field: flags, width, precision and kind.
struct Field {
  bool minus = false, zero = false, plus = false, blank = false, sharp = false;
  int width = 0, precision = -1;
  char kind = 0;
};

class PercentFormat {
 public:
  PercentFormat(JinjaRun& run, const MarkedText& format, const JinjaList& values)
      : run_(run), format_(format), values_(values) {}

  MarkedText result() {
    const std::string& s = format_.str();
    for (size_t i = 0; i < s.size();) {
      size_t percent = std::min(s.find('%', i), s.size());
      out_.append(format_.slice(i, percent));
      if (percent == s.size()) break;
      i = percent + 1;
      Field f = read(i);
      if (f.kind == '%')
        out_.append("%", format_.trust_at(i - 1));
      else
        write(f, next());
      run_.step();
      if (out_.size() > run_.max_text_bytes()) run_.fail("the formatted text is too long");
    }
    if (used_ < values_.size()) run_.fail("not all values were used by the format");
    return std::move(out_);
  }

 private:
  Field read(size_t& i) {
    const std::string& s = format_.str();
    Field f;
    for (; i < s.size(); ++i) {
      if (s[i] == '-')
        f.minus = true;
      else if (s[i] == '0')
        f.zero = true;
      else if (s[i] == '+')
        f.plus = true;
      else if (s[i] == ' ')
        f.blank = true;
      else if (s[i] == '#')
        f.sharp = true;
      else
        break;
    }
    f.width = number(i);
    if (i < s.size() && s[i] == '.') f.precision = number(++i);
    if (i == s.size()) run_.fail("the format ends within a %% field");
    f.kind = s[i++];
    return f;
  }
  int number(size_t& i) {
    int n = 0;
    for (const std::string& s = format_.str(); i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i)
      if ((n = n * 10 + (s[i] - '0')) > kMaxFieldWidth)
        run_.fail("a format field is wider than {}", kMaxFieldWidth);
    return n;
  }
  const JinjaValue& next() {
    if (used_ == values_.size()) run_.fail("not enough values for the format");
    return values_[used_++];
  }
  void write(const Field& f, const JinjaValue& v) {
    MarkedText t;
    switch (f.kind) {
      case 's':
        t = run_.str(v);
        break;
      case 'r':
        t = jinja_repr(v, run_.max_text_bytes());
        break;
      case 'c':
        t = v.is_text() ? v.text() : run_.str(v);
        break;
      default:
        return pad(f, MarkedText(numeric(f, v)));
    }
    if (f.precision >= 0) {
      auto chars = jinja_characters(t);
      if (size_t(f.precision) < chars.size()) {
        t = {};
        for (int i = 0; i < f.precision; ++i) t.append(chars[size_t(i)]);
      }
    }
    pad(f, t);
  }
  std::string numeric(const Field& f, const JinjaValue& v) {
    if (!v.is_numeric()) run_.fail("%{} needs a number, not a {}", f.kind, jinja_type_name(v));
    std::string spec = std::string("%") + (f.minus ? "-" : "") + (f.zero ? "0" : "") + (f.plus ? "+" : "") +
                       (f.blank ? " " : "") + (f.sharp ? "#" : "") + std::to_string(f.width);
    if (f.width == 0) spec.pop_back();
    if (f.precision >= 0) spec += "." + std::to_string(f.precision);
    std::string out(size_t(2 * kMaxFieldWidth) + 400, '\0');
    int n = 0;
    if (std::string_view("diuxXo").find(f.kind) != std::string_view::npos) {
      double d = v.number();
      if (!(std::abs(d) < 9e18)) run_.fail("%{} is for 64-bit integers", f.kind);
      long long i = v.is(Kind::number) ? (long long)(d) : (long long)(v.integer());
      n = std::snprintf(out.data(), out.size(), (spec + "ll" + (f.kind == 'u' ? 'd' : f.kind)).c_str(), i);
    } else if (std::string_view("feEgGF").find(f.kind) != std::string_view::npos) {
      n = std::snprintf(out.data(), out.size(), (spec + f.kind).c_str(), v.number());
    } else {
      run_.fail("the format field %{} is not supported", f.kind);
    }
    out.resize(size_t(std::max(n, 0)));
    return out;
  }
  void pad(const Field& f, const MarkedText& t) {
    size_t n = count_code_points(t.view());
    std::string blanks(size_t(f.width) > n ? size_t(f.width) - n : 0, ' ');
    if (!f.minus) out_.append(blanks, Trust::author);
    out_.append(t);
    if (f.minus) out_.append(blanks, Trust::author);
  }

  JinjaRun& run_;
  const MarkedText& format_;
  const JinjaList& values_;
  MarkedText out_;
  size_t used_ = 0;
};
}  // namespace

JinjaValue jinja_percent_format(JinjaRun& run, const MarkedText& format, const JinjaList& values) {
  return run.text(PercentFormat(run, format, values).result());
}

}  // namespace vl8
