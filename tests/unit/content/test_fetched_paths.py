"""Where fetched files are written: in the folder that was named, whatever the server and the system make of names."""

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from suanli.client.content import place_in
from suanli.client.errors import Unreachable


@pytest.mark.parametrize("path", ["", "/etc/cron.d/x", "../x", "a/../../x", "a//b", "a\\..\\b", "x\n"])
def test_no_name_of_the_server_leads_out_of_the_folder(path: str) -> None:
    with pytest.raises(Unreachable, match="nobody should write"):
        place_in(Path("out"), path)


@pytest.mark.parametrize(
    "path",
    [
        "C:/Users/ana/startup.bat",
        "c:x",
        "a/C:/x",
        "w.bin:hidden",
        "NUL",
        "a/con.txt",
        "COM1",
        ".. /x",
        "a./b",
        "a*",
    ],
)
def test_on_windows_neither_does_a_drive_a_stream_a_device_or_a_name_that_is_shortened(path: str) -> None:
    with pytest.raises(Unreachable, match="Windows"):
        place_in(PureWindowsPath("out"), path)


def test_every_other_name_stays_as_it_is() -> None:
    assert place_in(PurePosixPath("out"), "ckpt-12:30/a. b") == PurePosixPath("out/ckpt-12:30/a. b")
    assert place_in(PureWindowsPath("out"), "console/.env") == PureWindowsPath("out/console/.env")
