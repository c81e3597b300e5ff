"""Readers: files become the records that their owner meant, and a broken place costs that place only."""

from __future__ import annotations

import codecs
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault.readers import BrokenRecord, Message, Record, detect, read_records
from vault.readers.jsonvalues import objects
from vault.readers.reading import media_type_of
from vault.readers.source import lines
from vault.readers.text import RECORD


def read(data: bytes | str, media_type: str | None = None) -> list[Record | BrokenRecord]:
    return list(read_records("", media_type, io.BytesIO(data.encode() if isinstance(data, str) else data)))


def texts(data: bytes | str) -> list[str]:
    out = []
    for index, record in enumerate(read(data)):
        assert isinstance(record, Record)
        assert (record.kind, record.index, record.messages) == ("text", index, ())
        out.append(record.text)
    return out


def chat(*turns: tuple[str, str]) -> str:
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]})


# Text and Markdown


def test_a_short_file_is_one_record_whatever_its_paragraphs() -> None:
    text = "# The mill\n\nIt stands by the river\nand turns.\n\nThe miller is old."
    (record,) = read(text + "\n\n")
    assert isinstance(record, Record)
    assert record.text == text
    assert record.place == "lines 1–6"
    assert record.document() == {"kind": "text", "text": text}


def test_an_empty_or_blank_file_has_no_records() -> None:
    assert read("") == read(" \n\n\t\n") == read(b"\xef\xbb\xbf") == []


def test_notes_a_line_are_records_a_line() -> None:
    notes = "The mill opens at six.\nWho has the key? Anna has it.\n“The weir is low.”\n"
    assert texts(notes) == notes.strip().split("\n")
    assert [record.place for record in read("\n" + notes)] == ["line 2", "line 3", "line 4"]


def test_wrapped_prose_is_not_taken_for_notes() -> None:
    prose = "The mill opens at six, and\nThe miller comes at seven.\nNobody is there before."
    assert texts(prose) == [prose]
    listed = "- One thing.\n- Another thing.\n- A third thing."
    assert texts(listed) == [listed]
    numbered = "1. One thing.\n2. Another thing.\n3. A third thing."
    assert texts(numbered) == [numbered]


def test_a_long_text_falls_apart_at_headings() -> None:
    section = "\n\n".join(f"Paragraph {i} of a section, which goes on for a while and then ends." for i in range(20))
    text = "\n\n".join(f"## Part {i}\n\n{section}" for i in range(10))
    records = texts(text)
    assert "\n\n".join(records) == text
    assert all(record.startswith("## Part") for record in records)
    assert all(len(record.encode()) <= RECORD for record in records)
    assert len(records) == 5


def test_a_long_text_without_headings_falls_apart_at_paragraphs() -> None:
    paragraph = "A paragraph that says a thing or two about the mill. " * 10
    text = "\n\n".join(paragraph.strip() for _ in range(30))
    records = texts(text)
    assert "\n\n".join(records) == text
    assert all(record.count(paragraph.strip()) == 7 for record in records[:-1])


def test_a_paragraph_longer_than_a_record_is_cut_behind_sentences() -> None:
    text = "This is one sentence of many in here. " * 500
    records = texts(text)
    assert " ".join(records) == text.strip()
    assert all(record.endswith(".") and len(record.encode()) <= RECORD for record in records)


def test_a_word_without_end_is_cut_between_characters() -> None:
    text = "ü" * 100_000
    records = texts(text)
    assert "".join(records) == text
    assert all(len(record.encode()) <= RECORD for record in records)


def test_blank_lines_inside_fenced_code_do_not_part_it() -> None:
    code = "```python\n# not a heading\n\nprint(1)\n```"
    filler = "x" * 4080
    assert texts(f"{filler}\n\n{code}") == [filler, code]


def test_headings_inside_code_do_not_part_a_paragraph() -> None:
    text = "Run this:\n```\n# a comment\nmake\n```\nand wait."
    assert texts(text) == [text]


def test_line_endings_of_all_systems_read_alike() -> None:
    text = "One thing.\nAnother thing.\nA third thing.\n"
    assert texts(text) == texts(text.replace("\n", "\r\n")) == texts(text.replace("\n", "\r"))


def test_utf_16_with_its_mark_is_read() -> None:
    text = "Die Mühle steht am Fluss.\nSie dreht sich.\nEs regnet.\n"
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        assert texts(mark + text.encode(name)) == texts(text)
    assert texts(codecs.BOM_UTF8 + text.encode()) == texts(text)


def test_a_line_that_is_not_utf_8_is_named_and_the_rest_goes_on() -> None:
    before, broken, after = read(b"Before the break.\n\n\xff\xfe bad \xe4\n\nAfter it.\n", "text/plain")
    assert isinstance(before, Record)
    assert isinstance(after, Record)
    assert (before.text, after.text, after.index) == ("Before the break.", "After it.", 1)
    assert broken == BrokenRecord("line 3", "The line is not UTF-8 text.")


@given(st.text(alphabet=st.sampled_from("ab .#-`\n\r\tü…"), max_size=400), st.integers(1, 7))
@settings(max_examples=150, deadline=None)
def test_no_word_of_a_text_is_lost_and_pieces_do_not_matter(text: str, step: int) -> None:
    data = text.encode()
    whole = read(data, "text/plain")
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    assert whole == list(read_records("", "text/plain", iter(parts)))
    joined = "".join(record.text for record in whole if isinstance(record, Record))
    assert "".join(joined.split()) == "".join(text.split())


@given(st.lists(st.text(alphabet="aü", max_size=30), max_size=8), st.integers(4, 9), st.integers(1, 5))
def test_lines_come_whole_or_in_marked_parts(rows: list[str], limit: int, step: int) -> None:
    data = "\n".join(rows).encode()
    parts = list(lines(iter([data[at : at + step] for at in range(0, len(data), step)]), limit))
    joined: dict[int, bytes] = {}
    for number, part, whole in parts:
        assert len(part) <= limit
        part.decode()
        joined[number] = joined.get(number, b"") + part
        assert whole == (len(joined[number]) == len(rows[number - 1].encode()))
    expected = dict(enumerate((row.encode() for row in rows), 1))
    assert {k: v for k, v in joined.items() if v} == {k: v for k, v in expected.items() if v}


# Chat lines


def test_chat_lines_are_chats() -> None:
    data = chat(("system", "Be brief."), ("user", "Who?"), ("assistant", "Anna.")) + "\n\n" + chat(("assistant", "Hm."))
    first, second = read(data)
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert first.messages == (Message("system", "Be brief."), Message("user", "Who?"), Message("assistant", "Anna."))
    assert (first.place, second.place, second.index) == ("line 1", "line 3", 1)
    assert second.document() == {"kind": "chat", "messages": [{"role": "assistant", "content": "Hm."}]}


def test_prompts_texts_and_typed_parts_are_read_too() -> None:
    parts = {
        "messages": [{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    }
    rows = [{"prompt": "Q", "completion": "A"}, {"text": "Just text."}, parts]
    first, second, third = read("\n".join(json.dumps(row) for row in rows))
    assert isinstance(first, Record)
    assert first.messages == (Message("user", "Q"), Message("assistant", "A"))
    assert second == Record("text", "Just text.", (), "line 2", 1)
    assert isinstance(third, Record)
    assert third.messages == (Message("assistant", "ab"),)


BROKEN_LINES = {
    "cut": '{"messages": [{"role": "user", "content": "sekret',
    "no object": '["sekret"]',
    "other members": '{"sekret": 1}',
    "no list": '{"messages": "sekret"}',
    "foreign role": '{"messages": [{"role": "sekret", "content": "x"}]}',
    "content no text": '{"messages": [{"role": "assistant", "content": {"sekret": 1}}]}',
    "image part": '{"messages": [{"role": "assistant", "content": [{"type": "image", "url": "sekret"}]}]}',
    "no answer": '{"messages": [{"role": "user", "content": "sekret"}]}',
    "empty answer": '{"messages": [{"role": "assistant", "content": " "}]}',
    "empty text": '{"text": ""}',
    "too deep": '{"messages": ' + "[" * 100_000,
    "deeper than its caller's stack": '{"text": "sekret", "deep": ' + "[" * 500 + "]" * 500 + "}",
    "endless number": '{"messages": ' + "9" * 10_000 + "}",
    "not a number": '{"text": "sekret", "n": NaN}',
    "a mark inside": '\ufeff{"text": "sekret"}',
    "half a pair in utf-8": '{"text": "\udced\udca0\udc80"}',
    "not utf-8": '{"messages": "\udcff"}',
}


@pytest.mark.parametrize("line", BROKEN_LINES.values(), ids=BROKEN_LINES.keys())
def test_a_broken_line_is_named_by_place_and_reason_and_the_rest_goes_on(line: str) -> None:
    good = chat(("user", "Q"), ("assistant", "A"))
    data = f"{good}\n{line}\n{good}\n".encode("utf-8", "surrogateescape")
    first, broken, last = read(data)
    assert isinstance(first, Record)
    assert isinstance(broken, BrokenRecord)
    assert isinstance(last, Record)
    assert (broken.place, last.place, last.index) == ("line 2", "line 3", 1)
    assert broken.reason.endswith(".")
    assert "sekret" not in broken.reason


def test_a_first_line_that_is_cut_does_not_change_the_format() -> None:
    data = '{"messages": [{"role": "user"\n' + chat(("user", "Q"), ("assistant", "A"))
    broken, record = read(data)
    assert broken == BrokenRecord("line 1", "It is not valid JSON.")
    assert isinstance(record, Record)


def test_an_endless_line_costs_that_line_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.readers.chat.MAX_LINE", 1000)
    good = chat(("user", "Q"), ("assistant", "A"))
    data = f"{good}\n" + '{"text": "' + "x" * 200_000 + '"}' + f"\n{good}"
    first, broken, last = read(data, "application/jsonl")
    assert isinstance(broken, BrokenRecord)
    assert broken.place == "line 2"
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert last.place == "line 3"


def test_half_a_surrogate_pair_becomes_a_character_that_can_be_encoded() -> None:
    (record,) = read('{"text": "broken \\ud83d emoji, whole \\ud83d\\ude00"}')
    assert isinstance(record, Record)
    assert record.text.encode().decode() == record.text
    assert record.text.endswith("whole 😀")


def test_numbers_are_never_read_however_long_they_are() -> None:
    (record,) = read('{"text": "x", "n": ' + "9" * 10_000 + "}")
    assert isinstance(record, Record)


def test_what_stands_behind_the_head_is_utf_8_too() -> None:
    rows = b'{"text": "row"}\n' * 5000
    *_, broken = read(rows + '{"text": "sekret"}'.encode("utf-16-be"))
    assert broken == BrokenRecord("line 5001", "It is not valid JSON.")


# ChatGPT's conversations.json


def node(parent: str | None, role: str | None = None, *parts: Any, **more: Any) -> dict[str, Any]:
    message = None
    if role is not None:
        content = {"content_type": more.pop("content_type", "text"), "parts": list(parts)}
        message = {"author": {"role": role}, "content": content, "create_time": 1700000000.5, **more}
    return {"parent": parent, "message": message, "children": []}


def conversation(current: str | None = "a2", **nodes: Any) -> dict[str, Any]:
    mapping = {
        "root": node(None),
        "s": node("root", "system", ""),
        "u": node("s", "user", "Who has the key?"),
        "a1": node("u", "assistant", "Nobody."),
        "a2": node("u", "assistant", "Anna has it."),
        **nodes,
    }
    return {"title": "Keys", "create_time": 1.5, "mapping": mapping, "current_node": current}


def dialogue(*conversations: Any) -> list[Record | BrokenRecord]:
    return read(json.dumps(list(conversations)))


def test_a_conversation_is_read_along_its_current_branch() -> None:
    (record,) = dialogue(conversation())
    assert isinstance(record, Record)
    assert record.messages == (Message("user", "Who has the key?"), Message("assistant", "Anna has it."))
    assert record.place == "conversation 1"
    (other,) = dialogue(conversation("a1"))
    assert isinstance(other, Record)
    assert other.messages[-1] == Message("assistant", "Nobody.")


def test_tools_hidden_notes_and_pictures_are_left_out() -> None:
    (record,) = dialogue(
        conversation(
            "last",
            call=node("a2", "assistant", "search(x)", recipient="browser"),
            tool=node("call", "tool", "a page"),
            hidden=node("tool", "user", "profile", metadata={"is_visually_hidden_from_conversation": True}),
            code=node("hidden", "assistant", "1+1", content_type="code"),
            more=node("code", "assistant", "She lives by the weir."),
            seen=node("more", "user", {"asset_pointer": "x"}, "See this.", content_type="multimodal_text"),
            last=node("seen", "assistant", "Yes."),
        )
    )
    assert isinstance(record, Record)
    assert record.messages == (
        Message("user", "Who has the key?"),
        Message("assistant", "Anna has it.\n\nShe lives by the weir."),
        Message("user", "See this."),
        Message("assistant", "Yes."),
    )


BROKEN_CONVERSATIONS: dict[str, Any] = {
    "loop": conversation("a2", u=node("a2", "user", "Q")),
    "hole": conversation("a2", u=node("gone", "user", "Q")),
    "unknown end": conversation("gone"),
    "no end": conversation(None),
    "no answer": conversation("u"),
    "empty": {"mapping": {}},
    "no mapping": {"title": "x"},
    "mapping no map": {"mapping": [1]},
    "parents no text": conversation(None, a1={"parent": ["u"]}, a2={"parent": {}}),
    "end no text": conversation({"a": 1}),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("broken", BROKEN_CONVERSATIONS.values(), ids=BROKEN_CONVERSATIONS.keys())
def test_a_broken_conversation_is_named_and_the_rest_goes_on(broken: Any) -> None:
    first, bad, last = dialogue(conversation(), broken, conversation())
    assert isinstance(first, Record)
    assert isinstance(bad, BrokenRecord)
    assert isinstance(last, Record)
    assert (bad.place, last.place, last.index) == ("conversation 2", "conversation 3", 1)


def test_a_conversation_without_an_end_but_with_one_leaf_is_read() -> None:
    value = conversation(None)
    del value["mapping"]["a1"]
    (record,) = dialogue(value)
    assert isinstance(record, Record)


def test_a_conversation_that_lost_a_bracket_does_not_swallow_the_next() -> None:
    good = json.dumps(conversation())
    data = "[" + good + ',{"mapping": {"x": [1, 2, },' + good + "]"
    records = read(data)
    assert [type(record) for record in records[:1]] == [Record]
    assert any(isinstance(record, BrokenRecord) for record in records)
    data = '[{"messages": [},' + good + "]"
    broken, record = read(data)
    assert isinstance(broken, BrokenRecord)
    assert isinstance(record, Record)


def test_a_list_cut_short_gives_what_is_whole() -> None:
    data = json.dumps([conversation(), conversation()])
    first, broken = read(data[:-40])
    assert isinstance(first, Record)
    assert isinstance(broken, BrokenRecord)
    assert broken.place == "conversation 2"


def test_pretty_printed_lists_and_single_conversations_are_read() -> None:
    for value in ([conversation(), conversation()], conversation()):
        records = read(json.dumps(value, indent=2))
        assert all(isinstance(record, Record) for record in records)
        assert len(records) == (2 if isinstance(value, list) else 1)


@given(
    st.lists(
        st.recursive(
            st.text(alphabet='{}[]"\\,: aü', max_size=12) | st.integers() | st.none(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='{"]\\', max_size=3), inner),
            max_leaves=8,
        ).map(lambda value: {"k": value}),
        max_size=5,
    ),
    st.integers(1, 9),
)
@settings(max_examples=150, deadline=None)
def test_objects_are_found_wherever_pieces_end(values: list[Any], step: int) -> None:
    data = json.dumps(values, ensure_ascii=False).encode()
    found = list(objects(iter([data[at : at + step] for at in range(0, len(data), step)])))
    assert [json.loads(item) for item in found if item is not None] == values


def test_an_object_beyond_the_limit_costs_that_object_only() -> None:
    data = b'[{"a":1},{"b":"' + b"x" * 500 + b'"},{"c":3}]'
    assert list(objects(iter([data[:100], data[100:300], data[300:]]), limit=200)) == [b'{"a":1}', None, b'{"c":3}']


# Which reader reads


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", "text/plain"),
        (b"plain words", "text/plain"),
        (b"[ ] buy flour\n[x] sell bread", "text/plain"),
        (b"[a link](https://example.org)", "text/plain"),
        (b"{braces} in prose", "text/plain"),
        (b'{"messages": []}\n{"messages": []}', "application/jsonl"),
        (b'\xef\xbb\xbf  {"text": "x"}', "application/jsonl"),
        (b'[{"mapping": {}}]', "application/json"),
        (b'[\n  {\n    "title": 1', "application/json"),
        (b"[]", "application/json"),
        (b'{\n  "mapping": {}\n}', "application/json"),
        (b'{ "mapping": {\n  }\n}', "application/json"),
        (b"\x89PNG\r\n\x1a\n\0\0", "application/octet-stream"),
        (b"words\0words", "application/octet-stream"),
        (bytes(range(128, 256)) * 9, "application/octet-stream"),
        (b"caf\xe9 au lait, s'il vous pla\xeet", "text/plain"),
    ],
)
def test_the_content_decides_the_format(data: bytes, media_type: str) -> None:
    assert detect(data) == media_type


def test_what_is_no_text_is_one_broken_place() -> None:
    (broken,) = read_records("photo.png", None, io.BytesIO(b"\x89PNG\0"))
    assert isinstance(broken, BrokenRecord)
    assert broken.place == "whole file"
    assert broken.reason.startswith("photo.png is neither")


def test_a_name_makes_a_type_finer_but_never_changes_the_reading() -> None:
    assert media_type_of("a.md", b"words") == "text/markdown"
    assert media_type_of("a.txt", b"words") == "text/plain"
    assert media_type_of("a.md", b'{"text": "x"}') == "application/jsonl"
    assert media_type_of("a.png", b"\x89PNG\0") == "image/png"
    assert media_type_of("a.txt", b"\0") == "application/octet-stream"
    assert read("words", "text/markdown") == read("words")


def test_memory_does_not_grow_with_the_file() -> None:
    line = chat(("user", "Q" * 500), ("assistant", "A" * 500)).encode() + b"\n"
    conversations = json.dumps(conversation("a2", u=node("s", "user", "Q" * 1000))).encode() + b","
    prose = b"A paragraph of the long book that nobody has read to its end.\n\n"

    def repeated(unit: bytes, start: bytes = b"") -> Iterator[bytes]:
        yield start
        for _ in range(3 * 1024 * 1024 // len(unit)):
            yield unit

    for stream in (repeated(line), repeated(conversations, b"["), repeated(prose)):
        tracemalloc.start()
        count = sum(isinstance(record, Record) for record in read_records("", None, stream))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count > 700
        assert peak < 1 << 20
