#!/usr/bin/env bash
# Installs what is missing to build (and test) vl8 on Debian 12 or Ubuntu 24.04. Arguments: build, test, fuzz, page.
# Does nothing, and asks for nothing, when everything is there.
set -euo pipefail

boost=libboost1.81-dev  # Debian 12's libboost-dev is too old (1.74); Ubuntu 24.04's is 1.83
. /etc/os-release && [ "${ID:-}" != ubuntu ] || boost=libboost-dev
build=(build-essential cmake ninja-build pkg-config ca-certificates
       libfmt-dev libspdlog-dev libcli11-dev libsimdjson-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev
       libturbojpeg0-dev libjpeg-dev libpng-dev libwebp-dev libgif-dev libxxhash-dev libavformat-dev libavcodec-dev libswscale-dev libavdevice-dev
       "$boost" libssl-dev libtomlplusplus-dev libsqlite3-dev libcurl4-openssl-dev libmosquitto-dev)
test=(libgtest-dev libgmock-dev libbenchmark-dev ffmpeg mosquitto mosquitto-clients sqlite3 python3 libvalijson-dev json-schema-test-suite)
fuzz=(clang-19 libclang-rt-19-dev)
page=(chromium)

packages=()
for group in "$@"; do
  case $group in
    build) packages+=("${build[@]}") ;;
    test) packages+=("${test[@]}") ;;
    fuzz) packages+=("${fuzz[@]}") ;;
    page) packages+=("${page[@]}") ;;
    *) echo "setup.sh: unknown group '$group'; there are build, test, fuzz and page" >&2; exit 2 ;;
  esac
done

missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "setup.sh: these packages are needed, and this system has no apt-get to install them: ${missing[*]}" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup.sh: run this as root once: apt-get install -y ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
echo "setup: installing ${#missing[@]} packages: ${missing[*]}"
"${sudo[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
