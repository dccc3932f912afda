"""Photograph the demo's digest of the second day, as `docs/screens/` shows it.

    python -m benchmarks.screens

Shows the first papers by day and by night, on a telephone and on a desk. Needs Chromium.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.figures import ROOT
from tests.browser import chromium
from triage.demo.story import play

SCREENS = ROOT / "docs" / "screens"
SIZES = {320: 1180, 1200: 800}
LARGEST = 150_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        play(Path(folder) / "demo", lambda _: None)
        [mail] = Path(folder).glob("demo/digests/20250627-ben-*.html")
        for width, height in SIZES.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,
                )
                page.goto(mail.as_uri())
                path = SCREENS / f"digest-{width}-{scheme}.png"
                page.screenshot(path=path)
                page.close()
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
                if path.stat().st_size > LARGEST:
                    sys.exit(f"more than {LARGEST:,} bytes: photograph less of it")


if __name__ == "__main__":
    main()
