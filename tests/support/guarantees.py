"""`reliability.json`: what the long forms of the tests of reliability measured.

A test that shows a guarantee is marked with its name and puts its figures into the fixture of the
same name. Only the long forms (`--full`) are written down; a test that fails is written down, too.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
from dataclasses import dataclass, field

from tests.support.paths import ROOT

FILE = ROOT / "reliability.json"
Figure = int | float | str


@dataclass
class Guarantee:
    """Takes the figures of one guarantee, which several tests may show together.

    Attributes:
        name: as in `R29`.
        full: whether this is the long form.
    """

    name: str
    full: bool
    figures: dict[str, Figure] = field(default_factory=dict)

    def record(self, **figures: Figure) -> None:
        """Note figures, under names that say their unit."""
        self.figures |= figures

    def write(self, *, passed: bool) -> None:
        """Merge the figures of a long form into the file; a guarantee fails with any part of it."""
        if not self.full:
            return
        with FILE.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            rows = json.loads(file.read() or '{"guarantees": {}}')["guarantees"]
            commit, row = _commit(), rows.get(self.name)
            if row is None or row["commit"] != commit:
                row = {"pass": True, "figures": {}, "commit": commit}
            row["pass"] = row["pass"] and passed
            row["figures"] = dict(sorted((row["figures"] | self.figures).items()))
            rows[self.name] = row
            ordered = dict(sorted(rows.items(), key=lambda item: int(item[0][1:])))
            file.truncate(0)
            file.write(json.dumps({"guarantees": ordered}, indent=2) + "\n")


def _commit() -> str:
    git = ["git", "rev-parse", "--short=12", "HEAD"]
    said = subprocess.run(git, cwd=FILE.parent, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"
