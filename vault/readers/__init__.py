"""Readers: what turns a file's bytes into training records. The content decides the format, never the name."""

from __future__ import annotations

from vault.readers.detection import detect
from vault.readers.reading import read_records
from vault.readers.record import BrokenRecord, Message, Record

__all__ = ["BrokenRecord", "Message", "Record", "detect", "read_records"]
