#!/bin/sh
# The object of one instruction set must export nothing that the linker could merge with, or take for, another body:
# no weak and no unique symbols, and one table as the only defined global. Usage: check_isa_symbols.sh BUILD_DIR
set -eu
build=${1:?usage: $0 BUILD_DIR}
bad=0 seen=0
for object in $(find "$build" -path '*vl8_cpu.dir*' -name 'isa_*.cpp.o'); do
  seen=$((seen + 1))
  extra=$(nm -C "$object" | awk '$2 ~ /^[WVuwv]$/ || ($2 ~ /^[TDBRGC]$/ && !($2 == "R" || $2 == "D") ) { print }')
  tables=$(nm -C --defined-only "$object" | awk '$2 ~ /^[TDBRGCWVu]$/' | grep -c 'vl8::cpu::table_' || true)
  if [ -n "$extra" ] || [ "$tables" != 1 ]; then
    echo "$object: $tables tables, and these symbols must not be there:"
    echo "$extra"
    bad=1
  fi
done
[ "$seen" -ge 5 ] || { echo "only $seen instruction-set objects under $build"; exit 1; }
[ "$bad" = 0 ] && echo "$seen objects: one table each, no weak symbols"
exit $bad
