"""How fast the page seals, against the browser's own cryptography over the same bytes in the same page.

    python -m bench.browser [--json] [--mib 256]

Raw is WebCrypto's AES-256-GCM and SHA-256 of one MiB after the other, as many at once as the sealing has. Sealed is the
whole way of a file: read, encrypted, hashed, counted by the readers, built into a tree in a Worker and handed to the
page. Rounds alternate and the best of each counts. Without Chromium or the built page there are no rows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys

from bench.figures import Figure, figure, tell

ROUNDS = 3
GOAL = 0.8


def measure(mib: int) -> list[Figure]:
    """All rows; none where the browser or the page is missing."""
    from playwright.sync_api import sync_playwright

    from tests.web.serving import VECTORS, served

    program = shutil.which("chromium")
    if program is None or not (VECTORS / "vectors.html").is_file():
        print("No figures of the page: Chromium is missing, or `make web` was not run.", file=sys.stderr)
        return []
    arguments = ["--disable-dev-shm-usage", "--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    rounds: list[dict[str, float]] = []
    with sync_playwright() as playwright, served(VECTORS) as url:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page()
        page.goto(f"{url}/vectors.html")
        page.wait_for_function("window.lab !== undefined")
        page.evaluate("lab.bench(8)")  # the first call of everything is slow
        rounds.extend(page.evaluate("mib => lab.bench(mib)", mib) for _ in range(ROUNDS))
        browser.close()
    raw, sealed = (min(taken[name] for taken in rounds) for name in ("raw", "sealed"))
    return [
        figure("browser: AES-GCM + SHA-256 raw", mib / raw, "MiB/s"),
        figure("browser: sealing", mib / sealed, "MiB/s"),
        figure("browser: sealing against raw", raw / sealed, "ratio", f"≥ {GOAL}", raw / sealed >= GOAL),
    ]


def main() -> int:
    """Measure and print; the exit code is 0 whether or not the goal was met, for a noisy machine is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench.browser", description="Sealing in the page.")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--mib", type=int, default=256, help="size of the file")
    options = parser.parse_args()
    tell("browser", measure(options.mib), as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
