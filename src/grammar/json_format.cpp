#include "grammar/json_format.h"

#include <string>

namespace vl8 {
namespace {

// Every day that exists: 30 and 31 days, 28 in February and the 29th in leap years (RFC 3339, appendix C).
#define VL8_DATE                                                                                              \
  "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|"         \
  "02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[048]|[2468][048]|[13579][26])00)-02-29)"
#define VL8_TIME "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define VL8_LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
#define VL8_HOST VL8_LABEL "(?:\\." VL8_LABEL "){0,3}"
#define VL8_OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define VL8_HEX4 "[0-9a-fA-F]{1,4}"

struct Format {
  std::string_view name, pattern;
};
constexpr Format kFormats[] = {
    {"date", VL8_DATE},
    {"time", VL8_TIME},
    {"date-time", VL8_DATE "T" VL8_TIME},
    {"duration", "P(?:[0-9]{1,4}W|(?:[0-9]{1,4}Y(?:[0-9]{1,2}M(?:[0-9]{1,2}D)?)?|[0-9]{1,2}M(?:[0-9]{1,2}D)?|[0-9]{1,3}D)"
                 "(?:T[0-9]{1,2}H(?:[0-9]{1,2}M(?:[0-9]{1,2}S)?)?)?|T(?:[0-9]{1,2}H(?:[0-9]{1,2}M(?:[0-9]{1,2}S)?)?|[0-9]{1,2}M(?:[0-9]{1,2}S)?|"
                 "[0-9]{1,2}S))"},
    {"email", "[A-Za-z0-9_+-]{1,30}(?:\\.[A-Za-z0-9_+-]{1,20}){0,2}@" VL8_LABEL "(?:\\." VL8_LABEL "){1,3}"},
    {"hostname", VL8_HOST},
    {"ipv4", VL8_OCTET "(?:\\." VL8_OCTET "){3}"},
    {"ipv6", "(?:" VL8_HEX4 ":){7}" VL8_HEX4 "|(?:" VL8_HEX4 ":){1,6}:" VL8_HEX4 "|::(?:" VL8_HEX4 ")?"},
    {"uri", "https?://" VL8_HOST "(?::[1-9][0-9]{0,3})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*(?:\\?[A-Za-z0-9._~=&-]*)?(?:#[A-Za-z0-9._~-]*)?"},
    {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
    {"json-pointer", "(?:/(?:[^/~]|~0|~1)*)*"},
    // Annotations of OpenAPI and of strings that are only labelled.
    {"int32", ""}, {"int64", ""}, {"float", ""}, {"double", ""}, {"byte", ""}, {"binary", ""}, {"password", ""},
};

}  // namespace

std::optional<std::string_view> format_pattern(std::string_view name) {
  for (const Format& f : kFormats)
    if (f.name == name) return f.pattern;
  return std::nullopt;
}

}  // namespace vl8
