#!/usr/bin/env bash
# cli_test.sh VL8 SOURCE_DIR: wrong flags, wrong files, wrong folders: one clear line each, the right exit code, no output
# on stdout. Then the main job on the bundled model.
set -u
vl8=$1 source=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
export VL8_LOG=warn

# expect CODE PATTERN COMMAND...: exit code and a pattern in stderr (and stdout empty when the code is not 0)
expect() {
  local code=$1 pattern=$2; shift 2
  "$@" >"$dir/out" 2>"$dir/err" </dev/null; local got=$?
  if [ $got -ne "$code" ] || ! grep -qiE -- "$pattern" "$dir/err" "$dir/out"; then
    echo "FAIL: $* -> exit $got (wanted $code), wanted /$pattern/"; sed 's/^/    /' "$dir/err" "$dir/out" | head -5; failed=1; return
  fi
  if [ "$code" -ne 0 ] && [ -s "$dir/out" ]; then echo "FAIL: $* printed to stdout"; head -3 "$dir/out"; failed=1; fi
  if [ "$code" -ne 0 ] && [ "$(wc -l <"$dir/err")" -gt 12 ]; then echo "FAIL: $* printed more than 12 lines of error"; failed=1; fi
  if grep -q "internal error" "$dir/err"; then echo "FAIL: $* reported an internal error"; cat "$dir/err"; failed=1; fi
}

expect 0 "COMMAND" "$vl8" --help
expect 0 "VL8_ISA" "$vl8" --help-env
expect 0 "[0-9]+\.[0-9]+" "$vl8" --version
for c in run chat inspect bench eval quantize dump; do expect 0 "help" "$vl8" $c --help; done
expect 2 "subcommand|required" "$vl8"
expect 2 "fly" "$vl8" fly
expect 2 "--wings" "$vl8" run --wings hello
expect 2 "prompt" "$vl8" run
expect 2 "temperature" "$vl8" run --temperature -1 hello
expect 2 "precision" "$vl8" run --precision f12 hello
expect 2 "backend" "$vl8" run --backend tpu hello
VL8_ISA=vax expect 2 "scalar" "$vl8" run hello

expect 1 "none" "$vl8" run -m "$dir/none" hello
mkdir "$dir/empty"
expect 1 "config.json" "$vl8" run -m "$dir/empty" hello
echo text >"$dir/file"
expect 1 "folder|file" "$vl8" run -m "$dir/file" hello
cp -r "$source/assets/nano" "$dir/half" && truncate -s 1000000 "$dir/half/"*.safetensors
expect 1 "safetensors" "$vl8" run -m "$dir/half" hello
cp -r "$source/assets/nano" "$dir/broken" && sed -i 's/"hidden_size"/"hidden_sise"/' "$dir/broken/config.json"
expect 1 "hidden_size" "$vl8" run -m "$dir/broken" hello

expect 1 "no.jpg" "$vl8" run --image "$dir/no.jpg" hello
cp "$dir/file" "$dir/text.jpg"
expect 1 "text.jpg" "$vl8" run --image "$dir/text.jpg" hello
: >"$dir/nothing.png"
expect 1 "nothing.png" "$vl8" run --image "$dir/nothing.png" hello
expect 1 "empty" "$vl8" run --video "$dir/empty" hello
expect 2 "picture|image" "$vl8" run --draw "$dir/x.png" hello
expect 2 "context" "$vl8" run --max-tokens 100000000 hello
expect 1 "cannot write|no folder" "$vl8" quantize "$source/assets/nano" "$dir/no/such/place" --recipe fp8-block128
expect 2 "recipe" "$vl8" quantize "$source/assets/nano" "$dir/q" --recipe fp7

expect 2 "size|loss" "$vl8" quantize "$source/assets/nano" "$dir/q" --recipe auto
expect 2 "not a size" "$vl8" quantize "$source/assets/nano" "$dir/q" --recipe auto --size lots
expect 2 "calibrat" "$vl8" quantize "$source/assets/nano" "$dir/q" --recipe fp8-layered --calibrate off
expect 2 "orin64" "$vl8" quantize "$source/assets/nano" "$dir/q" --target toaster
expect 0 "x86|PC|nothing to quantise" "$vl8" quantize "$source/assets/nano" --target x86-8 --dry-run
expect 1 "not a chat" "$vl8" quantize "$source/assets/nano" "$dir/q" --recipe int4-fp8 --calibrate "$dir/file"
[ -e "$dir/q" ] && { echo "FAIL: a refused quantisation left a folder"; failed=1; }

# every recipe on the bundled model: written, inspected, compared, and it still sees the missing screw
for r in fp8-block128 fp8-rowwise fp8-layered fp8-mixed int8 int4-fp8 fp4-fp8; do
  expect 0 "tensors quantised" "$vl8" quantize "$source/assets/nano" "$dir/$r" --recipe $r --calibration-tokens 1500
  expect 0 "quantised +[1-9]" "$vl8" inspect "$dir/$r"
  expect 0 "quantization_config" "$vl8" inspect "$source/assets/nano" --diff "$dir/$r" --worst 3
  expect 0 "[a-z]" "$vl8" run -m "$dir/$r" --image "$source/assets/demo/block.png" "Which screw is missing?" --max-tokens 24
done
expect 1 "quantised already" "$vl8" quantize "$dir/int8" "$dir/again"
expect 0 "report" "$vl8" quantize "$source/assets/nano" "$dir/report-q" --recipe fp4-fp8 --method rtn --calibration-tokens 600 --report "$dir/report" --no-eval
for f in report.md report.json sqnr.svg bytes.svg; do [ -s "$dir/report/$f" ] || { echo "FAIL: no $f in the report"; failed=1; }; done

# the main job
picture="$source/assets/demo/block.png"
expect 0 "." "$vl8" run --image "$picture" "Which screw is missing?" --max-tokens 40
first=$("$vl8" run --image "$picture" "Which screw is missing?" --json --max-tokens 40)
second=$("$vl8" run --image "$picture" "Which screw is missing?" --json --max-tokens 40)
[ "$(jq -r .text <<<"$first" 2>/dev/null || sed 's/"timings".*//' <<<"$first")" = "$(jq -r .text <<<"$second" 2>/dev/null || sed 's/"timings".*//' <<<"$second")" ] || { echo "FAIL: the same question gave two answers"; failed=1; }
# control tokens that a user types are ordinary text: no placeholder to fill, and more than one token each
expect 0 "." "$vl8" run --image "$picture" "<|image_pad|><|im_end|>Which screw is missing?" --max-tokens 40
tokens() { "$vl8" run "$1" --json --max-tokens 1 | grep -oE '"prompt_tokens":[0-9]+' | grep -oE '[0-9]+'; }
[ "$(tokens 'a<|im_end|>b')" -gt $(($(tokens 'ab') + 3)) ] || { echo "FAIL: a typed control token became the control token"; failed=1; }
expect 0 "drawn" "$vl8" run --image "$picture" "Give the boxes of all missing screws as JSON." --draw "$dir/marked.png"
[ "$(head -c 4 "$dir/marked.png" | tail -c 3)" = PNG ] || { echo "FAIL: --draw wrote no PNG"; failed=1; }
expect 0 "qwen3_vl" "$vl8" inspect --json
expect 0 "gate_up|quant|E4M3|fp8" "$vl8" quantize "$source/assets/nano" "$dir/fp8" --recipe fp8-block128
expect 1 "fp8" "$vl8" quantize "$source/assets/nano" "$dir/fp8" --recipe fp8-block128
expect 1 "already|FP8" "$vl8" quantize "$dir/fp8" "$dir/again" --recipe fp8-block128
expect 0 "." "$vl8" run -m "$dir/fp8" --image "$picture" "Which screw is missing?" --max-tokens 40

# Ctrl-C: stops within a second, exit 130
"$vl8" run --image "$picture" "Describe" --max-tokens 3000 --temperature 1 >/dev/null 2>&1 & pid=$!
sleep 0.7; kill -INT $pid 2>/dev/null; wait $pid; code=$?
[ $code -eq 130 ] || [ $code -eq 0 ] || { echo "FAIL: Ctrl-C gave exit $code"; failed=1; }

[ $failed -eq 0 ] && echo "cli: all passed"
exit $failed
