#!/usr/bin/env python3
"""Writes the seed corpora of the fuzz targets: small valid inputs of every kind, made here. Usage: make_seeds.py FOLDER"""
import json
import pathlib
import struct
import sys
import zlib

out = pathlib.Path(sys.argv[1])


def put(target, name, data):
    folder = out / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


SCHEMAS = [
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": -5, "maximum": 99}, "b": {"enum": ["x", 1, None]}}, "required": ["a"], "additionalProperties": False},
    {"type": "array", "items": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]}, "minItems": 1, "maxItems": 4},
    {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"c": {"type": "array", "items": {"$ref": "#/$defs/n"}}}}}},
    {"type": "string", "pattern": "^(a|b){2,3}[^x]\\d$", "minLength": 2}, {"type": "number", "multipleOf": 0.25, "exclusiveMaximum": 8},
    {"oneOf": [{"type": "string", "format": "date"}, {"type": "boolean"}]}, {"not": {"type": ["string", "object"]}},
    {"patternProperties": {"^x": {"type": "null"}}, "propertyNames": {"maxLength": 4}, "maxProperties": 3, "type": "object"},
    {"if": {"properties": {"k": {"const": 1}}, "required": ["k"]}, "then": {"required": ["v"]}, "type": "object"},
]
for i, s in enumerate(SCHEMAS):
    put("grammar", f"schema{i}", bytes([4 * (i % 3), i]) + json.dumps(s).encode())
put("grammar", "gbnf", b'\x01\x07root ::= e "\\n"\ne ::= e [-+] t | t\nt ::= [0-9]{1,3} | "(" e ")" # sum\n')
for i, r in enumerate(["(yes|no)( because .{1,20})?", "^[a-z\\u4e2d]+\\.(?:x|y)*$", "^(?!ab)(?=.*\\d)[^\\s]{2,6}$", "\\p{Lu}\\w*?-\\x41"]):
    put("grammar", f"regex{i}", bytes([2 + i % 2, i]) + r.encode())

header = json.dumps({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "b": {"dtype": "BF16", "shape": [], "data_offsets": [16, 18]}}).encode()
put("safetensors", "two", struct.pack("<Q", len(header)) + header + bytes(18))
put("safetensors", "none", struct.pack("<Q", 2) + b"{}")

messages = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "t"}]}, {"role": "assistant", "content": "a"}]
put("template", "messages", json.dumps(messages))
put("template", "loop", "{%- for m in messages if m.role != 'x' %}{{ loop.index0 ~ m['content'] | tojson }}{% else %}-{% endfor %}\0" + json.dumps(messages))
put("template", "macro", "{% macro f(a, b=2) %}{{ a|upper }}{{ b ** 2 // 3 }}{% endmacro %}{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ f('x') }}{{ messages[-1:]|length }}\0[]")
put("template", "branch", "{% if messages is defined and not false %}{{ messages|map(attribute='role')|join(',') }}{% elif 1 in [1] %}{{ raise_exception('no') }}{% endif %}\0" + json.dumps(messages[:1]))

put("tokenizer", "text", "\0Hello, world! 世界 e\u0301 <|im_start|> 12345\n\n\t  don't")
byte_letters = [chr(b) if 33 <= b < 127 or 161 <= b < 173 or 174 <= b < 256 else None for b in range(256)]
extra = iter(range(256, 400))
vocab = {(c if c is not None else chr(next(extra))): i for i, c in enumerate(byte_letters)}
vocab["he"] = 256
put("tokenizer", "file", b"\1" + json.dumps({"version": "1.0", "added_tokens": [{"id": 257, "content": "<|im_end|>", "special": True, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}],
    "normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True},
    "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": vocab, "merges": ["h e"]}}, ensure_ascii=False).encode())


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, interlace=0, extra=b""):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" + bytes((i * 37) % 256 for i in range((width * channels * depth + 7) // 8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)) + extra + chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b"")


put("image", "rgb.png", png(5, 4, 8, 2))
put("image", "grey16.png", png(3, 3, 16, 0))
put("image", "palette.png", png(4, 2, 4, 3, extra=chunk(b"PLTE", bytes(range(48))) + chunk(b"tRNS", b"\x00\x80")))
put("image", "rgba.png", png(3, 3, 8, 6))
put("image", "p6.ppm", b"P6\n# c\n3 2\n255\n" + bytes(range(18)))
put("image", "p1.pbm", b"P1 3 2\n1 0 1 0 1 0\n")
put("image", "24.bmp", struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + 24, 0, 0, 54, 40, 2, 3, 1, 24, 0, 24, 0, 0, 0, 0) + bytes(range(24)))
put("image", "1.gif", b"GIF89a\x02\x00\x02\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x0a\x00\x01\x00,\x00\x00\x00\x00\x02\x00\x02\x00\x00\x02\x03\x44\x02\x05\x00;")
put("image", "1.webp", bytes.fromhex("524946461a000000574542505650384c0d0000002f00000010071011118888fe0700"))
put("image", "1.jpg", bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514"
    "ffc0000b080001000101011100ffc40014000100000000000000000000000000000009ffc40014100100000000000000000000000000000000ffda0008010100003f0054dfffd9"))

chat = {"model": "m", "messages": messages, "temperature": 0.5, "stop": ["x"], "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMAS[0]}},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "tool_choice": "auto", "stream": True, "logit_bias": {"5": 1}}
put("request", "chat", b"\0" + json.dumps(chat).encode())
put("request", "image", b"\0" + json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}]}]}).encode())
put("request", "anthropic", b"\1" + json.dumps({"model": "m", "max_tokens": 5, "system": [{"type": "text", "text": "s"}], "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]}], "thinking": {"type": "enabled", "budget_tokens": 10}}).encode())
put("request", "responses", b"\2" + json.dumps({"model": "m", "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}]}], "text": {"format": {"type": "json_object"}}, "reasoning": {"effort": "low"}}).encode())
put("request", "completions", b"\3" + json.dumps({"prompt": ["a", "b"], "n": 2, "logprobs": 1, "echo": True}).encode())
put("request", "embeddings", b"\4" + json.dumps({"input": ["a"], "encoding_format": "base64", "dimensions": 4}).encode())
put("http", "get", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
put("http", "post", b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"prompt\":\"hi\"}")
put("http", "chunked", b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n")
