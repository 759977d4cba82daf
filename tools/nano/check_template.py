"""Renders the golden conversations with the folder's template: python3 check_template.py TEMPLATE GOLDEN_IO_DIR"""
import json
import pathlib
import sys

import jinja2


def main():
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda v: json.dumps(v, ensure_ascii=False)
    template = env.from_string(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    io, seen = pathlib.Path(sys.argv[2]), 0
    cases = [(c, {k: c[k] for k in c if k not in ("messages", "rendered", "ids")}) for c in
             json.loads((io / "chat_template.json").read_text(encoding="utf-8"))]
    for line in (io / "golden_renders.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["template"] == "instruct":
            cases.append((row, row["kwargs"]))
    for row, kwargs in cases:
        got = template.render(messages=row["messages"], **{"add_generation_prompt": True, **kwargs})
        assert got == row["rendered"], (row.get("case"), got, row["rendered"])
        seen += 1
    think = template.render(messages=[{"role": "user", "content": "Hi"}], add_generation_prompt=True, enable_thinking=True)
    assert think == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n"
    print(f"{seen} conversations render alike")


if __name__ == "__main__":
    main()
