"""The page on the payload format is true: its program opens what we seal, with nothing but Tink."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from core.ids import ObjectId, VaultId
from vault.payload import seal

PAGE = Path(__file__).parents[2] / "docs" / "format" / "10-payload.md"


def test_the_ten_lines_on_the_page_open_an_exported_object(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(program.splitlines()) <= 12
    (tmp_path / "open.py").write_text(program)
    dek, vault_id, object_id = os.urandom(32), VaultId(os.urandom(32)), ObjectId(os.urandom(32))
    plain = os.urandom(1_500_000)
    with (tmp_path / "sealed").open("wb") as sink:
        seal(io.BytesIO(plain), dek, vault_id, object_id, lambda _index, segment: sink.write(segment) and None)
    keys = [dek.hex(), "0x" + vault_id.hex(), object_id.hex()]
    subprocess.run([sys.executable, "open.py", "sealed", "plain", *keys], cwd=tmp_path, check=True)
    assert (tmp_path / "plain").read_bytes() == plain
