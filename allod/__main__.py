"""`python -m allod`."""

from __future__ import annotations

from allod.cli import main

if __name__ == "__main__":
    main()
