// For every count of integer digits one automaton: a position, whether the digits so far equal those of a bound, and the
// remainder by the divisor.
#include "grammar/json_number.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "core/error.h"
#include "grammar/char_dfa.h"

namespace vl8 {
namespace {

constexpr int64_t kSignificant = 15, kIntegerDigits = 18, kMostDigits = 40, kLargestDivisor = 10'000;

struct Divisor {
  int64_t value = 1;      // of the number times 10^fraction
  int64_t fraction = -1;  // -1: no divisor
};

int64_t power10(int64_t n) {
  int64_t p = 1;
  while (n-- > 0) p *= 10;
  return p;
}

// One divisor for all: the least common multiple at the largest scale.
Divisor common_divisor(const std::vector<Decimal>& divisors, std::string_view where) {
  Divisor out;
  auto too_large = [&] {
    fail(ErrorKind::unsupported, "{}: multipleOf with more than {} remainders is not supported", where, kLargestDivisor);
  };
  for (const Decimal& d : divisors) {
    const int64_t scale = std::max(out.fraction, d.fraction);
    if (d.digits.size() > 9 || scale > 12) too_large();
    const int64_t a = std::stoll(d.digits) * power10(scale - d.fraction);
    const int64_t b = out.fraction < 0 ? 1 : out.value * power10(scale - out.fraction);
    out = {out.fraction < 0 ? a : std::lcm(a, b), scale};
    if (out.value > 1'000'000'000) too_large();
  }
  if (out.fraction >= 0) {  // 2.50 is 2.5
    while (out.fraction > 0 && out.value % 10 == 0) out.value /= 10, --out.fraction;
    if (out.value > kLargestDivisor) too_large();
  }
  return out;
}

// A bound on the magnitude. Digits beyond those written count as zeros.
struct Limit {
  std::string whole, part;
  bool exclusive = false;
};

class Magnitude {
 public:
  Magnitude(std::optional<Limit> low, std::optional<Limit> high, bool integer, Divisor divisor)
      : low_(std::move(low)), high_(std::move(high)), integer_(integer), divisor_(divisor) {}

  // All numbers with n integer digits, at most `fraction` behind the point.
  CharDfa of_length(int64_t n, int64_t fraction) {
    ids_.clear();
    states_.clear();
    n_ = n;
    fraction_ = integer_ ? 0 : fraction;
    if (divisor_.fraction >= 0) fraction_ = std::min(fraction_, divisor_.fraction);
    const bool low_matters = low_ && int64_t(low_->whole.size()) == n, high_matters = high_ && int64_t(high_->whole.size()) == n;
    if ((low_ && int64_t(low_->whole.size()) > n) || (high_ && int64_t(high_->whole.size()) < n)) return {};
    intern({0, low_matters, high_matters, 0});
    for (size_t i = 0; i < todo_.size(); ++i) expand(uint32_t(i), todo_[i]);
    todo_.clear();
    return CharDfa::from_states(std::move(states_));
  }

 private:
  // at: digits read, of n_ + fraction_; the point is read with the digit behind it.
  struct Place {
    int64_t at;
    bool low, high;  // the digits so far equal those of the bound
    int64_t rest;
    bool point = false;
    auto operator<=>(const Place&) const = default;
  };

  static char digit_of(const Limit& l, int64_t at, int64_t n) {
    if (at < n) return l.whole[size_t(at)];
    return size_t(at - n) < l.part.size() ? l.part[size_t(at - n)] : '0';
  }
  bool low_part_left(const Place& p) const { return p.at < n_ + int64_t(low_->part.size()); }
  bool high_part_left(const Place& p) const { return p.at < n_ + int64_t(high_->part.size()); }

  bool accepting(const Place& p) const {
    if (p.at < n_ || p.point) return false;
    if (p.low && (low_part_left(p) || low_->exclusive)) return false;
    if (p.high && !high_part_left(p) && high_->exclusive) return false;
    if (divisor_.fraction < 0) return true;
    return p.rest * power10(divisor_.fraction - (p.at - n_)) % divisor_.value == 0;
  }

  uint32_t intern(const Place& p) {
    auto [it, fresh] = ids_.emplace(p, uint32_t(states_.size()));
    if (fresh) {
      states_.push_back({accepting(p), {}});
      todo_.push_back(p);
    }
    return it->second;
  }

  void expand(uint32_t id, const Place p) {
    if (p.at == n_ && fraction_ > 0 && !p.point) {
      Place next = p;
      next.point = true;
      const uint32_t to = intern(next);  // first: states may move
      states_[id].edges.push_back({CodePoints::one('.'), to});
      return;
    }
    if (p.at >= n_ + fraction_) return;
    for (char d = p.at == 0 && n_ > 1 ? '1' : '0'; d <= '9'; ++d) {
      Place next{p.at + 1, p.low, p.high, divisor_.fraction < 0 ? 0 : (p.rest * 10 + (d - '0')) % divisor_.value};
      if (p.low) {
        const char bound = digit_of(*low_, p.at, n_);
        if (d < bound) continue;
        next.low = d == bound;
      }
      if (p.high) {
        const char bound = digit_of(*high_, p.at, n_);
        if (d > bound) continue;
        next.high = d == bound;
      }
      const uint32_t to = intern(next);
      auto& edges = states_[id].edges;
      auto same = std::find_if(edges.begin(), edges.end(), [&](auto& e) { return e.to == to; });
      if (same == edges.end())
        edges.push_back({CodePoints::one(char32_t(d)), to});
      else
        same->set = same->set | CodePoints::one(char32_t(d));
    }
  }

  std::optional<Limit> low_, high_;
  bool integer_;
  Divisor divisor_;
  int64_t n_ = 0, fraction_ = 0;
  std::map<Place, uint32_t> ids_;
  std::vector<CharDfa::State> states_;
  std::vector<Place> todo_;
};

Limit limit_of(const Decimal& d, bool exclusive) {
  Limit l{d.integer_part(), d.fraction_part(), exclusive};
  if (l.whole.empty()) l.whole = "0";
  return l;
}

// Positive numbers and zero (with `sign` empty), or negative ones by their magnitude.
ExprPtr magnitudes(std::optional<Limit> low, std::optional<Limit> high, bool integer, Divisor divisor, std::string_view where) {
  int64_t longest = integer ? kIntegerDigits : kSignificant, fraction = 1;
  if (low) longest = std::max(longest, int64_t(low->whole.size()) + 1);
  if (high) longest = int64_t(high->whole.size());
  for (const auto* l : {&low, &high})
    if (*l) fraction = std::max(fraction, int64_t((*l)->part.size()));
  if (longest > kMostDigits || fraction > kMostDigits)
    fail(ErrorKind::unsupported, "{}: bounds with more than {} digits are not supported", where, kMostDigits);
  Magnitude m(low, high, integer, divisor);
  std::vector<ExprPtr> parts;
  for (int64_t n = 1; n <= longest; ++n) {
    const int64_t behind = n > 1 ? kSignificant - n : kSignificant - 1;
    parts.push_back(automaton(std::make_shared<const CharDfa>(m.of_length(n, std::max({behind, fraction, int64_t(0)}))), Spelling::plain));
  }
  return choice(std::move(parts));
}

ExprPtr digits(int64_t min, int64_t max) { return repeat(chars(CodePoints::range('0', '9')), min, max); }

}  // namespace

Decimal Decimal::parse(std::string_view s) {
  Decimal d;
  if (s.starts_with("-")) d.negative = true, s.remove_prefix(1);
  int64_t exponent = 0;
  if (size_t e = s.find_first_of("eE"); e != std::string_view::npos) {
    exponent = std::stoll(std::string(s.substr(e + 1)));
    s = s.substr(0, e);
  }
  if (std::abs(exponent) > 400) fail(ErrorKind::unsupported, "the number {} is out of range", s);
  size_t point = s.find('.');
  d.digits = std::string(s.substr(0, point));
  if (point != std::string_view::npos) {
    d.digits += s.substr(point + 1);
    d.fraction = int64_t(s.size() - point - 1);
  }
  d.fraction -= exponent;
  if (d.fraction < 0) d.digits.append(size_t(-d.fraction), '0'), d.fraction = 0;
  while (d.fraction > 0 && !d.digits.empty() && d.digits.back() == '0') d.digits.pop_back(), --d.fraction;
  d.digits.erase(0, d.digits.find_first_not_of('0'));
  if (d.digits.empty()) d.fraction = 0, d.negative = false;
  return d;
}

std::string Decimal::integer_part() const {
  return int64_t(digits.size()) > fraction ? digits.substr(0, digits.size() - size_t(fraction)) : "";
}
std::string Decimal::fraction_part() const {
  std::string s = digits.size() >= size_t(fraction) ? digits.substr(digits.size() - size_t(fraction))
                                                    : std::string(size_t(fraction) - digits.size(), '0') + digits;
  while (!s.empty() && s.back() == '0') s.pop_back();
  return s;
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  const int sign = a.negative ? -1 : 1;
  const std::string x = a.integer_part(), y = b.integer_part();
  if (x.size() != y.size()) return x.size() < y.size() ? -sign : sign;
  if (int c = x.compare(y)) return c < 0 ? -sign : sign;
  const int c = a.fraction_part().compare(b.fraction_part());
  return c == 0 ? 0 : c < 0 ? -sign : sign;
}

ExprPtr number_expr(const NumberBounds& b, const GrammarLimits&, std::string_view where) {
  if (b.fractional) {
    if (b.integer) return never();
    if (b.min || b.max || !b.divisors.empty()) fail(ErrorKind::unsupported, "{}: bounds on numbers that are no integers are not supported", where);
    ExprPtr whole = choice({literal("0"), sequence({chars(CodePoints::range('1', '9')), digits(0, 8)})});
    return sequence({optional_of(literal("-")), whole, literal("."), digits(0, 5), chars(CodePoints::range('1', '9'))});
  }
  if (!b.min && !b.max && b.divisors.empty()) {
    ExprPtr whole = choice({literal("0"), sequence({chars(CodePoints::range('1', '9')), digits(0, b.integer ? kIntegerDigits - 1 : kSignificant - 1)})});
    ExprPtr signed_whole = sequence({optional_of(literal("-")), whole});
    if (b.integer) return signed_whole;
    ExprPtr exponent = sequence({chars(CodePoints::of({{'e', 'e'}, {'E', 'E'}})), optional_of(chars(CodePoints::of({{'+', '+'}, {'-', '-'}}))), digits(1, 2)});
    return sequence({signed_whole, optional_of(sequence({literal("."), digits(1, kSignificant)})), optional_of(exponent)});
  }
  const Divisor divisor = common_divisor(b.divisors, where);
  const Decimal zero;
  std::vector<ExprPtr> parts;
  // From zero up: unless the upper bound lies below.
  const int high_sign = b.max ? compare(*b.max, zero) : 1;
  if (high_sign > 0 || (high_sign == 0 && !b.exclusive_max)) {
    std::optional<Limit> low, high;
    if (b.min && !b.min->negative) low = limit_of(*b.min, b.exclusive_min);
    if (b.max) high = limit_of(*b.max, b.exclusive_max);
    parts.push_back(magnitudes(low, high, b.integer, divisor, where));
  }
  // Below zero: magnitudes above the upper bound's and up to the lower bound's.
  if (!b.min || b.min->negative) {
    Limit low{"0", "", true};
    if (b.max && b.max->negative) low = limit_of(*b.max, b.exclusive_max);
    std::optional<Limit> high;
    if (b.min) high = limit_of(*b.min, b.exclusive_min);
    parts.push_back(sequence({literal("-"), magnitudes(low, high, b.integer, divisor, where)}));
  }
  return choice(std::move(parts));
}

bool number_fits(const NumberBounds& b, const Decimal& v) {
  if ((b.integer && v.fraction > 0) || (b.fractional && v.fraction == 0)) return false;
  if (b.min) {
    const int c = compare(v, *b.min);
    if (c < 0 || (c == 0 && b.exclusive_min)) return false;
  }
  if (b.max) {
    const int c = compare(v, *b.max);
    if (c > 0 || (c == 0 && b.exclusive_max)) return false;
  }
  for (const Decimal& d : b.divisors) {
    const int64_t scale = std::max(d.fraction, v.fraction);
    if (v.digits.empty()) continue;
    const std::string a = v.digits + std::string(size_t(scale - v.fraction), '0'), m = d.digits + std::string(size_t(scale - d.fraction), '0');
    if (m.size() > 17) return false;
    const int64_t divisor = std::stoll(m);
    int64_t rest = 0;
    for (char c : a) rest = int64_t((__int128(rest) * 10 + (c - '0')) % divisor);
    if (rest) return false;
  }
  return true;
}

}  // namespace vl8
