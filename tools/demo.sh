#!/usr/bin/env bash
# The main job on the bundled model and pictures: questions in two languages, boxes drawn into a PNG.
set -euo pipefail
cd "$(dirname "$0")/.."
vl8=build/release/vl8
out=build/demo
mkdir -p "$out"

ask() { printf '\n\033[1m> %s\033[0m   (%s)\n' "${*: -1}" "$1"; local picture=$2; shift 2; $vl8 run --image "$picture" "$@"; }

ask "wooden block" assets/demo/block.png "Which screw is missing?"
ask "wooden block" assets/demo/block.png "哪颗螺丝缺失？"
ask "wooden block" assets/demo/block.png --draw "$out/block.png" "Give the boxes of all missing screws as JSON."
echo
echo "The picture with the boxes: $out/block.png"
