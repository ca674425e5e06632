"""A text split as a POSIX shell splits it."""

import shlex

from hypothesis import example, given
from hypothesis import strategies as st

from modabatchd.queue.words import split_words


@given(st.text(st.sampled_from(" \t\n\r'\"\\ab$`*\u00a0é")) | st.text())
@example('a \'\' "" \\\' "\\"\\$\\\\" #x')
def test_the_words_are_those_of_shlex(text: str) -> None:
    try:
        wanted: object = shlex.split(text, comments=False, posix=True)
    except ValueError:
        wanted = None
    try:
        found: object = split_words(text)
    except ValueError:
        found = None
    assert found == wanted


@given(st.lists(st.text()))
def test_what_was_quoted_comes_back(words: list[str]) -> None:
    assert split_words(shlex.join(words)) == words
