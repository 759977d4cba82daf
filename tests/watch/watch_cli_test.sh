#!/usr/bin/env bash
# watch_cli_test.sh VL8 SOURCE_DIR: vl8 watch as a whole, on the bundled model and picture: a missing screw becomes an MQTT
# message with millimetres, a signed webhook and a stored frame; kill -9 loses and doubles nothing; a live stream is watched.
set -u
vl8=$1 source=$2
for program in mosquitto mosquitto_sub python3 ffmpeg sqlite3; do
  command -v $program >/dev/null || { echo "skipped: $program is not installed"; exit 77; }
done
dir=$(mktemp -d)
pids=()
finish() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done; wait 2>/dev/null; rm -rf "$dir"; }
trap finish EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
sql() { sqlite3 "$dir/$1" "$2"; }
export VL8_LOG=warn
port=$((20000 + RANDOM % 20000))

mosquitto -p $port >"$dir/broker.log" 2>&1 & pids+=($!)
mkdir "$dir/photos"
cp "$source/assets/demo/block.png" "$dir/photos/block-1.png"
config() {  # name, input, live, sparsity, actions
  cat <<TOML
store = "$1.sqlite"
report_s = 0
[[source]]
name = "block"
input = "$2"
live = $3
rate = 0
question = "用JSON给出所有缺失螺丝的位置框。"
sparsity = "$4"
[source.calibration]
pixels_per_mm = 4.0
[[source.rule]]
name = "missing screw"
defect = "screw missing"
boxes = true
sentence = "M3螺钉缺失,位置X={x},Y={y}"
actions = [$5]
[[action]]
name = "arm"
kind = "mqtt"
port = $port
topic = "line/arm"
[[action]]
name = "hook"
kind = "webhook"
url = "http://127.0.0.1:$((port + 1))/events"
secret = "key"
first_wait_s = 0.1
[[action]]
name = "log"
kind = "stdout"
TOML
}

# 1. the flagship case: a robot arm hears of the missing screw, in millimetres, once
sleep 0.5
timeout 60 mosquitto_sub -p $port -t line/arm -q 1 >"$dir/arm.jsonl" & pids+=($!)
sleep 0.5
config one photos false off '"arm", "log"' >"$dir/one.toml"
"$vl8" watch "$dir/one.toml" >"$dir/out" 2>"$dir/err" || { fail "watch ended with $?"; cat "$dir/err"; }
sleep 0.5
events=$(sql one.sqlite "select count(*) from event")
[ "$events" -ge 1 ] || { fail "no event for the missing screw"; cat "$dir/out" "$dir/err"; }
[ "$(wc -l <"$dir/arm.jsonl")" = "$events" ] || fail "the arm got $(wc -l <"$dir/arm.jsonl") messages for $events events"
[ "$(wc -l <"$dir/out")" = "$events" ] || fail "stdout got $(wc -l <"$dir/out") lines for $events events"
python3 - "$dir/arm.jsonl" <<'PY' || fail "the message is not as it should be"
import json, sys
for line in open(sys.argv[1]):
    e = json.loads(line)
    assert e["defect"] == "screw missing" and e["unit"] == "mm", e
    assert abs(e["x"] - (e["box_px"][0] + e["box_px"][2]) / 8) < 0.01, e
    assert e["sentence"] == f"M3螺钉缺失,位置X={e['x']:.1f},Y={e['y']:.1f}", e
PY
grep -q "confirmed .* ms after its frame" "$dir/err" || fail "the time from frame to message is not printed"
"$vl8" watch "$dir/one.toml" >"$dir/out" 2>>"$dir/err"
[ -s "$dir/out" ] && fail "a frame that was done was looked at again"
"$vl8" watch "$dir/one.toml" --export-coco "$dir/coco.json" >/dev/null && [ -s "$dir/coco-000001.jpg" ] || fail "no frame beside the COCO file"

# 2. kill -9 at any moment: every frame once, every event once, every delivery made
mkdir "$dir/many"
for i in $(seq 1 12); do cp "$source/assets/demo/block.png" "$dir/many/frame-$i.png"; done
config many many false off '"log"' >"$dir/many.toml"
kills=0
for round in $(seq 1 40); do
  "$vl8" watch "$dir/many.toml" >>"$dir/many.out" 2>>"$dir/many.err" & pid=$!
  sleep "0.$((RANDOM % 9 + 1))"
  if kill -9 $pid 2>/dev/null; then kills=$((kills + 1)); fi
  wait $pid 2>/dev/null && break
  [ "$round" = 12 ] && break  # the rest in one go
done
"$vl8" watch "$dir/many.toml" >>"$dir/many.out" 2>>"$dir/many.err" || fail "watch after kill -9"
[ "$kills" -ge 1 ] || fail "nothing was killed"
[ "$(sql many.sqlite 'select count(*) from frame')" = 12 ] || fail "frames: $(sql many.sqlite 'select count(*) from frame') of 12"
[ "$(sql many.sqlite 'select count(*) from event')" = $((12 * events)) ] || fail "events: $(sql many.sqlite 'select count(*) from event') of $((12 * events))"
[ "$(sql many.sqlite 'select count(*) from outbox where state = 0')" = 0 ] || fail "deliveries are left"
[ "$(grep -o '"id":[0-9]*' "$dir/many.out" | sort -u | wc -l)" = $((12 * events)) ] || fail "stdout has not every event"

# 3. a webhook that is away at first, and checks the signature
config hook photos false off '"hook"' >"$dir/hook.toml"
cat >"$dir/hook.py" <<'PY'
import hashlib, hmac, http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    n = 0
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = self.headers["X-VL8-Signature"] == "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest()
        H.n += 1
        status = 503 if H.n == 1 else 200 if good else 400
        self.send_response(status); self.end_headers()
        open(sys.argv[2], "a").write(f"{status}\n")
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
PY
"$vl8" watch "$dir/hook.toml" >/dev/null 2>"$dir/hook.err" & pid=$!
sleep 1.5; python3 "$dir/hook.py" $((port + 1)) "$dir/hook.log" & pids+=($!)
wait $pid || fail "watch with a webhook"
[ "$(grep -c 200 "$dir/hook.log")" = "$events" ] && ! grep -q 400 "$dir/hook.log" || { fail "webhook: $(sort "$dir/hook.log" | uniq -c | tr '\n' ' ')"; cat "$dir/hook.err"; }

# 4. a live stream: reached, watched, a covered camera turned away
ffmpeg -nostdin -v error -re -f lavfi -i "testsrc2=size=320x240:rate=10:duration=6,fade=out:st=3:d=0.2" -c:v libx264 -g 10 -pix_fmt yuv420p \
  -f mpegts "udp://127.0.0.1:$((port + 2))?pkt_size=1316" & pids+=($!)
config live "udp://127.0.0.1:$((port + 2))" true auto '"log"' | sed 's/rate = 0/rate = 4/' >"$dir/live.toml"
"$vl8" watch "$dir/live.toml" --seconds 9 --json >"$dir/live.json" 2>"$dir/live.err" || { fail "watch of a stream"; cat "$dir/live.err"; }
python3 - "$dir/live.json" <<'PY' || { fail "the live stream"; cat "$dir/live.json" "$dir/live.err"; }
import json, sys
s = json.loads(open(sys.argv[1]).read().splitlines()[-1])["sources"][0]
assert s["looks"] >= 1 and s["bad"].get("covered", 0) >= 1 and s["failed"] == 0, s
assert s["frames"] == s["looks"] + s["reused"] + sum(s["bad"].values()), s
PY

[ $failed -eq 0 ] && echo "watch: all passed"
exit $failed
