"""
A text split into words as a POSIX shell splits it, without evaluating any.  Pure.

The same words as C{shlex.split} gives, in time that grows with the text's length; shlex takes seconds for one long word.
"""

from __future__ import annotations

import re
from typing import Final

_PIECE: Final = re.compile(
    r"""
    (?P<blanks> [ \t\r\n]++ )
    | (?P<plain> [^ \t\r\n'"\\]++ )
    | ' (?P<single> [^']*+ ) '
    | " (?P<double> (?: [^"\\]++ | \\. )*+ ) "
    | \\ (?P<escaped> . )
    """,
    re.DOTALL | re.VERBOSE,
)
#: Within double quotes a backslash escapes only these.
_ESCAPE: Final = re.compile(r'\\(["\\])')


def split_words(text: str) -> list[str]:
    """
    The words of a text.

    @raise ValueError: with half a sentence, when a quote is not closed or nothing follows a backslash.
    """
    words: list[str] = []
    word: list[str] = []
    at = 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            raise ValueError("no escaped character" if text[at] == "\\" else "no closing quotation")
        at = match.end()
        if match["blanks"] is None:
            word.append(_piece(match))
        elif word:
            words.append("".join(word))
            word = []
    return [*words, "".join(word)] if word else words


def _piece(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return _ESCAPE.sub(r"\1", match["double"])
    return next(piece for piece in (match["plain"], match["single"], match["escaped"]) if piece is not None)
