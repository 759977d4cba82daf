#!/usr/bin/env bash
# Installs what is missing to build (and test) vl8 on Debian 12 or Ubuntu 24.04. Arguments: build, test.
# Does nothing, and asks for nothing, when everything is there.
set -euo pipefail

build=(build-essential cmake ninja-build pkg-config ca-certificates
       libfmt-dev libspdlog-dev libcli11-dev libsimdjson-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev
       libturbojpeg0-dev libjpeg-dev libpng-dev libwebp-dev libgif-dev libxxhash-dev libavformat-dev libavcodec-dev libswscale-dev libavdevice-dev
       libsqlite3-dev libcurl4-openssl-dev libssl-dev libmosquitto-dev libtomlplusplus-dev)
test=(libgtest-dev libgmock-dev libbenchmark-dev ffmpeg mosquitto mosquitto-clients sqlite3 python3)

packages=()
for group in "$@"; do
  case $group in
    build) packages+=("${build[@]}") ;;
    test) packages+=("${test[@]}") ;;
    *) echo "setup.sh: unknown group '$group'; there are build and test" >&2; exit 2 ;;
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
