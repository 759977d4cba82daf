#!/usr/bin/env bash
# On a machine with a GPU: parity of every verb and of all golden cases, then the benchmarks. Runs beside vl8-gpu.tar.xz
# (package.sh) or, given a build folder in VL8_BUILD, on that. Prints a short table; results.json and logs go to the folder
# $1. SECONDS_LEFT bounds the whole; every step has a limit of its own and a failure does not stop the rest.
set -uo pipefail
out=${1:?usage: $0 RESULTS_DIR}; mkdir -p "$out"; out=$(cd "$out" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
end=$((SECONDS + ${SECONDS_LEFT:-600}))
if [ -n "${VL8_BUILD:-}" ]; then
  bin=$VL8_BUILD
else
  work=$(mktemp -d); tar -C "$work" -xJf "$here/vl8-gpu.tar.xz"
  bin=$work/bin; export LD_LIBRARY_PATH=$work/lib VL8_GOLDEN=$work/golden VL8_SHARED=$work/shared
fi
configs=${VL8_CONFIGS:-${work:-}/shared/qwen3-vl/configs}
nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.sm,clocks.mem --format=csv,noheader | tee "$out/gpu.txt"

step() {  # NAME SECONDS COMMAND..: its log is NAME.log
  local name=$1 limit=$2 left=$((end - SECONDS)) start=$SECONDS rc; shift 2
  [ "$left" -gt 3 ] || { echo "$name: no time left"; return 1; }
  timeout -k 2 $((limit < left ? limit : left)) "$@" > "$out/$name.log" 2>&1; rc=$?
  echo "$name: rc $rc, $((SECONDS - start)) s"
  return $rc
}
tests() {  # NAME SECONDS PROGRAM FILTER: one line a failed case
  step "$1" "$2" "$bin/$3" --gtest_brief=1 "--gtest_filter=$4"
  grep -E '^\[  PASSED|^\[  FAILED  \] [A-Z]|least cosine|^tiny|exception' "$out/$1.log" | cut -c1-160 | sort -u | head -14
}
bench() {  # NAME SECONDS ARGUMENTS..
  local name=$1 limit=$2; shift 2
  step "$name" "$limit" "$bin/vl8" bench --backend cuda --json "$@" || tail -2 "$out/$name.log"
  python3 - "$out/$name.log" "$name" <<'PY'
import json, sys
try:
    row = json.loads([l for l in open(sys.argv[1]) if l.startswith("{")][-1])
except Exception:
    sys.exit(0)
for r in [row] + row.get("sweep", []):
    o, d, p, v = r["options"], r.get("decode", {}), r.get("prefill", {}), r.get("vision", {})
    name = f"  {sys.argv[2]} prompt {o['prompt']} batch {o['batch']}:"
    if v: print(name, f"vision {v['ms']} ms, {v['tflops']} TFLOP/s")
    if p: print(name, f"prefill {p['ms']} ms, {p['tflops']} TFLOP/s")
    if d: print(name, f"decode {d['ms_per_token']} ms, {d['gb_per_s']} of {d['ceiling_gb_per_s']} GB/s = {d['share_pct']} %")
print("  device memory", row["memory"]["device_mb"], "MB")
PY
}

# First with everything optional off, so that a failure says which part it is in.
VL8_CUDA=noearly,nohopper,nographs tests verbs-plain 20 test_cuda '*'
VL8_CUDA=noearly,nohopper,nographs tests golden-plain 20 test_model '*LogitsPositionsGreedy*cuda*:*Bf16IsClose*cuda*'
tests verbs 15 test_cuda '*'
tests golden 20 test_model '*LogitsPositionsGreedy*cuda*:*Bf16IsClose*cuda*:*AnyBatch*cuda*'
tests full-size 25 test_model '*FullSize*'
shape() { echo --shape "$configs/$1" --random fp8 --precision w8a8; }
bench 8b 45 $(shape 8b-fp8.derived.json) --prompt 1024 --gen 40 --chunk 4096 --image 1024x1024 --sweep 4096:8:1,2048:10:64,32768:8:1 --repeat 2
grep -q '^{' "$out/8b.log" || VL8_CUDA=noearly,nohopper,nographs bench 8b-plain 30 $(shape 8b-fp8.derived.json) --prompt 1024 --gen 10 --chunk 1024 --image 1024x1024 --repeat 2
VL8_CUDA=nohopper bench 8b-nohopper 25 $(shape 8b-fp8.derived.json) --prompt 4096 --gen 8 --chunk 4096 --image 1024x1024 --layers 8 --repeat 2
VL8_CUDA=tune bench 8b-tuned 45 $(shape 8b-fp8.derived.json) --prompt 4096 --gen 24 --chunk 4096 --layers 8 --repeat 2
bench 4b 40 $(shape 4b-fp8.derived.json) --prompt 1024 --gen 24 --chunk 4096
bench 30b 60 $(shape 30b-a3b-fp8.derived.json) ${LAYERS_30B:+--layers $LAYERS_30B} --prompt 4096 --gen 24 --chunk 4096
command -v compute-sanitizer > /dev/null && step memcheck 120 compute-sanitizer --error-exitcode 9 "$bin/test_cuda" --gtest_filter='*bf16'
python3 - "$out" <<'PY'
import glob, json, os, sys
rows = {}
for f in sorted(glob.glob(os.path.join(sys.argv[1], "*.log"))):
    for line in open(f, errors="replace"):
        if line.startswith("{"):
            try: rows[os.path.basename(f)[:-4]] = json.loads(line)
            except ValueError: pass
json.dump(rows, open(os.path.join(sys.argv[1], "results.json"), "w"), indent=1)
PY
