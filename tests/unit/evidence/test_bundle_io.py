"""Bundles on disk: what hostile archives may not do."""

import struct
import zipfile

import pytest

from suanli.evidence.bundle import MANIFEST, check_path
from suanli.evidence.bundle_io import ReadLimits, _check_directory
from suanli.evidence.errors import EvidenceError
from tests.builders.bundles import read_bundle, write_bundle, write_bundle_folder
from tests.builders.evidence import honest_operator

FILES = honest_operator(1).bundle((1_780_272_000_000, 1_780_272_300_000))


def test_a_bundle_is_the_same_as_archive_and_as_folder(tmp_path):
    write_bundle(tmp_path / "b.zip", FILES)
    write_bundle_folder(tmp_path / "b", FILES)
    assert read_bundle(tmp_path / "b.zip") == FILES
    assert read_bundle(tmp_path / "b") == FILES


def test_the_same_files_make_the_same_archive(tmp_path):
    write_bundle(tmp_path / "one.zip", FILES)
    write_bundle(tmp_path / "two.zip", dict(reversed(FILES.items())))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["../x", "/x", "a/../b", "a//b", "C:/x", "a\\b", ".hidden", "a/", "", "a b", "x" * 201, "a\x00b", "./a"],
)
def test_names_that_could_leave_the_folder_are_refused(path, tmp_path):
    with pytest.raises(EvidenceError):
        check_path(path)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("ok", b"")
        member = zipfile.ZipInfo("placeholder")
        member.filename = path
        archive.writestr(member, b"x")
    if path not in ("a/",):
        with pytest.raises(EvidenceError):
            read_bundle(tmp_path / "b.zip")


def test_a_name_twice_is_refused_whatever_its_case(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("checkpoint", b"one")
        archive.writestr("Checkpoint", b"two")
    with pytest.raises(EvidenceError, match="twice"):
        read_bundle(tmp_path / "b.zip")


def test_an_archive_that_swells_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("payloads.jsonl", bytes(50 << 20))
    with pytest.raises(EvidenceError, match="byte of the archive"):
        read_bundle(tmp_path / "b.zip")


def test_totals_are_bounded(tmp_path):
    write_bundle(tmp_path / "b.zip", FILES)
    write_bundle_folder(tmp_path / "b", FILES)
    for path in (tmp_path / "b.zip", tmp_path / "b"):
        with pytest.raises(EvidenceError, match="files"):
            read_bundle(path, ReadLimits(files=2))
        with pytest.raises(EvidenceError, match="bytes"):
            read_bundle(path, ReadLimits(total_bytes=100))


@pytest.mark.parametrize("count", [101, 70_000])
def test_a_directory_of_too_many_files_is_refused_while_it_is_counted(tmp_path, count):
    # 70,000 members need the ZIP64 form of the directory.
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"f{number}"), b"")
    with (tmp_path / "b.zip").open("rb") as stream:
        with pytest.raises(EvidenceError, match="more than 100 files"):
            _check_directory(stream, ReadLimits(files=100))
        _check_directory(stream, ReadLimits(files=count))
    with pytest.raises(EvidenceError, match="more than 100 files"):
        read_bundle(tmp_path / "b.zip", ReadLimits(files=100))


@pytest.mark.parametrize("trick", ["a signature in the counts", "a locator of nothing"])
def test_an_archive_cannot_hide_how_many_files_it_has_from_the_count(tmp_path, trick):
    """zipfile makes an object of each member: the count before it must find the directory where zipfile does."""
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for number in range(200):
            member = zipfile.ZipInfo(f"f{number}")
            if number == 199:
                member.comment = b"PK\x06\x07" + bytes(16)
            archive.writestr(member, b"")
    data = bytearray((tmp_path / "b.zip").read_bytes())
    if trick == "a signature in the counts":
        data[-14:-10] = b"PK\x05\x06"
    (tmp_path / "b.zip").write_bytes(bytes(data))
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert len(archive.infolist()) == 200
    with (
        (tmp_path / "b.zip").open("rb") as stream,
        pytest.raises(EvidenceError, match="more than 100 files"),
    ):
        _check_directory(stream, ReadLimits(files=100))


def test_a_size_that_lies_is_noticed(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("checkpoint", b"0123456789")
    data = bytearray((tmp_path / "b.zip").read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 20 : central + 28] = struct.pack("<II", 5, 5)
    (tmp_path / "b.zip").write_bytes(bytes(data))
    with pytest.raises(EvidenceError):
        read_bundle(tmp_path / "b.zip")


def test_a_method_that_is_not_plain_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("checkpoint", b"0123456789")
    with pytest.raises(EvidenceError, match="deflated"):
        read_bundle(tmp_path / "b.zip")


def test_every_flipped_byte_of_an_archive_is_read_the_same_or_refused(tmp_path):
    small = {MANIFEST: b"manifest", "checkpoint": b"checkpoint"}
    write_bundle(tmp_path / "b.zip", small)
    data = (tmp_path / "b.zip").read_bytes()
    for place in range(len(data)):
        for bit in (1, 0x80):
            changed = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
            (tmp_path / "c.zip").write_bytes(changed)
            try:
                files = read_bundle(tmp_path / "c.zip")
            except EvidenceError:
                continue
            assert set(files.values()) <= set(small.values())


def test_links_in_a_folder_are_refused(tmp_path):
    write_bundle_folder(tmp_path / "b", FILES)
    (tmp_path / "b" / "link").symlink_to(tmp_path / "b" / MANIFEST)
    with pytest.raises(EvidenceError, match="link"):
        read_bundle(tmp_path / "b")


def test_an_absent_bundle_is_an_error_of_the_disk(tmp_path):
    with pytest.raises(OSError, match="absent"):
        read_bundle(tmp_path / "absent.zip")
