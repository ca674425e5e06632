"""One panel of a picture: some curves over time, with their axes.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

import msgspec

from modabatchd.infrastructure.replay import axes

_LINE: Final = 14.0
_PALE: Final = 0.55


class Curve(msgspec.Struct, frozen=True):
    """
    A curve.

    @ivar points: seconds from the beginning, and values.
    @ivar filled: whether the area below it is.
    @ivar told: whether its name stands at its end, with the last value, and not above the panel.
    """

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    filled: bool = False
    thick: bool = False
    told: bool = False


class Panel(msgspec.Struct, frozen=True):
    """@ivar title: what is shown, and in what it is counted."""

    title: str
    height: int
    curves: tuple[Curve, ...]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """
    What all panels have in common.

    @ivar begins: the first second, in seconds since the epoch.
    @ivar span: seconds.
    @ivar dated: whether the axis shows dates; otherwise it counts days.
    """

    left: int
    width: int
    begins: float
    span: float
    dated: bool

    def x(self, at: float) -> float:
        """Where a second is."""
        return self.left + at / (self.span or 1.0) * self.width


def draw(panel: Panel, frame: Frame, top: float) -> Iterator[str]:
    """The elements of a panel."""
    marks = axes.values(max((value for curve in panel.curves for _, value in curve.points), default=0.0))
    bottom, scale = top + panel.height, panel.height / marks[-1]
    yield f'<text x="{frame.left}" y="{top - 6:g}" font-weight="bold">{escape(panel.title)}</text>'
    for mark in marks:
        y = bottom - mark * scale
        yield f'<path d="M{frame.left} {y:.1f}h{frame.width}" stroke="{"#999" if not mark else "#e4e4e4"}" fill="none"/>'
        yield f'<text x="{frame.left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#666">{axes.number(mark)}</text>'
    yield from _times(frame, top, bottom)
    for curve in panel.curves:
        yield _drawn(curve, frame, bottom, scale)
    yield from _legend([curve for curve in panel.curves if not curve.told], frame, top)
    yield from _ends([curve for curve in panel.curves if curve.told and curve.points], frame, bottom, scale)


def _times(frame: Frame, top: float, bottom: float) -> Iterator[str]:
    begins = frame.begins if frame.dated else 0.0
    for moment, text in axes.times(begins, begins + frame.span):
        x = frame.x(moment - begins)
        shown = text if frame.dated else f"day {moment / 86400.0:.3g}"
        yield f'<path d="M{x:.1f} {top:g}V{bottom + 4:g}" stroke="#eee" fill="none"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 17:g}" text-anchor="middle" fill="#666">{escape(shown)}</text>'


def _drawn(curve: Curve, frame: Frame, bottom: float, scale: float) -> str:
    points = [f"{frame.x(at):.1f} {bottom - value * scale:.1f}" for at, value in curve.points]
    if not points:
        return ""
    if curve.filled:
        around = (
            f"M{frame.x(curve.points[0][0]):.1f} {bottom:g}L{'L'.join(points)}L{frame.x(curve.points[-1][0]):.1f} {bottom:g}Z"
        )
        return f'<path d="{around}" fill="{curve.colour}" fill-opacity="{_PALE}"/>'
    width = 2.5 if curve.thick else 1.2
    return f'<path d="M{"L".join(points)}" fill="none" stroke="{curve.colour}" stroke-width="{width}" stroke-linejoin="round"/>'


def _legend(curves: Sequence[Curve], frame: Frame, top: float) -> Iterator[str]:
    for index, curve in enumerate(curves):
        x = frame.left + 120 + 130 * index
        opacity = _PALE if curve.filled else 1
        yield f'<rect x="{x}" y="{top - 15:g}" width="14" height="9" fill="{curve.colour}" fill-opacity="{opacity}"/>'
        yield f'<text x="{x + 20}" y="{top - 6:g}">{escape(curve.name)}</text>'


def _ends(curves: Sequence[Curve], frame: Frame, bottom: float, scale: float) -> Iterator[str]:
    """The names of curves beside their ends, the last value first."""
    ordered = sorted(curves, key=lambda curve: curve.points[-1][1])
    ends = [bottom - curve.points[-1][1] * scale for curve in ordered]
    for curve, end, y in zip(ordered, ends, _apart(ends), strict=True):
        x = frame.left + frame.width
        weight = ' font-weight="bold"' if curve.thick else ""
        value = curve.points[-1][1]
        text = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
        yield f'<path d="M{x + 2} {end:.1f}L{x + 14} {y:.1f}" stroke="{curve.colour}" fill="none"/>'
        yield f'<text x="{x + 18}" y="{y + 4:.1f}" fill="{curve.colour}"{weight}>{text} {escape(curve.name)}</text>'


def _apart(ends: Sequence[float]) -> list[float]:
    """Where names can stand that do not lie upon each other, near these places, the lowest of which comes first."""
    found: list[float] = []
    for end in ends:
        found.append(min(end, found[-1] - _LINE) if found else end)
    # Half of what some had to go up, all go down.
    down = max((end - y for end, y in zip(ends, found, strict=True)), default=0.0) / 2
    return [y + down for y in found]
