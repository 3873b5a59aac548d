"""What archives hold stays inside of its folder, and damage is named."""

import hashlib
import io
import os
import tarfile
import zipfile

import pytest

from tssbn.data.real.archives import members, unpack

BODY = bytes(range(256)) * 4000  # about 1 MB
FILES = {"a.txt": b"a", "in/b.txt": b"bb", "in/deep/er/c.bin": BODY}


def make_zip(path, files, mode=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            if mode is not None:
                member.create_system, member.external_attr = 3, mode << 16
            made.writestr(member, content)


def make_tar(path, files, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w:gz") as made:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "a.txt"
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            made.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_unpack(tmp_path, make):
    make(tmp_path / "archive", FILES)
    unpack(tmp_path / "archive", tmp_path / "out")
    found = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in found} == FILES

    kept, lost = tmp_path / "out/a.txt", tmp_path / "out/in/b.txt"
    os.utime(kept, (1, 1))
    lost.write_bytes(b"")
    unpack(tmp_path / "archive", tmp_path / "out")  # goes on with what is not finished
    assert kept.stat().st_mtime == 1 and lost.read_bytes() == b"bb"


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name", ["../evil", "in/../../evil", "/evil", "C:/evil", "C:evil", "..\\evil", "\\evil"]
)
def test_names_that_lead_out_are_refused_before_anything_is_written(tmp_path, make, name):
    make(tmp_path / "archive", {"good": b"", name: b"evil"})
    with pytest.raises(ValueError, match=r"archive holds a name that leads out of its folder"):
        unpack(tmp_path / "archive", tmp_path / "deep/out")
    assert not list(tmp_path.rglob("evil*")) and not (tmp_path / "deep").exists()


def test_links_and_special_files_are_refused(tmp_path):
    for kind, word in (
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "special file"),
        (tarfile.FIFOTYPE, "special file"),
    ):
        make_tar(tmp_path / "archive", {"a.txt": b"a", "in/x": b""}, kind)
        with pytest.raises(ValueError, match=f"archive holds a {word}: 'a.txt'"):
            unpack(tmp_path / "archive", tmp_path / "out")
    for mode, word in ((0o120777, "link"), (0o020666, "special file")):
        make_zip(tmp_path / "archive", {"x": b"/etc"}, mode)
        with pytest.raises(ValueError, match=f"archive holds a {word}: 'x'"):
            unpack(tmp_path / "archive", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_that_is_cut_short_or_damaged(tmp_path, make):
    noise = hashlib.shake_128(b"noise").digest(100_000)  # does not compress
    make(tmp_path / "archive", {"a": noise})
    whole = (tmp_path / "archive").read_bytes()
    damaged = bytearray(whole)
    damaged[50_000] ^= 255
    for broken in (whole[:60_000], bytes(damaged), b"neither", b""):
        (tmp_path / "archive").write_bytes(broken)
        with pytest.raises(ValueError, match=r"archive (is not a whole zip|cannot be read)"):
            unpack(tmp_path / "archive", tmp_path / "out")
        assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_unpack_without_an_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        unpack(tmp_path / "nowhere.zip", tmp_path / "out")


def held(archive):
    with members(archive) as found:
        return {member.path.as_posix(): b"".join(member.pieces()) for member in found}


LEFT = {"._a.txt": b"", "in/._b.txt": b"", "__MACOSX/in/._b.txt": b"", ".DS_Store": b"\0\0"}
LEFT |= {"in/Thumbs.db": b"", "__MACOSX/c.txt": b"", "in/.git/d.txt": b""}


def test_what_systems_leave_is_passed_over_in_archives_and_folders(tmp_path):
    for name, content in {**FILES, **LEFT}.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    make_zip(tmp_path / "zip", {**LEFT, **FILES})
    make_tar(tmp_path / "tar", {**LEFT, **FILES})
    for source in ("folder", "zip", "tar"):
        assert held(tmp_path / source) == FILES
    assert list(held(tmp_path / "folder")) == sorted(FILES)
    unpack(tmp_path / "zip", tmp_path / ".cache/__MACOSX/out")  # the folder may be named so
    assert held(tmp_path / ".cache/__MACOSX/out") == FILES


def test_a_name_that_leads_out_is_refused_of_a_hidden_file_too(tmp_path):
    make_zip(tmp_path / "archive", {"../.evil": b"", "__MACOSX/../../evil": b""})
    with pytest.raises(ValueError, match=r"leads out of its folder: '\.\./\.evil'"):
        unpack(tmp_path / "archive", tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_as_tools_write_them(tmp_path, make):
    make(tmp_path / "archive", {"./a.txt": b"a", "in\\b.txt": b"bb", "in/./c.txt": b"c"})
    assert held(tmp_path / "archive") == {"a.txt": b"a", "in/b.txt": b"bb", "in/c.txt": b"c"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("first", ["a.txt", "./a.txt"])
def test_two_files_of_one_name_are_refused(tmp_path, first):
    with zipfile.ZipFile(tmp_path / "zip", "w") as made:
        made.writestr(first, b"1")
        made.writestr("a.txt", b"2")
    with tarfile.open(tmp_path / "tar", "w") as made:
        for name in (first, "a.txt"):
            made.addfile(tarfile.TarInfo(name))
    for archive in ("zip", "tar"):
        with pytest.raises(ValueError, match=f"{archive} holds two files of one name: 'a.txt'"):
            unpack(tmp_path / archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", "."])
def test_a_file_without_a_name_is_refused(tmp_path, name):
    make_zip(tmp_path / "zip", {"a.txt": b"a", name: b"b"})
    make_tar(tmp_path / "tar", {"a.txt": b"a", name: b"b"})
    for archive in ("zip", "tar"):
        with pytest.raises(ValueError, match=f"{archive} holds a file without a name: '{name}'"):
            unpack(tmp_path / archive, tmp_path / "out")


def test_a_plain_tar_that_is_cut_short_loses_no_file_silently(tmp_path):
    with tarfile.open(tmp_path / "archive", "w") as made:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content) % 2000
            made.addfile(member, io.BytesIO(content[: member.size]))
        end = made.offset
    content = (tmp_path / "archive").read_bytes()
    for left in range(0, end + 1, 128):
        (tmp_path / "archive").write_bytes(content[:left])
        with pytest.raises(ValueError, match="archive is not a whole zip or tar file"):
            held(tmp_path / "archive")
    for header in range(512, end, 512):  # tarfile takes a wrong one for the end
        damaged = bytearray(content)
        damaged[header + 148 : header + 156] = b"0000000\0"
        (tmp_path / "archive").write_bytes(damaged)
        try:
            assert len(held(tmp_path / "archive")) == len(FILES)  # it was inside a file
        except ValueError as error:
            assert "its end is missing" in str(error)


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz", "zip bz2", "zip lzma", "zip deflated"])
def test_damage_of_every_compression_names_the_archive(tmp_path, compression):
    noise = hashlib.shake_128(b"noise").digest(3000)
    path = tmp_path / "archive"
    if compression.startswith("zip"):
        method = getattr(zipfile, compression.upper().replace(" ", "_").replace("BZ", "BZIP"))
        with zipfile.ZipFile(path, "w", method) as made:
            made.writestr("a", noise)
    else:
        with tarfile.open(path, f"w:{compression}") as made:
            member = tarfile.TarInfo("a")
            member.size = len(noise)
            made.addfile(member, io.BytesIO(noise))
    content = path.read_bytes()
    for place in range(0, len(content), 31):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        try:
            assert set(held(path).values()) == {noise}
        except ValueError as error:
            assert str(path) in str(error)


def test_a_folder_in_the_place_of_a_file(tmp_path):
    make_zip(tmp_path / "archive", {"a.txt": b"a"})
    (tmp_path / "out/a.txt").mkdir(parents=True)
    with pytest.raises(OSError, match=r"a\.txt"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is full")
def test_a_disk_that_is_full_while_unpacking(tmp_path, monkeypatch):
    make_zip(tmp_path / "archive", FILES)
    monkeypatch.setattr(
        "tssbn.data.real.archives.open", lambda _, mode: io.FileIO("/dev/full", mode), raising=False
    )
    with pytest.raises(OSError, match=r"No space left .*bytes are free\).*a\.txt"):
        unpack(tmp_path / "archive", tmp_path / "out")
    monkeypatch.undo()
    unpack(tmp_path / "archive", tmp_path / "out")
    assert held(tmp_path / "out") == FILES
