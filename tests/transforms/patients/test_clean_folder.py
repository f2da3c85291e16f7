"""A cleaned copy of a folder: names of files, what is left out, what is refused, and nothing half written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fedmed_transforms import clean_folder
from fedmed_transforms.patients.identifiers import main

GREY = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))


def info() -> PngInfo:
    texts = PngInfo()
    texts.add_text("Author", "Jane")
    return texts


def test_data_files_get_the_names_that_their_headers_state(tmp_path: Path, save_dicom: Callable[..., Path]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    save_dicom(source / "a.dcm", np.zeros((2, 2), np.uint8), PatientName="Doe^Jane", PatientID="MRN-4711")
    head = "NRRD0004\ntype: uint8\ndimension: 1\nsizes: 1\nencoding: raw\ndata file: Jane_4711.raw\n"
    (source / "Jane_4711.nhdr").write_bytes(head.encode())
    (source / "Jane_4711.raw").write_bytes(b"\0")
    target = tmp_path / "cleaned"
    assert clean_folder(source, target) == []
    (header,) = target.glob("*.nhdr")
    assert "Jane" not in header.name and header.with_suffix(".raw").name in header.read_text()
    assert header.with_suffix(".raw").is_file()


def test_other_files_are_left_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "patients.csv").write_text("Jane Doe")
    (source / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n of Jane")
    GREY.save(source / "b.png")
    left = clean_folder(source, tmp_path / "cleaned")
    assert [it.name for it in left] == ["a.png", "patients.csv"] and not any("Jane" in it.reason for it in left)
    assert left[0].reason.startswith("a PNG without its last chunk") and left[1].reason.startswith("a format that")
    assert [path.name for path in (tmp_path / "cleaned").iterdir()] == ["b.png"]


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("source", "source/inside", "a folder outside"), ("source", "source", "a folder outside"),
        ("source", ".", "a folder outside"), ("source", "full", "no folder, or an empty one"),
        ("missing", "other", "a folder"), ("full/a.txt", "other", "a folder"),
    ],
)  # fmt: skip
def test_folders_that_are_refused(tmp_path: Path, source: str, target: str, expected: str) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("kept")
    GREY.save(tmp_path / "source" / "a.png")
    with pytest.raises(ValueError, match=f"expected {expected}"):
        clean_folder(tmp_path / source, tmp_path / target)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.png", "a.txt", "full", "source"]


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="key: expected at least 16 bytes, found 6"):
        clean_folder(tmp_path, tmp_path.with_name("other"), b"secret")


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    for name in "ab":
        GREY.save(tmp_path / "source" / f"{name}.png")
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        clean_folder(tmp_path / "source", tmp_path / "cleaned")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def full_disk(path: Path, content: bytes) -> None:
    raise OSError("no space left")


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source").mkdir()
    GREY.save(tmp_path / "source" / "a.png", pnginfo=info())
    (tmp_path / "source" / "notes.txt").write_text("Jane")
    (tmp_path / "key").write_text("a secret of 16 bytes")
    names = [str(tmp_path / name) for name in ("source", "cleaned", "key")]
    monkeypatch.setattr(sys, "argv", ["identifiers", names[0], "--clean", names[1], "--key_file", names[2]])
    assert main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("cleaned: wrote 1 file without identifiers, left out 1")
    assert lines[2].split()[:2] == ["notes.txt", "a"]
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2 and "expected no folder, or an empty one" in capsys.readouterr().err
