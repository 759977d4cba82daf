// The template interpreter on its own: limits against hostile templates, messages with lines, marks of trust.
#include "text/jinja.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "core/error.h"

namespace vl8 {
namespace {
using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;
using namespace std::string_literals;

JinjaDict variables(const char* json, Trust trust = Trust::user) {
  JinjaDict out;
  const Json parsed = Json::parse(json);
  for (const auto& [key, value] : parsed.items())
    out.set(MarkedText(key), jinja_from_json(value, trust, "test"));
  return out;
}
MarkedText render(const std::string& source, const char* json = "{}", const JinjaLimits& limits = {}) {
  return JinjaTemplate::parse(source, "t.jinja").render(variables(json), 1721952000, limits);
}
std::string error_of(const std::string& source, const JinjaLimits& limits = {}) {
  try {
    render(source, "{}", limits);
  } catch (const Error& e) {
    EXPECT_NE(e.kind(), ErrorKind::internal) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error from: " << source.substr(0, 200);
  return "";
}

TEST(Jinja, ErrorsNameTheLine) {
  EXPECT_THAT(error_of("a\nb\n{{ 1 + }}"), HasSubstr("t.jinja:3: "));
  EXPECT_THAT(error_of("a\n{{ 'x' | nope }}"), HasSubstr("t.jinja:2: there is no filter 'nope'"));
  EXPECT_THAT(error_of("{% if 1 %}\n\n{{ x.y }}{% endif %}"), HasSubstr("t.jinja:3: 'x' is undefined"));
  EXPECT_THAT(error_of("\n{{ raise_exception('no way') }}"), HasSubstr("t.jinja:2: "));
  EXPECT_THAT(error_of("\n{{ raise_exception('no way') }}"), HasSubstr("no way"));
  EXPECT_THAT(error_of("{% set a = 1 %}\n{%- set b = [1,\n2][0] + 'x' %}"), HasSubstr("t.jinja:3: "));
  EXPECT_THAT(error_of("{% include 'x' %}"), HasSubstr("'include' is not supported"));
  EXPECT_THAT(error_of("{% for x in y recursive %}{% endfor %}"), HasSubstr("recursive"));
  EXPECT_THAT(error_of("{{ f(*a) }}"), HasSubstr("unpacking"));
  EXPECT_THAT(error_of("{{ {1: 2} }}"), HasSubstr("only str keys"));
  EXPECT_THAT(error_of("{% break %}"), HasSubstr("outside of a loop"));
}

// Each would hang, exhaust memory or overflow the stack without its limit.
TEST(Jinja, HostileTemplates) {
  auto repeated = [](const std::string& s, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += s;
    return out;
  };
  JinjaLimits small;
  small.steps = 200'000;
  small.allocated_bytes = 16 << 20;
  small.output_bytes = 1 << 20;
  for (const std::string& source : {
           "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"s,
           "{% for a in range(99999) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' }}{% endfor %}"s,
           "{{ 'a' * 999999999999 }}"s,
           "{{ [1] * 999999999999 }}"s,
           "{% set s = 'aaaaaaaa' %}" + repeated("{% set s = s ~ s %}", 60),
           "{% set s = ['a'] %}" + repeated("{% set s = s + s %}", 60),
           "{% set s = ['a'] %}" + repeated("{% set s = [s, s] %}", 60) + "{{ s }}",
           "{% set s = ['a'] %}" + repeated("{% set s = [s, s] %}", 60) + "{{ s | tojson }}",
           "{% set s = ['a'] %}{% set t = ['a'] %}" +
               repeated("{% set s = [s, s] %}{% set t = [t, t] %}", 60) + "{{ s == t }}",
           "{% set s = [] %}{% for i in range(300) %}{% set s = [s] %}{% endfor %}" +
               repeated("{% set s = [s] %}", 300),
           "{% set l = [] %}{{ l.append(l) }}{{ l }}"s,
           "{% set l = [] %}{{ l.append(l) }}{{ l | tojson }}"s,
           "{% set l = [] %}{% set m = [] %}{{ l.append(l) }}{{ m.append(m) }}{{ l == m }}"s,
           "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"s,
           "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}"s,
           "{{ range(100001) | list }}"s,
           "{{ 10 ** 999 }}"s,
           "{{ 'x' | center(999999999) }}"s,
           "{{ '%999999999d' % 1 }}"s,
           "{{ ('a' * 1000000) | replace('a', 'a' * 1000000) }}"s,
           "{{ ('a\n' * 300000) | indent(1000) }}"s,
           "{{ ('a' * 900000) | list | join('a' * 900000) }}"s,
           "{{ [3] | batch(0) }}"s,
           "{{ [3] | slice(999999999) }}"s,
           "{% set x = namespace(a='a') %}{% for i in range(99999) %}{% set x.a = x.a ~ x.a %}{% endfor %}"s,
           repeated("(", 5000),
           "{{ " + repeated("(", 5000),
           "{{ " + repeated("[", 5000),
           "{{ " + repeated("not ", 5000) + "1 }}",
           "{{ " + repeated("-", 5000) + "1 }}",
           "{{ 1" + repeated(" + 1", 5000) + " }}",
           "{{ 1" + repeated(" if 1 else 1", 5000) + " }}",
           "{{ x" + repeated(".a", 5000) + " }}",
           "{{ 'x'" + repeated(" | upper", 5000) + " }}",
           repeated("{% if 1 %}", 5000) + repeated("{% endif %}", 5000),
           repeated("{% for x in [1] %}", 5000),
           "{{ 'abc" + repeated("\\", 7),
           std::string((1 << 20) + 1, ' '),
           "{{ '\\ud800' }}"s,
           "\xFF"s,
           "{{ 99999999999999999999 }}"s,
       }) {
    if (source == repeated("(", 5000)) continue;  // plain text
    error_of(source, small);
  }
}

TEST(Jinja, LongButHarmless) {
  std::string chain = "{% if x == 0 %}0";
  for (int i = 1; i < 3000; ++i) chain += "{% elif x == " + std::to_string(i) + " %}" + std::to_string(i);
  EXPECT_EQ(render(chain + "{% endif %}", R"({"x": 2999})").str(), "2999") << "elif does not nest";
  std::string sum = "{{ 'x'";
  for (int i = 0; i < 150; ++i) sum += " + 'x'";
  EXPECT_EQ(render(sum + " }}").size(), 151u);
  EXPECT_EQ(render("{{ x | length }}", ("{\"x\": \"" + std::string(3'000'000, 'y') + "\"}").c_str()).str(),
            "3000000");
}

TEST(Jinja, DamagedTemplates) {
  const std::string good =
      "{% macro m(a, b='x') %}{{ a ~ b | upper }}{% endmacro %}{%- for k, v in d.items() if v is not none "
      "-%}\n"
      "{{ m(k, b=v[1:]) }}{% if loop.last %}!{% else %}{{ [1, 2.5, {'a': (1,)}] | tojson(indent=2) }}{% "
      "endif %}\n"
      "{%- endfor %}{# c #}{% set ns = namespace(x=1) %}{% set ns.x = ns.x + 1 %}{{ ns.x }}{% raw %}{{{% "
      "endraw %}";
  JinjaLimits small;
  small.steps = 100'000;
  std::mt19937 random(std::random_device{}());
  size_t rendered = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string bad = good;
    for (size_t n = 1 + random() % 3; n-- > 0;) {
      size_t at = random() % bad.size();
      if (random() % 2)
        bad[at] = "{}%#()[]'\"|.,:=-+ \n1ax"[random() % 23];
      else
        bad.erase(at, 1 + random() % 4);
    }
    try {
      render(bad, R"({"d": {"a": "xyz", "b": null, "c": [1, 2]}})", small);
      ++rendered;
    } catch (const Error& e) {
      EXPECT_NE(e.kind(), ErrorKind::internal) << e.what();
    }
  }
  EXPECT_LT(rendered, 5000u);
  EXPECT_GT(rendered, 0u);
}

TEST(Jinja, ContainersThatHoldThemselvesAreFreed) {  // the leak checker of the sanitizer build sees the rest
  EXPECT_EQ(render("{% set l = [] %}{% set m = [l] %}{{ l.append(m) or '' }}{% set ns = namespace() %}"
                   "{% set ns.me = ns %}{% set ns.l = l %}{% set d = {} %}{{ d.update({'d': d}) or '' }}"
                   "{% macro f() %}{% endmacro %}{% set ns.f = f %}{% for x in [1] %}{% set ns.loop = loop "
                   "%}{% endfor %}ok")
                .str(),
            "ok");
}

TEST(Jinja, MacrosOutliveTheirBlockOnlyWithAnError) {
  EXPECT_THAT(error_of("{% set ns = namespace() %}{% for x in [1] %}{% macro f() %}{{ x }}{% endmacro %}"
                       "{% set ns.f = f %}{% endfor %}{{ ns.f() }}"),
              HasSubstr("outside of the block"));
}

TEST(Jinja, ChangesToListsAndDictionaries) {
  EXPECT_EQ(render("{% set l = [1] %}{% set _ = l.append(2) %}{% set _ = l.extend([3, 4]) %}{% set _ = "
                   "l.insert(0, 0) %}"
                   "{{ l.pop() }}{{ l }}{{ l.index(2) }}{{ l.count(9) }}")
                .str(),
            "4[0, 1, 2, 3]20");
  EXPECT_EQ(render("{% set d = {'a': 1} %}{% set _ = d.update({'b': 2}, c=3) %}{{ d.setdefault('a', 9) }}"
                   "{{ d.setdefault('z', 9) }}{{ d.pop('b') }}{{ d.pop('b', 0) }}{{ d }}")
                .str(),
            "1920{'a': 1, 'c': 3, 'z': 9}");
  EXPECT_THAT(error_of("{{ (1, 2).append(3) }}"), HasSubstr("tuple"));
  EXPECT_THAT(error_of("{{ [].pop() }}"), HasSubstr("no such item"));
}

TEST(Jinja, LargeDictionariesAreIndexed) {
  Json j;
  for (int i = 0; i < 5000; ++i) j["d"]["key" + std::to_string(i)] = i;
  EXPECT_EQ(
      render("{{ d.key4999 }} {{ d['key0'] }} {{ d.nokey is defined }} {{ d.pop('key17') }} {{ d.key18 }} "
             "{{ d.key17 is defined }} {{ d | length }}",
             j.dump().c_str())
          .str(),
      "4999 0 False 17 18 False 4999");
}

TEST(Jinja, TimeAndIntegers) {
  setenv("TZ", "UTC", 1);
  tzset();
  EXPECT_EQ(render("{{ strftime_now('%Y-%m-%d %H:%M') }}").str(), "2024-07-26 00:00");
  EXPECT_EQ(
      render("{{ x }} {{ x | tojson }} {{ y }}", R"({"x": 18446744073709551615, "y": -9223372036854775808})")
          .str(),
      "18446744073709551615 18446744073709551615 -9223372036854775808");
  EXPECT_EQ(render("{% generation %}a{{ 1 }}{% endgeneration %}").str(), "a1");
}

TEST(Jinja, ValuesNestedTooDeepAreRefused) {
  Json deep = 1;
  for (int i = 0; i < 300; ++i) deep = Json::array({deep});
  EXPECT_THROW(jinja_from_json(deep, Trust::user, "x"), Error);
}

// Marks of trust

std::string marked(const MarkedText& t) {  // user bytes in <>, model bytes in ()
  std::string out;
  for (size_t i = 0; i < t.size(); ++i) {
    Trust now = t.trust_at(i), before = i ? t.trust_at(i - 1) : Trust::author;
    if (now != before && before != Trust::author) out += before == Trust::user ? '>' : ')';
    if (now != before && now != Trust::author) out += now == Trust::user ? '<' : '(';
    out += t.str()[i];
  }
  Trust last = t.size() ? t.trust_at(t.size() - 1) : Trust::author;
  return out + (last == Trust::user ? ">" : last == Trust::model ? ")" : "");
}

TEST(JinjaTrust, IsCarriedThroughOperations) {
  const char* kData = R"({"u": " Ab,Cd ", "d": {"k": "v"}, "n": 5, "l": ["x", "y"]})";
  for (auto [source, expected] : std::vector<std::pair<std::string, std::string>>{
           {"[{{ u }}]", "[< Ab,Cd >]"},
           {"{{ '[' + u.strip() + ']' }}", "[<Ab,Cd>]"},
           {"{{ '[' ~ u | trim ~ ']' }}", "[<Ab,Cd>]"},
           {"{{ u.strip().split(',') | join('-') }}", "<Ab>-<Cd>"},
           {"{{ u.strip()[1:4] }}{{ u.strip()[0] }}", "<b,CA>"},
           {"{{ (u.strip() + '|a,b').split(',')[1] }}", "<Cd>|a"},
           {"{{ u.strip().replace(',', '--') }}", "<Ab>--<Cd>"},
           {"{{ 'a,b'.replace(',', u.strip()) }}", "a<Ab,Cd>b"},
           {"{{ u | upper | trim }}", "<AB,CD>"},
           {"{{ ('x' ~ u) | upper }}", "<X AB,CD >"},
           {"{{ u.strip()[::-1] }}", "<dC,bA>"},
           {"{{ d | tojson }}", "{<\"k\">: <\"v\">}"},
           {"{{ d }}", "{<'k'>: <'v'>}"},
           {"{% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}", "<k>=<v>"},
           {"{{ l | join(', ') }}{{ l | first }}{{ l | map('upper') | join }}", "<x>, <yxXY>"},
           {"{{ n }}{{ n is number }}{{ u | length }}", "5True7"},
           {"{{ 'a%sb%d' % (u.strip(), n) }}", "a<Ab,Cd>b5"},
           {"{{ '{}!'.format(u.strip()) }}", "<Ab,Cd>!"},
           {"{% set x %}[{{ u.strip() }}]{% endset %}{{ x }}", "[<Ab,Cd>]"},
           {"{% macro m(a) %}({{ a }}{% endmacro %}{{ m(u.strip()) }}", "(<Ab,Cd>"},
           {"{{ u.strip() if u else 'x' }}{{ zzz | default(u.strip()) }}", "<Ab,CdAb,Cd>"},
           {"{{ u.strip() | indent(2, true) }}{{ 'x' ~ (u.strip() | list | last) }}", "  <Ab,Cd>x<d>"},
           {"{{ u.strip() * 2 }}{{ u.strip() | center(8) }}", "<Ab,CdAb,Cd> <Ab,Cd>  "},
           {"{{ u.strip().partition(',')[2] }}{{ l | sort | last }}{{ [u, 'z'] | max }}", "<Cdy>z"},
           {"{% filter upper %}a{{ d.k }}{% endfilter %}", "<AV>"},
           {"{{ strftime_now('%Y') }}{{ strftime_now(u.strip()) }}", "2024<Ab,Cd>"},
           {"{{ u.strip() | truncate(4, true, '.', 0) }}{{ u | e | trim }}", "<Ab,>.<Ab,Cd>"},
       })
    EXPECT_EQ(marked(JinjaTemplate::parse(source, "t").render(variables(kData), 1721952000)), expected)
        << source;
  EXPECT_EQ(
      marked(JinjaTemplate::parse("{{ u ~ '.' }}", "t").render(variables(R"({"u": "m"})", Trust::model))),
      "(m).");
}

}  // namespace
}  // namespace vl8
