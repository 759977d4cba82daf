#!/usr/bin/env bash
# run.sh NODE: the SDK suites where their packages are installed; 77 (skipped) elsewhere.
cd "$(dirname "$0")"
[ -d node_modules/openai ] || { echo "npm packages are not installed: tools/check_sdks.sh --install"; exit 77; }
exec "$1" --test sdk.test.mjs openapi.test.mjs
