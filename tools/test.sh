#!/usr/bin/env bash
# Every test: the test programs as released, the gates, then those that read untrusted input once more under the address
# and undefined-behaviour sanitizers. Ends with one line that counts all of them.
set -uo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
passed=0; failed=0; skipped=0

count() {  # adds the totals of a ctest log
  local total fails skips
  total=$(grep -oE 'tests failed out of [0-9]+' "$1" | grep -oE '[0-9]+' | tail -1)
  fails=$(grep -oE '[0-9]+ tests? failed out of' "$1" | grep -oE '^[0-9]+' | tail -1)
  skips=$(grep -cE '\*\*\*Skipped' "$1")
  passed=$((passed + ${total:-0} - ${fails:-0} - skips)); failed=$((failed + ${fails:-0})); skipped=$((skipped + skips))
  [ -n "${total:-}" ] || failed=$((failed + 1))
}

run_preset() {  # NAME TARGET
  local name=$1 target=$2 log
  log=$(mktemp)
  echo "== build $name"
  if cmake --preset "$name" >"$log" 2>&1 && cmake --build --preset "$name" -j "$jobs" --target "$target" >>"$log" 2>&1; then
    echo "== test $name"
    ctest --test-dir "build/$name" -j "$jobs" --output-on-failure 2>&1 | grep -vE '^ +Start |Passed +[0-9.]+ sec$' | tee "$log"
    count "$log"
  else
    tail -n 60 "$log"; echo "the $name build failed"; failed=$((failed + 1))
  fi
  rm -f "$log"
}

run_preset release all
if tools/check.sh; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
run_preset asan vl8_tests

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
