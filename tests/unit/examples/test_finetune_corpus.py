from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def corpus(load_finetune_module: Callable[[str], ModuleType]) -> ModuleType:
    return load_finetune_module("corpus")


def test_passages_are_parted_by_empty_lines(corpus: ModuleType, tmp_path: Path) -> None:
    text = tmp_path / "poems.txt"
    text.write_text("静夜思\n床前明月光\n\n\n春晓\n\n", encoding="utf-8")

    assert [p.decode() for p in corpus.read_passages(text)] == ["静夜思\n床前明月光\n\n", "春晓\n\n"]


def test_every_passage_is_either_trained_on_or_held_out(corpus: ModuleType) -> None:
    passages = [f"{n};".encode() for n in range(25)]

    train, held_out = corpus.split_held_out(passages)

    assert held_out == b"4;14;24;"
    assert sorted((train + held_out).split(b";")) == sorted(b"".join(passages).split(b";"))


@pytest.mark.parametrize(("stream_bytes", "expected"), [(10, [0]), (11, [0, 1]), (30, [0, 8, 16, 20])])
def test_windows_cover_the_stream_to_its_last_byte(
    corpus: ModuleType, stream_bytes: int, expected: list[int]
) -> None:
    assert corpus.window_starts(stream_bytes, 10, 8) == expected


def test_a_stream_shorter_than_a_window_is_refused(corpus: ModuleType) -> None:
    with pytest.raises(ValueError, match="9 bytes holds no window of 10 bytes"):
        corpus.window_starts(9, 10, 8)


def test_a_pass_over_the_text_deals_each_window_once(corpus: ModuleType) -> None:
    deal = corpus.Deal(window_count=24, process_count=4, batch=3, seed=7)

    dealt = [n for step in range(2) for rank in range(4) for n in deal.hand(step, rank)]

    assert sorted(dealt) == list(range(24))


def test_a_hand_that_runs_over_the_end_goes_on_with_the_next_pass(corpus: ModuleType) -> None:
    deal = corpus.Deal(window_count=10, process_count=2, batch=3, seed=7)

    dealt = [n for step in range(5) for rank in range(2) for n in deal.hand(step, rank)]

    assert sorted(dealt) == sorted([*range(10)] * 3)
    assert dealt[:10] != dealt[10:20]


def test_what_a_process_is_dealt_depends_on_nothing_before(corpus: ModuleType) -> None:
    """Else a resumed job would not see the data that it would have seen without the stop."""
    first = corpus.Deal(window_count=100, process_count=4, batch=8, seed=7)
    for step in range(50):
        first.hand(step, 2)
    resumed = corpus.Deal(window_count=100, process_count=4, batch=8, seed=7)

    assert first.hand(50, 2) == resumed.hand(50, 2)
    assert resumed.hand(50, 2) != corpus.Deal(window_count=100, process_count=4, batch=8, seed=8).hand(50, 2)


def test_work_done_once_falls_to_exactly_one_process(corpus: ModuleType) -> None:
    shares = [corpus.share_of(list(range(10)), rank, 4) for rank in range(4)]

    assert sorted(n for share in shares for n in share) == list(range(10))


@pytest.mark.parametrize("name", ["tang_poems", "base_chinese", "base_english"])
def test_the_texts_that_ship_fill_many_windows(corpus: ModuleType, examples: Path, name: str) -> None:
    passages = corpus.read_passages(examples / "finetune" / "text" / f"{name}.txt")
    train, held_out = corpus.split_held_out(passages)

    assert len(corpus.window_starts(len(train), 129, 11)) > 200
    assert len(held_out) >= 129


def test_no_poem_is_in_the_texts_of_the_base_model(corpus: ModuleType, examples: Path) -> None:
    text = examples / "finetune" / "text"
    base = (text / "base_chinese.txt").read_text(encoding="utf-8")
    poems = [p.decode().split("\n")[1] for p in corpus.read_passages(text / "tang_poems.txt")]

    assert len(set(poems)) == len(poems)
    assert [line for line in poems if line in base] == []
