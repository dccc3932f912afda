"""Draws how the price of a night grows, as one SVG file for light and dark screens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT = 760, 380
TOP, BOTTOM = 92, 320
STYLE = """
  svg { --ground: #fffdf9; --ink: #1d2327; --soft: #5b6468; --line: #dcd8cf;
        --first: #0b5d66; --second: #8a5a00; }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #14171a; --ink: #e9e6df; --soft: #a4acb0; --line: #33393d;
          --first: #86d3d6; --second: #e8bd5c; } }
  text { fill: var(--ink); font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; }
  .head { font-weight: 650; font-size: 15px; }
  .soft { fill: var(--soft); font-size: 12px; }
  .middle { text-anchor: middle; } .end { text-anchor: end; }
  .grid { stroke: var(--line); }
  .first { stroke: var(--first); fill: var(--first); }
  .second { stroke: var(--second); fill: var(--second); }
  path { fill: none !important; stroke-width: 2; }
  .other { stroke-dasharray: 5 4; }
"""


@dataclass(frozen=True)
class Panel:
    """A part of the plot with logarithmic axes, from `left` to `right`."""

    left: int
    right: int
    xs: Sequence[float]
    ys: Sequence[float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (
            self.left + (self.right - self.left) * _share(x, self.xs),
            BOTTOM - (BOTTOM - TOP) * _share(y, self.ys),
        )

    def axes(self, head: str, below: str) -> list[str]:
        """Return lines and labels; each power of ten has a line, and each given x a label."""
        told = [
            f'<text class="head" x="{self.left}" y="62">{head}</text>',
            f'<text class="soft middle" x="{(self.left + self.right) / 2}" y="{BOTTOM + 42}">'
            f"{below}</text>",
        ]
        for power in range(math.floor(_log(self.ys[0])), math.ceil(_log(self.ys[-1])) + 1):
            y = 10.0**power
            if self.ys[0] <= y <= self.ys[-1]:
                _, height = self.at(self.xs[0], y)
                told.append(
                    f'<line class="grid" x1="{self.left}" x2="{self.right}" y1="{height:.1f}" '
                    f'y2="{height:.1f}"/><text class="soft end" x="{self.left - 8}" '
                    f'y="{height + 4:.1f}">{y:,.12g}</text>'
                )
        for x in self.xs:
            place, _ = self.at(x, self.ys[0])
            told.append(
                f'<text class="soft middle" x="{place:.1f}" y="{BOTTOM + 20}">{_short(x)}</text>'
            )
        return told

    def line(self, points: Mapping[float, float], name: str, style: str) -> list[str]:
        """Return a line with its name above its end; a measured one has a dot at each point."""
        places = [self.at(x, y) for x, y in points.items()]
        path = " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        told = [f'<path class="{style}" d="M{path}"/>']
        if "other" not in style:
            told += [
                f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in places
            ]
        x, y = places[-1]
        return [*told, f'<text class="end" x="{x:.1f}" y="{y - 10:.1f}">{name}</text>']


def draw(
    out: Path,
    *,
    by_size: Mapping[float, float],
    by_pool: Mapping[float, float],
    peer_ms: float,
    floor_ms: float,
    pool: int,
) -> None:
    """Write the plot.

    Args:
        by_size: seconds of processor time of a usual night, by the number of subscribers.
        by_pool: milliseconds a subscriber, by the number of papers.
        peer_ms, floor_ms: the same of arxiv-sanity-lite's algorithm and of the bare steps.
        pool: the number of papers of `by_size`.
    """
    sizes, pools = list(by_size), list(by_pool)
    peer = {n: peer_ms * n / 1e3 for n in sizes}
    floor = {n: floor_ms * n / 1e3 for n in sizes}
    most = 10.0 ** math.ceil(_log(max(peer.values())))
    seconds = Panel(70, 400, sizes, [min(floor.values()) / 2, most])
    each = Panel(500, 736, pools, [1, 10.0 ** math.ceil(_log(max(by_pool.values()) * 1.5))])
    body = [
        *seconds.axes(f"A usual night, {pool:,} papers: seconds of processor", "subscribers"),
        *seconds.line(peer, "arxiv-sanity-lite’s algorithm", "second other"),
        *seconds.line(by_size, "triage", "first"),
        *seconds.line(floor, "", "second other"),
        f'<text class="end" x="400" y="{seconds.at(sizes[-1], floor[sizes[-1]])[1] + 38:.1f}">'
        "its bare steps</text>",
        *each.axes("A subscriber: milliseconds", "papers in the pool"),
        *each.line(by_pool, "", "first"),
    ]
    lines = "\n".join(body)
    about = ", ".join(f"{n:,} subscribers {s:,.0f} s" for n, s in by_size.items())
    out.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-labelledby="title about">\n'
        f'<title id="title">What a night costs</title>\n<desc id="about">{about}</desc>\n'
        f"<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="var(--ground)"/>\n'
        f'<text class="soft" x="24" y="30">Processor time by `python -m benchmarks.nightly`; a '
        f"third of the subscribers have voted since the night before</text>\n{lines}\n</svg>\n",
        "utf-8",
    )


def _log(value: float) -> float:
    return math.log10(value)


def _share(value: float, ends: Sequence[float]) -> float:
    low, high = _log(ends[0]), _log(ends[-1])
    return (_log(value) - low) / ((high - low) or 1)


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
