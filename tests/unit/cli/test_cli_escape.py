"""Leaving a terminal by ~. at the beginning of a line."""

from hypothesis import given
from hypothesis import strategies as st

from suanli.cli.reach_commands import Escape


def test_a_tilde_and_a_dot_leave_at_the_beginning_of_a_line_only() -> None:
    assert Escape().typed(b"~.") == (b"", True)
    assert Escape().typed(b"ls\r~.rest") == (b"ls\r", True)
    assert Escape().typed(b"ls ~.") == (b"ls ~.", False)
    assert Escape().typed(b"~a~.") == (b"~a~.", False)


def test_the_two_may_arrive_one_after_the_other() -> None:
    escape = Escape()
    assert escape.typed(b"~") == (b"", False)
    assert escape.typed(b".") == (b"", True)


@given(st.lists(st.binary(max_size=6)))
def test_everything_else_is_sent_as_it_was_typed(pieces: list[bytes]) -> None:
    escape = Escape()
    sent = b""
    for piece in pieces:
        out, escaped = escape.typed(piece)
        sent += out
        if escaped:
            return
    typed = b"".join(pieces)
    assert typed in (sent, sent + b"~")
