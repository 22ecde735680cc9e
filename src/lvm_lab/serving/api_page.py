"""The page that says what the server answers to, made of its OpenAPI document: no script, nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1b1b1b;background:#fff}
h2{margin:2rem 0 .25rem;font-size:1.1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:#f3f3f3;padding:.75rem;overflow-x:auto}
table{border-collapse:collapse;display:block;overflow-x:auto}
td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd}
@media(prefers-color-scheme:dark){
body{color:#eee;background:#161616}pre{background:#252525}td,th{border-color:#444}a{color:#9cf}}
"""


def page(document: dict[str, Any]) -> str:
    return "".join(_lines(document))


def _lines(document: dict[str, Any]) -> Iterator[str]:
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>{title}</h1>'
    yield f"<p>{escape(document['info']['description'])} "
    yield '<a href="openapi.json">The same for programs</a>. <a href="./">Try a text</a>.</p>'
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code> {escape(operation.get('summary', ''))}</h2>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            yield from _body(operation, document)


def _body(operation: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return
    schema = _followed(content["application/json"]["schema"], document)
    yield "<table><thead><tr><th>field</th><th>type</th><th>without it</th><th></th></tr></thead><tbody>"
    for name, own in schema.get("properties", {}).items():
        without = "needed" if name in schema.get("required", []) else json.dumps(own.get("default"))
        cells = (_type(own, document), without, own.get("description", ""))
        yield f"<tr><td><code>{escape(name)}</code></td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
    yield "</tbody></table>"
    if others := [media for media in content if media != "application/json"]:
        said = [p["description"] for p in operation.get("parameters", []) if p["name"] == "X-Shape"]
        yield f"<p>Also {escape(' and '.join(others))}: {escape(' '.join(said))}</p>"
    example = {k: v["examples"][0] for k, v in schema.get("properties", {}).items() if any(v.get("examples", []))}
    yield f"<pre>{escape(json.dumps(example, indent=1))}</pre>"


def _followed(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    followed: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return followed


def _type(schema: dict[str, Any], document: dict[str, Any]) -> str:
    schema = _followed(schema, document)
    if "anyOf" in schema:
        return " or ".join(_type(one, document) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(json.dumps(one) for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), document)}"
    return str(schema.get("title") if schema.get("type") == "object" else schema.get("type", "anything"))
