"""Yjs updates for tests: put together by hand, made with pycrdt, and made by Yjs itself."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any

import pycrdt

from collab.errors import InvalidUpdate
from collab.protocol.lib0 import var_string, var_uint

TEXT, EMBED, FORMAT, TYPE, ANY, DOCUMENT = 4, 5, 6, 7, 8, 9

Section = tuple[int, int, Sequence[bytes]]
"""A client, its first clock, its structs."""


def clock(client: int, at: int) -> bytes:
    """An id."""
    return var_uint(client) + var_uint(at)


def deletions(ranges: dict[int, list[tuple[int, int]]]) -> bytes:
    """A delete set: clocks and lengths by client."""
    out = var_uint(len(ranges))
    for client, parts in ranges.items():
        out += var_uint(client) + var_uint(len(parts)) + b"".join(var_uint(n) for part in parts for n in part)
    return out


def update(*sections: Section, erased: dict[int, list[tuple[int, int]]] | None = None) -> bytes:
    """An update that need not be right."""
    out = var_uint(len(sections))
    for client, first, structs in sections:
        out += var_uint(len(structs)) + clock(client, first) + b"".join(structs)
    return out + deletions(erased or {})


def top(kind: int, content: bytes, *, name: str = "t", key: str | None = None) -> bytes:
    """A struct at the start of a root type, or the entry `key` of it."""
    named = b"" if key is None else var_string(key)
    return bytes((kind | (key is not None) << 5, 1)) + var_string(name) + named + content


def child(kind: int, parent: bytes, content: bytes, key: str | None = None) -> bytes:
    """A struct at the start of the type that is the struct `parent`."""
    named = b"" if key is None else var_string(key)
    return bytes((kind | (key is not None) << 5, 0)) + parent + named + content


def after(kind: int, left: bytes, content: bytes) -> bytes:
    """A struct right of another."""
    return bytes((kind | 0x80,)) + left + content


def between(kind: int, left: bytes, right: bytes, content: bytes) -> bytes:
    """A struct that knows both its neighbours."""
    return bytes((kind | 0xC0,)) + left + right + content


def text(value: str, client: int = 1, first: int = 0) -> bytes:
    """An update: `value` at the start of the root type `t`."""
    return update((client, first, [top(TEXT, var_string(value))]))


def gap(length: int) -> bytes:
    """A Skip."""
    return b"\x0a" + var_uint(length)


def gc(length: int) -> bytes:
    """A GC."""
    return b"\x00" + var_uint(length)


def every_content() -> list[bytes]:
    """What editing with pycrdt sends, all kinds of content in it, and merged and whole updates of the same document."""
    sent: list[bytes] = []
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=5)
    doc.observe(lambda event: sent.append(bytes(event.update)))
    words = doc.get("t", type=pycrdt.Text)
    for character in "héllo w😀rld":
        words += character
    del words[3:5]
    words.format(0, 6, {"bold": True})
    words.insert_embed(1, {"img": "x"})
    words.insert(0, "abc", {"i": {"a": [1]}})
    array: pycrdt.Array[object] = doc.get("a", type=pycrdt.Array)
    array.extend([1, 2.5, "s", None, True, b"\x01\x02", {"k": [1, {"z": 2}]}, [1, [2]]])
    array.append(pycrdt.Map({"q": pycrdt.Array([pycrdt.Text("in"), 1])}))
    del array[1:3]
    array.append(pycrdt.Doc())
    entries: pycrdt.Map[object] = doc.get("m", type=pycrdt.Map)
    for value in ("v", "w", pycrdt.Map({"deep": pycrdt.Map({"er": pycrdt.Text("t")})}), 1):
        entries["k"] = value
    del entries["k"]
    fragment = doc.get("x", type=pycrdt.XmlFragment)
    element = pycrdt.XmlElement("p", {"c": "y"}, [pycrdt.XmlText("hi"), pycrdt.XmlElement("b")])
    fragment.children.append(element)
    element.attributes["a"] = "b"
    fragment.children.append(pycrdt.XmlText("z"))
    del fragment.children[0]
    other: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=2**52 + 7)
    other.apply_update(doc.get_update())
    other.observe(lambda event: sent.append(bytes(event.update)))
    there = other.get("t", type=pycrdt.Text)
    there.insert(2, "XYZ")
    del there[0:3]
    doc.apply_update(other.get_update())
    return [*sent, doc.get_update(), pycrdt.merge_updates(*sent[::3]), pycrdt.merge_updates(*sent[1::2])]


def refused_by(check: Callable[[bytes], object], data: bytes) -> str:
    """The reason for which `check` refuses `data`, or an empty string."""
    try:
        check(data)
    except InvalidUpdate as error:
        return str(error)
    return ""


OF_YJS = {
    "Yjs 13.6.33, full": b64decode(
        "AyH9////////DwAhAQFtAXEBAQEBdAKE/f///////w8CBPCfj72h/f///////w8AAYH9////////DwQBhP3///////8PBgPlrZfF/f///"
        "////w8C/f///////w8DC3siaW1nIjoieCJ9xP3///////8PAv3///////8PCAFhwf3///////8PBv3///////8PBwEBAQF4AQAGyaeFPQ"
        "FkASRmMWY1YjAyYS0wNTBiLTRlMmItYjA3MS02M2Q0MDZlODFhYjJ2AMj9////////DxJkAQJ4dgEBa3UCfQF2AQF6fQKhZAoBAAXEZBl"
        "kCQJoZcT9////////DxxkCQFsxP3///////8PHWQJAmxvxmQZ/f///////w8bAWkJeyJhIjpbMV19xv3///////8PHf3///////8PHgFp"
        "BG51bGxE/f///////w8BBPCfkY2n/f///////w8VAScA/f///////w8kBGRlZXAACAD9////////DyUBfQGH/f///////w8mAgQA/f///"
        "////w8nAmluR2QRAwFwIQD9////////DyoBYwGo/f///////w8rAXcBdwcA/f///////w8qBgQA/f///////w8tAmhph/3///////8PLQ"
        "MBYsT9////////Dxz9////////Dx0BYRWnhT0AAQEBYQKh/f///////w8FAScBAW0BbgEnAKeFPQMEZGVlcAAIAKeFPQQBfQGHp4U9BQI"
        "EAKeFPQYCaW6hp4U9AgHEZARkBQPmvKLEp4U9CmQFA+WtlwEBAXgBAAaop4U9CQF3A3N0cigBAW0BcAF9AcRkH2QgAQpHZCQDAXAhAKeF"
        "PRYBYwGop4U9FwF3AXcHAKeFPRYGBACnhT0ZAmhph6eFPRkDAWIvZACE/f///////w8EAsOpgaeFPQEBxP3///////8PCf3///////8PC"
        "AJoZcRkA/3///////8PCAFsxGQE/f///////w8IAmxviGQBAXiIZAcBdwNzdHLEZANkBALDqaGnhT0DAQAFxWQG/f///////w8IC3siaW"
        "1nIjoieCJ9BwEBeAMBcCEAZBEBYwGoZBIBdwF3BwBkEQYEAGQUAmhph2QUAwFixf3///////8PCv3///////8PBwt7ImltZyI6IngifcR"
        "kA2QJAsOpxmQY/f///////w8HAWkJeyJhIjpbMV19hv3///////8PBwFpBG51bGzEZAlkBAJoZcRkHWQEAmxsxGQfZAQBb8X9////////"
        "DwpkGAt7ImltZyI6IngifcVkIGQEC3siaW1nIjoieCJ9xGQhZBgBCkdkEQMBcCEAZCQBYwGoZCUBdwF3BwBkJAYEAGQnAmhph2QnAwFix"
        "GQdZB4BYchkB2QIAn58P8AAAMRkH2QgCPCfkY3wn4+9xmQxZCAEYm9sZAR0cnVlxqeFPQqnhT0LBGJvbGQEbnVsbEdkJAMBcCEAZDQBYw"
        "GoZDUBdwF3BwBkNAYEAGQ3Amhph2Q3AwFiqKeFPRQBfUXEZASnhT0KAQrEZDFkMgbmvKLlrZcD/f///////w8EAAcJCRUGKwGnhT0DAAo"
        "MCRcBZAYABAoGEgEiASUBNQE="
    ),
    "Yjs 13.6.33, merged": b64decode(
        "Ax39////////DwWI/f///////w8AAXYBAWt1An0BdgEBen0CCgPE/f///////w8C/f///////w8IAWHF/f///////w8G/f///////w8HC"
        "3siaW1nIjoieCJ9BwEBeAMBcAoBiP3///////8PDAF3AXcHAP3///////8PCwYEAP3///////8PDgJoaYf9////////Dw4DAWLJp4U9AW"
        "QBJGYxZjViMDJhLTA1MGItNGUyYi1iMDcxLTYzZDQwNmU4MWFiMnYAyP3///////8PEmQBAnh2AQFrdQJ9AXYBAXp9AodkCgEnAP3////"
        "///8PFQRkZWVwAAoExGQZZAkFaGVsbG/GZBn9////////DxsBaQl7ImEiOlsxXX3G/f///////w8d/f///////w8eAWkEbnVsbET9////"
        "////DwEE8J+RjYf9////////DxUBJwD9////////DyQEZGVlcAAKBEdkEQMBcCgA/f///////w8qAWMBdwF2CgEHAP3///////8PKgYEA"
        "P3///////8PLQJoaYf9////////Dy0DAWLE/f///////w8c/f///////w8dAWEVp4U9AAgBAWECfQF8P8AAAIj9////////DwUBdwNzdH"
        "InAQFtAW4BJwCnhT0DBGRlZXAACACnhT0EAX0Bh6eFPQUCBACnhT0GAmluiKeFPQIBdwNzdHLEZARkBQbmvKLlrZcHAQF4AwFwCgGIp4U"
        "9DQF3AXcHAKeFPQwGBACnhT0PAmhph6eFPQ8DAWKIp4U9CQF3A3N0cgoBxGQfZCABCgoBKACnhT0WAWMBdwF2iKeFPRcBdwF3H2QAhP3/"
        "//////8PBALDqYmnhT0BJGYxZjViMDJhLTA1MGItNGUyYi1iMDcxLTYzZDQwNmU4MWFiMnYAxP3///////8PCf3///////8PCAVoZWxsb"
        "woDh6eFPQMBJwBkCgRkZWVwAAoOxmQY/f///////w8HAWkJeyJhIjpbMV19hv3///////8PBwFpBG51bGwKBcX9////////DwpkGAt7Im"
        "ltZyI6IngifQoBxGQhZBgBCkdkEQMBcCEAZCQBYwGIZCUBdwF3BwBkJAYEAGQnAmhph2QnAwFiCgfGZDFkIARib2xkBHRydWXGp4U9Cqe"
        "FPQsEYm9sZARudWxsR2QkAwFwKABkNAFjAXcBdgoBBwBkNAYEAGQ3Amhph2Q3AwFiCgHEZASnhT0KAQrEZDFkMgbmvKLlrZcD/f//////"
        "/w8FAAEFAgkCDAEVBqeFPQMCCAwIFwFkBAEDCgYiASUB"
    ),
    "Yjs 14.0.0-rc.7, full": b64decode(
        "AyD9////////DwABAQF0ASgBAW0BcQF9AYT9////////DwABYaFkBgEAAodkAQMBcCEA/f///////w8GAWMBqP3///////8PBwF3AXcHA"
        "P3///////8PBgSH/f///////w8JAwFiof3///////8PAQHEZBNkHAEKh/3///////8PBgMBcCEA/f///////w8NAWMBqP3///////8PDg"
        "F3AXcHAP3///////8PDQSH/f///////w8QAwFixKeFPQxkDwPmvKLE/f///////w8SZA8D5a2XxKeFPQmnhT0FAsOpof3///////8PCwH"
        "Ep4U9DP3///////8PEgVoZWxsb0RkHwVoZWxsb8f9////////Dwb9////////Dw0DAXAhAP3///////8PIAFjAaj9////////DyEBdwF3"
        "BwD9////////DyAEh/3///////8PIwMBYsT9////////DxL9////////DxMBCqf9////////DwMEKAD9////////DyYEZGVlcAF9AQcA/"
        "f///////w8mAwF4EqeFPQAnAQFtAW4EKACnhT0ABGRlZXABfQEHAKeFPQADAXgIAQFhAnQCAQJ4xGQAZAoCw6mhZBQBAALGZBGnhT0FBG"
        "JvbGQEbnVsbMhkC2QMAXQCAQLIp4U9CmQMAXjBZA5kDwGHZAEDAXAhAKeFPQ0BYwGop4U9DgF3AXcHAKeFPQ0Eh6eFPRADAWLEp4U9Cae"
        "FPQUFaGVsbG/EZBNkHAVoZWxsby5kAAQBAXQBCgEBAXgBAASnp4U9AAQoAGQGBGRlZXABfQEHAGQGAwF4RGQAAWGEZAABYQEBAWEBiGQL"
        "AXtCPL6ZGhQAAMRkAGQKAWjEZA1kCgFlxGQOZAoCbGzEZBBkCgFvxmQQZBEEYm9sZAR0cnVlgf3///////8PAAGnZAYEKABkFARkZWVwA"
        "X0BBwBkFAMBeMFkC2QMAchkF2QMAXYBAWt1An0BdgEBen0CoWQUAQACxmQT/f///////w8CAWkJeyJhIjpbMV19hv3///////8PAgFpBG"
        "51bGyh/f///////w8BAURkCQEKyGQYp4U9CgJ9AX1Fx2QB/f///////w8GAwFwIQBkIgFjAahkIwF3AXcHAGQiBIdkJQMBYkZkHwFpCXs"
        "iYSI6WzFdfcZkAGQNAWkEbnVsbMinhT0Kp4U9CwF2AQFrdQJ9AXYBAXp9AshkKaeFPQsBfQHEZA1kDgFhyGQpZCoCe0I8vpkaFAAAdQJ9"
        "AXUBfQLIp4U9CmQpAnQCAQJ0AgECxP3///////8PEv3///////8PEwFhh/3///////8PDQMBcCEAZDEBYwGoZDIBdwF3BwBkMQSHZDQDA"
        "WID/f///////w8HAAIDAwcBCwEOARUBIQGnhT0EAAMGAwwBDgFkBwANEwUZAx4CIwEnAjIB"
    ),
    "Yjs 14.0.0-rc.7, merged": b64decode(
        "Axn9////////DwAEAQF0AWEoAQFtAXEBfQGE/f///////w8AAWEKASgA/f///////w8DBGRlZXABfQEHAP3///////8PAwMBeIdkAQMBc"
        "CgA/f///////w8GAWMBdwF2CgEHAP3///////8PBgSH/f///////w8JAwFiiP3///////8PAQF+CgjEp4U9CaeFPQUCw6mD/f///////w"
        "8LAgECxKeFPQz9////////DxIFaGVsbG9EZB8FaGVsbG/H/f///////w8G/f///////w8NAwFwKAD9////////DyABYwF3AXYKAQcA/f/"
        "//////w8gBIf9////////DyMDAWLE/f///////w8S/f///////w8TAQqH/f///////w8DBCgA/f///////w8mBGRlZXABfQEQp4U9ASgA"
        "p4U9AARkZWVwAX0BBwCnhT0AAwF4CAEBYQJ0AgECeAoBh2QUBCgAp4U9BgRkZWVwAX0BBwCnhT0GAwF4xmQRp4U9BQRib2xkBG51bGzIZ"
        "AtkDAJ0AgECeAoBh2QBAwFwCgGIp4U9DgF3AXcHAKeFPQ0Eh6eFPRADAWLEp4U9CaeFPQUFaGVsbG8mZAEHAQF4AwFwKABkAQFjAXcBdg"
        "oBBwBkAQSHZAQDAWKHp4U9AAQKAQcAZAYDAXhEZAABYYRkAAFhCAEBYQJ+e0I8vpkaFAAACgXGZBBkEQRib2xkBHRydWWG/f///////w8"
        "ABGJvbGQEbnVsbIdkBgQoAGQUBGRlZXABfQEHAGQUAwF4CgMoAGQZBGRlZXABfQEHAGQZAwF4xmQT/f///////w8CAWkJeyJhIjpbMV19"
        "hv3///////8PAgFpBG51bGyI/f///////w8BAXw/wAAACgHIZBinhT0KAn0BfUUKASgAZCIBYwF3AXaIZCMBdwF3CgTIp4U9CqeFPQsCd"
        "gEBa3UCfQF2AQF6fQJ9AcRkDWQOAWEKBMT9////////DxL9////////DxMBYYf9////////Dw0DAXAKAYhkMgF3AXcHAGQxBIdkNAMBYg"
        "P9////////DwMBAQMDCwGnhT0CAAMOAWQHAQEDCRMFHwEjAScCMgE="
    ),
}
"""Written by Yjs itself after random edits of three clients: text, formats, embeds, maps, XML, subdocuments, undo. The
merged ones lack every third update, so there are Skips in them."""
