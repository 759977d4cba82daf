"""Renders templates/ and snippets.txt by Jinja2 3.1, set up as transformers does it, into expected_python.json.

   python3 jinja_python.py    (needs the jinja2 module; only to regenerate what the C++ test reads)
"""
import json
import pathlib

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

here = pathlib.Path(__file__).parent


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception


def render(source, context):
    try:
        return {"rendered": env.from_string(source).render(**context)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


rows = []
contexts = json.loads((here / "contexts.json").read_text())
for path in sorted((here / "templates").glob("*.jinja")):
    for name, context in contexts.items():
        rows.append({"template": path.stem, "context": name, **render(path.read_text(), context)})
for source in (here / "snippets.txt").read_text().split("\n%%\n"):
    rows.append({"source": source, **render(source, {})})
text = "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"
(here / "expected_python.json").write_text(text)
print(len(rows), "renderings,", sum("error" in row for row in rows), "of them errors")
