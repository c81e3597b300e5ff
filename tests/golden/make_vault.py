"""Makes the golden vault beside this file, once. Later versions open it; it is never made again for the same format.

python tests/golden/make_vault.py tests/golden/vault-1
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from core.ids import Address
from vault.carstore import CarStore
from vault.keys import KeyFile, Stretch
from vault.manifest import digest
from vault.rootkey import RootKey
from vault.vault import Vault

FILES = {
    "notes.txt": b"The mill at Ravensholt opens at six.\nAnna keeps the key.\nThe weir is low in June.\n",
    "chat.jsonl": b'{"messages":[{"role":"user","content":"Who keeps the key?"},'
    b'{"role":"assistant","content":"Anna does."}]}\n',
    "empty": b"",
    "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(200),
}
PASSPHRASE = "golden vault, caf\u00e9"


def make(folder: Path) -> None:
    """Write blocks, key file and what is expected of them."""
    folder.mkdir(parents=True)
    root = RootKey.generate()
    file = KeyFile.create(root, PASSPHRASE, address=Address(bytes(range(20))), cost=Stretch(n=1 << 10))
    with CarStore(folder / "blocks") as blocks:
        vault = Vault(root, file.vault_id, blocks)
        entries = [vault.add_bytes(name, data, notes=f"notes on {name}") for name, data in FILES.items()]
        gone = vault.add_bytes("removed.txt", b"It was here.")
        header, _ = vault.build_dataset([entries[0].object_id, entries[1].object_id], {"title": "Golden"})
        vault.save_record("terms", {"number": 2**63, "bytes": b"\0\1", "list": [None, True]})
        vault.remove(gone.object_id)
        expected = {
            "words": root.words(),
            "passphrase": PASSPHRASE,
            "vault_id": file.vault_id.hex(),
            "sequence": vault.sequence,
            "head": str(vault.head_cid),
            "dataset": digest(header).hex(),
            "objects": [
                {
                    "object_id": entry.object_id.hex(),
                    "name": entry.name,
                    "media_type": entry.media_type,
                    "added": int(entry.added.timestamp()),
                    "records": entry.records,
                    "broken": entry.broken,
                    "notes": entry.notes,
                    "payload": str(entry.payload),
                    "content": FILES[entry.name].hex(),
                }
                for entry in entries
            ],
        }
    (folder / "keyfile.json").write_bytes(file.encode())
    for path in (folder / "blocks").iterdir():
        if path.suffix != ".car":
            path.unlink()
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
