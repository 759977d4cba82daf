// JSON numbers within bounds as automata over their decimal digits.
//
// Numbers with a bound or a divisor are written without exponent, with at most 15 significant digits (or as many as the bounds
// have): decimals of 15 digits and binary64 order alike, so that a reader that parses to double finds the bounds kept.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "grammar/expr.h"

namespace vl8 {

// An exact decimal: digits (no leading zeros; empty for 0), of which the last `fraction` stand behind the point.
struct Decimal {
  std::string digits;
  int64_t fraction = 0;
  bool negative = false;

  static Decimal parse(std::string_view json_number);
  std::string integer_part() const;   // without leading zeros; empty for 0
  std::string fraction_part() const;  // without trailing zeros
};
int compare(const Decimal& a, const Decimal& b);  // < 0, 0, > 0

struct NumberBounds {
  std::optional<Decimal> min, max;
  bool exclusive_min = false, exclusive_max = false, integer = false;
  bool fractional = false;  // not an integer
  std::vector<Decimal> divisors;  // positive
};

// Never where nothing lies between. Throws Error(unsupported), naming `where`, for bounds or divisors with too many digits.
ExprPtr number_expr(const NumberBounds& bounds, const GrammarLimits& limits, std::string_view where);
bool number_fits(const NumberBounds& bounds, const Decimal& value);

}  // namespace vl8
