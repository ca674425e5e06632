"""Demand, nodes and money over time, as a picture in SVG.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from modabatchd.infrastructure.replay.panels import Curve, Frame, Panel, draw
from modabatchd.infrastructure.replay.simulation import Sample, largest

_WIDTH: Final = 1000
_LEFT: Final = 70
_RIGHT: Final = 190
_TOP: Final = 78
_GAP: Final = 46
_DEMAND: Final = "#d55e00"
_BUSY: Final = "#56b4e9"
_NODES: Final = "#333333"
_OURS: Final = "#0072b2"
_OTHERS: Final = ("#009e73", "#cc79a7", "#e69f00", "#888888", "#a6761d", "#7570b3", "#66a61e")


def picture(
    samples: Mapping[str, Sequence[Sample]], title: str, subtitle: str, currency: str, begins: float, dated: bool = True
) -> str:
    """
    Draw it.

    @param samples: by rule; the first one's nodes and demand are shown, and everybody's money.  In the order of time; thinned
        out to what the picture can show, the largest of each share kept.
    @param begins: the first second, in seconds since the epoch.
    @param dated: whether anybody knows when that really was.
    """
    shown = {rule: _thinned(each, _WIDTH) for rule, each in samples.items()}
    ours = next(iter(shown.values()), [])
    end = max((each[-1].at for each in shown.values() if each), default=1.0)
    frame = Frame(left=_LEFT, width=_WIDTH, begins=begins, span=end, dated=dated)
    panels = [_cores(ours), _nodes(ours), _money(shown, currency)]
    height = _TOP + sum(panel.height + _GAP for panel in panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {height}" font-family="sans-serif" '
        'font-size="12" fill="#222">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="42" fill="#666">{escape(subtitle)}</text>',
    ]
    top = float(_TOP)
    for panel in panels:
        parts += draw(panel, frame, top)
        top += panel.height + _GAP
    return "\n".join([*parts, "</svg>", ""])


def _cores(samples: Sequence[Sample]) -> Panel:
    asked = Curve("asked for", _DEMAND, [(each.at, each.asked) for each in samples])
    paid = Curve("of nodes", _NODES, [(each.at, each.cores) for each in samples])
    busy = Curve("in use", _BUSY, [(each.at, each.busy) for each in samples], filled=True)
    return Panel("cores", 190, (busy, asked, paid))


def _nodes(samples: Sequence[Sample]) -> Panel:
    return Panel("nodes", 110, (Curve("paid for", _NODES, [(each.at, each.nodes) for each in samples]),))


def _money(shown: Mapping[str, Sequence[Sample]], currency: str) -> Panel:
    """The dearest is named first, as its line ends highest."""
    colours = (_OURS, *_OTHERS)
    curves = [
        Curve(rule, colours[index % len(colours)], [(each.at, each.money) for each in samples], thick=not index, told=True)
        for index, (rule, samples) in enumerate(shown.items())
    ]
    return Panel(f"money spent, {currency}".rstrip(", "), 230, tuple(sorted(curves, key=lambda curve: curve.thick)))


def _thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    share = -(-len(samples) // most) or 1
    return [largest(samples[start : start + share]) for start in range(0, len(samples), share)]
