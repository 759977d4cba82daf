#!/usr/bin/env bash
# Runs every fuzz target for a while. Usage: fuzz/run.sh [SECONDS EACH] [TARGET..]; findings and grown corpora go to build/fuzz.
# Ends with one line that counts targets, 0 only where none found anything.
set -uo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
shift || true
bin=build/fuzz
[ -d $bin ] || { echo "build first: cmake --preset fuzz && cmake --build --preset fuzz"; exit 2; }
python3 fuzz/make_seeds.py $bin/seeds
passed=0; failed=0
for path in $bin/fuzz_*; do
  [ -x "$path" ] && [ -f "$path" ] || continue
  name=${path##*/fuzz_}
  [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
  mkdir -p "$bin/corpus/$name" "$bin/found/$name"
  if "$path" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 -verbosity=0 -close_fd_mask=1 \
       -artifact_prefix="$bin/found/$name/" "$bin/corpus/$name" "$bin/seeds/$name" >"$bin/$name.log" 2>&1; then
    echo "fuzz $name: $(grep -oE 'number_of_executed_units: +[0-9]+' "$bin/$name.log" | grep -oE '[0-9]+') inputs, nothing found"
    passed=$((passed + 1))
  else
    tail -n 40 "$bin/$name.log"; echo "fuzz $name: FOUND something, see $bin/found/$name"; failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
