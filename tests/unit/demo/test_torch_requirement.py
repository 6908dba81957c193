"""What the demo installs for its job is what the example's own requirements file names."""

from pathlib import Path

import pytest

from scheduler.demo.torch_env import EXAMPLES, TorchUnavailableError, read_requirement


def test_the_examples_requirement_is_read_past_its_comment() -> None:
    assert read_requirement(EXAMPLES / "finetune" / "requirements.txt").startswith("torch==")


@pytest.mark.parametrize(
    ("text", "named"), [("# nothing\n\n", "nothing"), ("torch==2.0\nnumpy==2.0\n", "numpy==2.0")]
)
def test_a_file_that_does_not_name_pytorch_alone_is_refused_by_name(
    tmp_path: Path, text: str, named: str
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(TorchUnavailableError, match=named) as refusal:
        read_requirement(file)
    assert str(file) in str(refusal.value)


def test_a_trailing_comment_is_no_part_of_the_requirement(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# why\n\ntorch==2.15.0  # any build will do\n", encoding="utf-8")
    assert read_requirement(file) == "torch==2.15.0"
