#!/usr/bin/env bash
# The npm SDKs and OpenAI's own schema against vl8 serve (tests/server/sdk). Installs their packages (about 90 MB) on the first
# run; `--install` does that alone. Exit 77 where there is no Node, npm or way to it.
set -euo pipefail
cd "$(dirname "$0")/../tests/server/sdk"
command -v node >/dev/null && command -v npm >/dev/null || { echo "check_sdks: Node 20 and npm are needed"; exit 77; }
[ -d node_modules/openai ] || npm install --no-audit --no-fund --no-package-lock --loglevel=error --prefer-offline || { echo "check_sdks: npm cannot have the packages"; exit 77; }
[ "${1:-}" = --install ] || exec node --test --test-reporter=spec sdk.test.mjs openapi.test.mjs
