"""Files that readers must agree on, down to the last broken place: a few hundred, the same in every run."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Parts = list[tuple[bytes, int]]

WORDS = (
    "mill", "river", "Anna", "ü", "漢字", "😀", "…", "e.g.", "1.", "-", "#", "x" * 90, "\ufeff", "\u0130", "ǆ", "²",
    "٣",
    "\x85", "\x1c", "\u3000", "\xa0", "\u2028", "\x0b", "\f", "\t", "`", "|", ">", "~~", '"', "”", ")",
)  # fmt: skip
STARTS = (
    "", "", "", "# ", "## ", "####### ", "#", "- ", "* ", "12. ", "٣) ", "> ", "  ", "| ", "`", "```", "~~~", "```py",
    " ~~~", "\u3000", "ª", "\x1f",
)  # fmt: skip
ENDS = ("", "", ".", "!", "?", "…", "。", '."', ".)", ".”»", ". ", ".\x1e", ",", "。！？")
BREAKS = ("\n", "\n", "\n", "\n\n", "\r\n", "\r", "\r\r", "\n\r", "\n \n", "\n\n\n", "\n\u2003\n")


def line(rng: random.Random, words: int) -> str:
    return rng.choice(STARTS) + " ".join(rng.choice(WORDS) for _ in range(rng.randrange(words))) + rng.choice(ENDS)


def prose(rng: random.Random) -> bytes:
    ends = rng.choice((BREAKS, ("\n",), ("\n", "\n\n"), ("\r\n",), ("\r",)))
    words = rng.choice((3, 8, 30, 400))
    rows = "".join(line(rng, words) + rng.choice(ends) for _ in range(rng.randrange(rng.choice((2, 12, 60)))))
    return rows.encode()


def notes(rng: random.Random) -> bytes:
    rows = [f"Note {rng.choice(WORDS)} {i} of the mill" + rng.choice(("." * 9, "!", "?", '."', "")) for i in range(12)]
    if rng.random() < 0.5:
        rows = [row if row.endswith((".", "!", "?", '"')) else row + "." for row in rows]
    if rng.random() < 0.3:
        rows[rng.randrange(12)] = rng.choice(("ß", "İ", "ⅰ", "1) ", "𝒶", "A" * 9000 + ".", "😀." * 3000)) + " x."
    return "\n".join(rows).encode()


def value(rng: random.Random, levels: int = 3) -> Any:
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: rng.choice((None, True, False, 0, -1, 1.5, 10**30, "", "text", "\ud800", "a\udfffb", "__proto__")),
        lambda: [value(rng, levels - 1) for _ in range(rng.randrange(3))],
        lambda: {rng.choice(NAMES): value(rng, levels - 1) for _ in range(rng.randrange(4))},
    )
    return kinds[0 if levels == 0 else rng.randrange(3)]()


NAMES = (
    "messages", "role", "content", "text", "prompt", "completion", "mapping", "type", "__proto__", "constructor",
    "parent",
    "current_node", "message", "author", "parts", "toString", "0", "metadata", "recipient", "\ud83d",
)  # fmt: skip
TEXTS = ("Yes.", "", " ", "\x1c", "\u3000", "\ufeff", "No \ud83d", "\ude00 half", "😀", "é" * 30, "a\u0000b")


def said(rng: random.Random) -> Any:
    text = rng.choice(TEXTS)
    kinds = (
        text, text, text, [{"type": "text", "text": text}, {"type": "text", "text": rng.choice(TEXTS)}], [],
        [{"type": "image", "text": text}], [{"type": "text"}], [{"type": "text", "text": 3}], None, 7, [text], {},
    )  # fmt: skip
    return rng.choice(kinds)


def chat(rng: random.Random) -> Any:
    kind = rng.randrange(5)
    if kind == 0:
        return {"prompt": said(rng), "completion": said(rng), **({"extra": value(rng)} if rng.random() < 0.3 else {})}
    if kind == 1:
        return {"text": said(rng)}
    if kind == 2:
        return value(rng)
    roles = ("user", "assistant", "assistant", "system", "tool", "User", None, ["user"])
    weights = (6, 6, 6, 3, 1, 1, 1, 1)
    rows: list[Any] = [{"role": rng.choices(roles, weights)[0], "content": said(rng)} for _ in range(rng.randrange(5))]
    if rng.random() < 0.1:
        rows.append(rng.choice(("x", None, [], 3)))
    return {"messages": rows if rng.random() < 0.95 else rng.choice(({}, "x", None))}


def conversation(rng: random.Random) -> Any:
    ids = [rng.choice(("n", "__proto__", "constructor", "1", "\ud800", "")) + str(i) * (i % 3) for i in range(6)]
    mapping: dict[str, Any] = {}
    before: Any = None
    for name in ids:
        parent: Any = before
        if rng.random() < 0.1:
            parent = rng.choice([None, "nowhere", name, ids[0], 3, [], {}, ["n"], ids[-1]])
        content = {
            "content_type": rng.choice(("text", "text", "text", "multimodal_text", "code", None)),
            "parts": rng.choice(([rng.choice(TEXTS)], ["a", {"x": 1}, rng.choice(TEXTS)], [], None, "x")),
        }
        message: Any = {"author": {"role": rng.choice(("user", "assistant", "system", "tool"))}, "content": content}
        if rng.random() < 0.2:
            message["recipient"] = rng.choice(("all", None, "browser", 3))
        if rng.random() < 0.2:
            message["metadata"] = {"is_visually_hidden_from_conversation": rng.choice((True, False, 1, "true"))}
        mapping[name] = {"parent": parent, "message": rng.choice((message, message, message, None, 3))}
        if rng.random() < 0.03:
            mapping[name] = rng.choice((None, 3, "x", []))
        before = name
    whole: dict[str, Any] = {"title": "t", "mapping": mapping if rng.random() < 0.95 else rng.choice(({}, [], None))}
    if rng.random() < 0.6:
        whole["current_node"] = rng.choice((ids[-1], ids[-1], ids[-1], None, "nowhere", 3, [], "toString"))
    return whole


ODDITIES = (
    b'{"text": NaN}', b'{"text": "x", "n": Infinity}', b'{"text": "x", "n": -Infinity}', b'{"text": "x", "n": -0}',
    b'{"text": "x", "n": ' + b"9" * 5000 + b"}", b'{"text": "x", "n": 1e999}', b'{"text": "x", "n": 01}',
    b'{"text": "x", "n": 1.}', b'{"text": "x", "n": .5}', b'{"text": "x", "n": +1}', b'{"text": "x",}',
    b"{'text': 'x'}",
    b'{"text": "x"} {"text": "y"}', b'{"text": "tab\tin"}', b'{"text": "\\x41"}', b'{"text": "\\u12g4"}',
    b'{"text": "\\ud83d\\ude00 \\ud83d \\ude00"}', b'{"text": "\xed\xa0\x80"}', b'{"text": "\xc0\xaf"}',
    b'{"text": "\xff"}',
    b'\xef\xbb\xbf{"text": "x"}', b'{"text": "one", "text": "two"}', b'{"text": "x", "__proto__": {"messages": 3}}',
    b'{"__proto__": {"text": "x"}}', b'{"text": "\x7f"}', b'{"text": "a\\u0000b"}', b"3", b'"text"', b"null", b"[]",
    b"{}",
    b'{"text": "x", "deep": ' + b"[" * 499 + b"]" * 499 + b"}",
    b'{"text": "x", "deep": ' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"text": "[[[[", "deep": ' + b"[" * 9000 + b"]" * 9000 + b"}", b'{"text": "' + b"[" * 600 + b'"}',
    b'{"text": "' + b'\\"[{' * 600 + b'"}', b"[" * 600 + b"]" * 600, b"[" * 600, b"   \x0b\x0c ",
    b'\x0b{"text": "x"}',
    b'{"text": "x"}\x0c', b'{"a": 1', b'{"text": "x"', b'"unclosed', b'{"text": "x"}}', b'{"text": "\xe2\x82"}',
    b'{"prompt": "a", "completion": "b", "messages": []}', b'{"prompt": "a"}', b'{"completion": "b"}',
    b'{"\\u0074ext": "x"}',
)  # fmt: skip


def rows_of(rng: random.Random) -> bytes:
    ends = rng.choice((b"\n", b"\n", b"\r\n", b"\r", b"\n\n"))
    rows = [
        rng.choice(ODDITIES)
        if rng.random() < 0.3
        else json.dumps(chat(rng), ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")
        for _ in range(rng.randrange(1, 10))
    ]
    return ends.join([b'{"text": "first"}', *rows])


def values_of(rng: random.Random) -> bytes:
    indent = rng.choice((None, None, 2))
    listed = json.dumps(
        [rng.choice((conversation, conversation, chat))(rng) for _ in range(rng.randrange(5))], indent=indent
    )
    data = listed.encode()
    if rng.random() < 0.3 and len(data) > 10:
        at = rng.randrange(len(data))
        cut = rng.choice(
            (data[:at], data[:at] + data[at + 1 :], data[:at] + rng.choice((b"}", b"]", b'"', b"{")) + data[at:])
        )
        data = cut
    return data if rng.random() < 0.8 else b" \n" + data[1:-1]


def soup(rng: random.Random) -> bytes:
    alphabet = rng.choice((
        (b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"a", b" ", b"\n", b'"text"', b'{"text":"x"}'),
        (b"a", b" ", b"\n", b"\r", b".", b"#", b"```", b"\xff", b"\xc3", b"\xa4", b"\xe2\x80", b"\xf0\x9f\x98",
        b"\x80"),
        (b"\0", b"\x01", b"\x7f", b"\x1b", b"a", b"b", b"\n", b" "),
        tuple(bytes([byte]) for byte in range(256)),
    ))  # fmt: skip
    return b"".join(rng.choice(alphabet) for _ in range(rng.randrange(200)))


def in_utf_16(rng: random.Random) -> bytes:
    inner = rng.choice((prose, notes, rows_of, values_of))(rng).decode("utf-8", "replace")
    order = rng.choice(("le", "be"))
    mark = b"\xff\xfe" if order == "le" else b"\xfe\xff"
    data = bytearray(mark + inner.encode(f"utf-16-{order}"))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(2, len(data) + 1) & ~1
        data[at:at] = rng.choice((b"\xd8\x00", b"\x00\xd8", b"\x00\xdc", b"\xdc\x00", b"\x00\x00", b"\xfe\xff"))
    return bytes(data) + rng.choice((b"", b"a", b"\xd8"))


def behind_the_head(rng: random.Random) -> bytes:
    """What a format's detection never saw, because it stands behind the first 64 KiB."""
    kind = rng.randrange(3)
    if kind == 0:
        return b"A paragraph that is long enough.\n\n" * 2000 + soup(rng) + b"\n\n" + prose(rng)
    if kind == 1:
        return b'{"text": "row"}\n' * 4200 + '{"text": "y"}\n'.encode("utf-16-le") + soup(rng) + b"\n" + rows_of(rng)
    return b"[" + b'{"text": "row"},' * 4200 + soup(rng) + values_of(rng)


def spoiled(rng: random.Random) -> bytes:
    data = bytearray(rng.choice((prose, notes, rows_of, values_of))(rng))
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        data[at:at] = rng.choice((b"\xff", b"\0", b"\xed\xa0\x80", b"\xe2\x82", b"\r", b"\xef\xbb\xbf", b"\xc2\x85"))
    return bytes(data)


KINDS = (prose, prose, notes, rows_of, rows_of, values_of, values_of, soup, in_utf_16, spoiled)


def small_files() -> Iterator[tuple[str, bytes]]:
    yield from (
        ("mark only", b"\xef\xbb\xbf"), ("half a mark", b"\xef\xbb"), ("utf-16 mark", b"\xff\xfe"), ("one byte",
        b"\xff"),
        ("array only", b"[]"), ("array and a line", b" [ ] \n"), ("open array", b"["), ("a return", b"\r"),
        ("\\n\\r", b"\n\r"),
    )  # fmt: skip
    for number in range(360):
        rng = random.Random(number)
        make = rng.choice(KINDS)
        yield f"{make.__name__} {number}", make(rng)
    for number in range(8):
        yield f"behind the head {number}", behind_the_head(random.Random(number))


def large_files() -> Iterator[tuple[str, Parts]]:
    """Files at the limits, as parts and how often each stands there."""
    row = (b'\n{"text": "behind"}\n', 1)
    yield from (
        ("a line of 16 MiB", [(b'{"text": "x"}\n{"text": "', 1), (b"a", (16 << 20) - 12), (b'"}', 1), row]),
        ("a line of more", [(b'{"text": "x"}\n{"text": "', 1), (b"a", (16 << 20) - 11), (b'"}', 1), row]),
        ("too many brackets", [(b'{"text": "x", "m": [', 1), (b"{},", 1 << 18), (b"{}]}", 1), row]),
        ("too many commas", [(b'{"text": "x", "m": [', 1), (b"1,", 1 << 20), (b"1]}", 1), row]),
        ("a text of 1 MiB", [(b'{"text": "', 1), ("é".encode(), 1 << 19), (b'"}', 1), row]),
        ("a text of more", [(b'{"text": "', 1), ("é".encode(), 1 << 19), (b'a"}', 1), row]),
        ("2000 messages", [(b'{"messages": [', 1), (b'{"role": "assistant", "content": "x"},', 1999),
                           (b'{"role": "user", "content": "x"}]}', 1), row]),
        ("2001 messages", [(b'{"messages": [', 1), (b'{"role": "assistant", "content": "x"},', 2000),
                           (b'{"role": "user", "content": "x"}]}', 1), row]),
        ("an object of 64 MiB", [(b'[{"text": "', 1), (b"a" * 1024, 1 << 16), (b'"}, {"text": "behind"}]', 1)]),
        ("objects too deep", [(b'[{"a":', 1), (b'{"a":[', 400), (b'{"text": "x"}', 3), (b"]}", 400),
                              (b'}, {"text": "y"}]', 1)]),
        ("a run of 64 KiB", [(b"A line of prose that goes on and on,\n", 4000)]),
        ("a line without end", [("漢".encode(), 100_000), (b"\n", 1), (b"a ", 70_000), (b"\nlast", 1)]),
        ("a line of sentences", [("Ein Satz über die Mühle. 😀 ".encode(), 9000)]),
        ("a fence without end", [(b"```\n", 1), (b"code\n\n", 20_000)]),
        ("blank lines", [(b"words\n", 1), (b" \n", 100_000), (b"words", 1)]),
        ("white space", [(b" ", 200_000), (b"\n", 1), ("\u3000".encode(), 50_000), (b"x", 1)]),
    )  # fmt: skip
