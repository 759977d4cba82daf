#!/bin/sh
# Gathers what the GPU machine needs into one folder: pack.sh SHARED_DATA DEST
set -e
here=$(cd "$(dirname "$0")" && pwd)
repo=$here/../..
mkdir -p "$2/data/screws" "$2/assets" "$2/eval"
cp -r "$here"/*.py "$here"/vl8nano "$here"/plain.txt "$2"/
rm -rf "$2"/vl8nano/__pycache__
find "$repo/assets/nano" -maxdepth 1 -type f ! -name '*.safetensors' -exec cp {} "$2/assets/" \;
cp -r "$repo"/assets/nano-eval/. "$2/eval/"
cp -r "$1/screws/images" "$1/screws/labels.jsonl" "$2/data/screws/"
cp -r "$1/deeppcb" "$2/data/"
