"""Demand, nodes and money over time, as a picture in SVG.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

import msgspec

from modabatchd.infrastructure.replay.simulation import Sample

_WIDTH: Final = 960
_HEIGHT: Final = 150
_LEFT: Final = 90
_TOP: Final = 46
_GAP: Final = 34
_COLOURS: Final = ("#4477aa", "#ee6677", "#228833")
_DAY: Final = 86400.0


class _Line(msgspec.Struct, frozen=True):
    name: str
    colour: str
    value: Callable[[Sample], float]


def _panels(currency: str) -> list[tuple[str, list[_Line]]]:
    blue, red, green = _COLOURS
    return [
        (
            "cores",
            [
                _Line("asked for by waiting jobs", red, lambda sample: sample.waiting),
                _Line("of nodes", blue, lambda sample: sample.cores),
                _Line("in use", green, lambda sample: sample.busy),
            ],
        ),
        ("nodes", [_Line("that cost money", blue, lambda sample: sample.nodes)]),
        (f"money {currency}".strip(), [_Line("spent so far", blue, lambda sample: sample.money)]),
    ]


def picture(samples: Sequence[Sample], title: str, currency: str) -> str:
    """
    Draw it.

    @param samples: in the order of time; thinned out to what the picture can show, the largest of each share kept.
    @param currency: of the money.
    """
    shown = _thinned(samples, _WIDTH)
    panels = _panels(currency)
    height = _TOP + len(panels) * (_HEIGHT + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 20} {height}" font-family="sans-serif" '
        'font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for index, (unit, lines) in enumerate(panels):
        parts += _panel(shown, unit, lines, _TOP + index * (_HEIGHT + _GAP))
    return "\n".join([*parts, "</svg>", ""])


def _panel(samples: Sequence[Sample], unit: str, lines: Sequence[_Line], top: float) -> list[str]:
    most = max((line.value(sample) for line in lines for sample in samples), default=0.0) or 1.0
    bottom = top + _HEIGHT
    parts = [
        f'<path d="M{_LEFT} {top}V{bottom}H{_LEFT + _WIDTH}" fill="none" stroke="#888"/>',
        f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.6g}</text>',
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{_LEFT - 6}" y="{top + _HEIGHT / 2}" text-anchor="end">{escape(unit)}</text>',
        f'<text x="{_LEFT + _WIDTH}" y="{bottom + 14}" text-anchor="end">{_days(samples)}</text>',
    ]
    for index, line in enumerate(lines):
        parts.append(f'<path d="{_path(samples, line, most, bottom)}" fill="none" stroke="{line.colour}"/>')
        parts.append(f'<text x="{_LEFT + 8 + 190 * index}" y="{top - 5}" fill="{line.colour}">{escape(line.name)}</text>')
    return parts


def _path(samples: Sequence[Sample], line: _Line, most: float, bottom: float) -> str:
    start = samples[0].at if samples else 0.0
    span = (samples[-1].at - start if samples else 0.0) or 1.0
    points = [
        f"{_LEFT + (sample.at - start) / span * _WIDTH:.1f} {bottom - line.value(sample) / most * _HEIGHT:.1f}"
        for sample in samples
    ]
    return "M" + "L".join(points) if points else ""


def _days(samples: Sequence[Sample]) -> str:
    return f"{(samples[-1].at - samples[0].at) / _DAY:.1f} days" if samples else ""


def _thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    share = -(-len(samples) // most) or 1
    return [_largest(samples[start : start + share]) for start in range(0, len(samples), share)]


def _largest(samples: Sequence[Sample]) -> Sample:
    fields = {name: max(getattr(sample, name) for sample in samples) for name in Sample.__struct_fields__}
    return Sample(**fields)
