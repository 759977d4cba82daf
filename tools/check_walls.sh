#!/usr/bin/env bash
# The walls between the rooms of src/: who may include whom. Prints every include that points the wrong way.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A may=(
  [core]="core"
  [sparse]="core sparse"
  [ops]="core ops"
  [cpu]="core ops cpu"
  [cuda]="core ops cuda"
  [model]="core ops model"
  [text]="core text"
  [media]="core media"
  [grammar]="core text grammar"
  [web]="core web"
  [io]="core ops model io"
  [engine]="core sparse ops model text media io grammar engine cpu cuda"
  [watch]="core sparse media engine watch"
  [server]="core model text media grammar web engine server"
  [quant]="core ops model text media io grammar engine quant"
)
bad=0
while IFS=: read -r file line include; do
  room=${file#src/}; room=${room%%/*}
  target=${include#*\"}; target=${target%%/*}
  [[ "$include" == *\"*/*\"* ]] || continue
  allowed=${may[$room]:-}
  [ -n "$allowed" ] || { echo "$file: room '$room' is not listed in tools/check_walls.sh"; bad=1; continue; }
  if [[ " $allowed " != *" $target "* ]]; then
    echo "$file:$line: $room may not include $target/ (it may include: $allowed)"
    bad=1
  fi
done < <(grep -rnE '^#include "' src --include='*.h' --include='*.cpp' --include='*.inl' --include='*.cu' --include='*.cuh')
# Only the file that makes backends may name one.
if grep -rlE '#include "(cpu|cuda)/' src/engine | grep -v 'src/engine/loaded_model.cpp'; then
  echo "only src/engine/loaded_model.cpp may know which backends there are"
  bad=1
fi
exit $bad
