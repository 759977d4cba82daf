#!/usr/bin/env bash
# All gates that need no test data: walls and instruction-set objects; FORMAT=1 and TIDY=1 add formatting and clang-tidy.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0
gate() {
  local name=$1; shift
  if "$@"; then echo "ok    $name"; else echo "FAIL  $name"; status=1; fi
}
gate "walls between rooms" tools/check_walls.sh
[ -d build/release ] && gate "no weak symbols in instruction-set objects" tools/check_isa_symbols.sh build/release
if [ "${FORMAT:-0}" = 1 ] && command -v clang-format-19 >/dev/null; then
  gate "formatting" bash -c "git ls-files '*.cpp' '*.h' '*.inl' | xargs clang-format-19 --dry-run -Werror"
else
  echo "skip  formatting (FORMAT=1 and clang-format-19 turn it on)"
fi
if [ "${TIDY:-0}" = 1 ] && command -v clang-tidy-19 >/dev/null && [ -f build/dev/compile_commands.json ]; then
  gate "clang-tidy" bash -c "git ls-files 'src/*.cpp' 'apps/*.cpp' | grep -v /isa_ | xargs -P 2 -n 4 clang-tidy-19 --quiet -p build/dev"
fi
exit $status
