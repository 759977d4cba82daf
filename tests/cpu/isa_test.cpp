// The choice of the instruction set, and that it can be forced.
#include "cpu/isa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/error.h"
#include "cpu/cpu_ops.h"

namespace vl8 {
namespace {
using ::testing::HasSubstr;

std::string usage_error(std::string_view name) {
  try {
    cpu::find_isa(name);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    return e.what();
  }
  return "";
}

TEST(Isa, RowsAreOrderedAndComplete) {
  auto rows = cpu::isa_rows();
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows.front().name, "scalar");
  EXPECT_TRUE(rows.front().supported());
  for (const cpu::Isa& r : rows) EXPECT_NE(r.table, nullptr) << r.name;
  // A set implies those before it.
  for (size_t i = 1; i < rows.size(); ++i)
    EXPECT_LE(rows[i].supported(), rows[i - 1].supported()) << rows[i].name;
}

TEST(Isa, BestIsTheLastSupported) {
  unsetenv("VL8_ISA");
  std::string_view best;
  for (const cpu::Isa& r : cpu::isa_rows())
    if (r.supported()) best = r.name;
  EXPECT_EQ(cpu::find_isa("").name, best);
}

TEST(Isa, EnvironmentForcesOne) {
  setenv("VL8_ISA", "scalar", 1);
  EXPECT_EQ(make_cpu_ops(Precision::f32, 1)->name(), "cpu scalar");
  setenv("VL8_ISA", "sse9", 1);
  EXPECT_THROW(make_cpu_ops(Precision::f32, 1), Error);
  unsetenv("VL8_ISA");
}

TEST(Isa, ErrorsPrintTheRows) {
  std::string text = usage_error("sse9");
  EXPECT_THAT(text, HasSubstr("unknown instruction set 'sse9'"));
  for (const cpu::Isa& r : cpu::isa_rows()) EXPECT_THAT(text, HasSubstr(std::string(r.name)));
  for (const cpu::Isa& r : cpu::isa_rows())
    if (!r.supported()) {
      EXPECT_THAT(usage_error(r.name), HasSubstr("this machine lacks"));
    }
}

TEST(Isa, ThreadsFromTheEnvironmentAreChecked) {
  for (const char* bad : {"zero", "0", "-2", "3x", "99999"}) {
    setenv("VL8_THREADS", bad, 1);
    EXPECT_THROW(make_cpu_ops(Precision::f32), Error) << bad;
  }
  unsetenv("VL8_THREADS");
}

}  // namespace
}  // namespace vl8
