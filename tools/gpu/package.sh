#!/usr/bin/env bash
# A folder that runs on a machine with an NVIDIA driver and nothing of ours: programs of a CUDA build, the libraries they
# need beside glibc, golden data and the published configurations. Usage: package.sh BUILD_DIR OUT_DIR
set -euo pipefail
build=${1:?usage: $0 BUILD_DIR OUT_DIR} out=${2:?usage: $0 BUILD_DIR OUT_DIR}
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
golden=${VL8_GOLDEN:-$root/../shared/golden}
stage=$(mktemp -d); trap 'rm -rf "$stage"' EXIT
configs=shared/qwen3-vl/configs
mkdir -p "$stage"/{bin,lib,golden,$configs} "$out"
for program in vl8 test_cuda test_model; do
  [ -x "$build/$program" ] || { echo "$build/$program is missing: build it with VL8_CUDA=ON first" >&2; exit 1; }
  strip -o "$stage/bin/$program" "$build/$program"
  ldd "$build/$program" | awk '/=> \//{print $3}' | grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\.so' |
    xargs -I{} cp -Ln {} "$stage/lib/"
done
find "$stage/lib" -type f -exec strip --strip-unneeded {} + 2>/dev/null || true
# Golden data are random numbers and do not compress: GOLDEN="tiny-dense tiny-moe" chooses among them, empty for none.
for model in ${GOLDEN-$(ls "$golden" | grep ^tiny-)}; do cp -r "$golden/$model" "$stage/golden/"; done
for config in "$root"/../shared/qwen3-vl/configs/{4b-fp8.derived,8b-fp8.derived,30b-a3b-fp8.derived,8b}.json; do cp "$config" "$stage/$configs/" 2>/dev/null || true; done
chmod -R u+w "$stage"
cp "$here/check.sh" "$out/check.sh"
# One dictionary over all programs: they hold the same kernels.
tar -C "$stage" -c . | xz -T1 --lzma2=preset=${XZ_PRESET:-6},dict=192MiB > "$out/vl8-gpu.tar.xz"
du -h "$out/vl8-gpu.tar.xz"
