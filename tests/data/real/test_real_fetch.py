"""Downloads over connections that break, and archives that try to leave their folder."""

import hashlib
import io
import os
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tssbn.data.real.fetch import Remote, digest, download, members, unpack

BODY = bytes(range(256)) * 4000  # about 1 MB
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()
MD5 = "md5:" + hashlib.md5(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one file; its faults are attributes."""

    body = BODY
    tag = '"v1"'  # ETag
    drops = ()  # after so many bytes of the next answers the connection is closed
    ranges = True  # whether Range is understood
    length = True  # whether Content-Length is told
    status = ()  # instead of the next answers

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []  # the Range of every request
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"

    def handle_error(self, *_):
        """A client that hangs up is nothing to report."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if server.status:
            status, *server.status = server.status
            self.send_error(status)
            return
        start = 0
        same = self.headers.get("If-Range") in (None, server.tag)
        if wanted and server.ranges and same:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            last = len(server.body) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(server.body)}")
        else:
            self.send_response(200)
        if server.tag:
            self.send_header("ETag", server.tag)
        body = server.body[start:]
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.drops:
            kept, *server.drops = server.drops
            body = body[:kept]
        self.wfile.write(body)


@pytest.fixture
def server():
    served = Server()
    thread = threading.Thread(target=served.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def fetch(server, folder, size=None, checksum=SHA256, attempts=3):
    remote = Remote(server.url, "file.bin", size, checksum)
    return download(remote, folder, attempts=attempts, pause=0)


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("checksum", [SHA256, MD5, None], ids=["sha256", "md5", "none"])
def test_a_whole_file(server, tmp_path, checksum):
    path = fetch(server, tmp_path / "new", checksum=checksum)
    assert path.read_bytes() == BODY
    assert names(tmp_path / "new") == ["file.bin"]
    assert fetch(server, tmp_path / "new", checksum=checksum) == path
    assert server.asked == [None]  # what is there is not fetched again


@pytest.mark.parametrize("checksum", [SHA256, None], ids=["sha256", "none"])
@pytest.mark.parametrize("tag", [Server.tag, None], ids=["tag", "no tag"])
def test_a_connection_that_drops_in_mid_body(server, tmp_path, checksum, tag):
    server.drops, server.tag = [300_000, 1, 400_000], tag
    if checksum is None and tag is None:  # nothing says that the parts belong together
        server.drops = [300_000, 1]
    assert fetch(server, tmp_path, checksum=checksum).read_bytes() == BODY
    continued = ["bytes=300000-", "bytes=300001-", "bytes=700001-"]
    assert server.asked == [None, *(continued if checksum or tag else [None, None])]
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("checksum", [SHA256, None], ids=["sha256", "none"])
def test_a_later_run_goes_on_where_the_first_one_gave_up(server, tmp_path, checksum):
    server.drops = [500_000, 0, 0, 0]
    with pytest.raises(OSError, match=r"failed 3 times in a row.*500,000 bytes are kept in"):
        fetch(server, tmp_path, checksum=checksum)
    assert names(tmp_path) == ["file.bin.part", "file.bin.part.tag"]
    assert (tmp_path / "file.bin.part").read_bytes() == BODY[:500_000]
    server.asked.clear()
    assert fetch(server, tmp_path, checksum=checksum).read_bytes() == BODY
    assert server.asked == ["bytes=500000-"]
    assert names(tmp_path) == ["file.bin"]


def test_a_part_of_another_version_is_not_continued(server, tmp_path):
    server.drops = [500_000, 0, 0, 0]
    with pytest.raises(OSError):
        fetch(server, tmp_path, checksum=None)
    server.body, server.tag = BODY[::-1], '"v2"'
    assert fetch(server, tmp_path, checksum=None).read_bytes() == BODY[::-1]


def test_a_server_that_ignores_range(server, tmp_path):
    server.drops, server.ranges = [300_000], False
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert server.asked == [None, "bytes=300000-"]


def test_a_part_that_is_complete_already(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(BODY)
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert server.asked == [f"bytes={len(BODY)}-"]


def test_a_part_that_is_too_long_is_thrown_away(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(BODY + b"x")
    assert fetch(server, tmp_path).read_bytes() == BODY


def test_a_wrong_file_is_not_kept(server, tmp_path):
    server.body = b"<html>please log in</html>"
    with pytest.raises(ValueError, match=r"offers 26 bytes, expected 1,024,000"):
        fetch(server, tmp_path, size=len(BODY), checksum=None)
    assert names(tmp_path) == []
    with pytest.raises(ValueError, match=r"sent another file: sha256 \w{64}, expected \w{64}"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_file_of_the_right_size_is_not_kept(server, tmp_path):
    server.body = BODY[::-1]
    with pytest.raises(ValueError, match="sent another file"):
        fetch(server, tmp_path, size=len(BODY))
    assert names(tmp_path) == []


def test_a_wrong_file_that_lies_there_is_left_and_named(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"file\.bin lies there already, but it is not http"):
        fetch(server, tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == b"mine" and not server.asked


def test_a_file_cut_short_without_a_length(server, tmp_path):
    """HTTP/1.0 without Content-Length: the end of the connection is the end of the file."""
    server.length, server.drops = False, [1000]
    with pytest.raises(ValueError, match="sent another file"):
        fetch(server, tmp_path)
    server.drops = [1000, 2000]
    assert fetch(server, tmp_path, size=len(BODY)).read_bytes() == BODY
    (tmp_path / "file.bin").unlink()
    with pytest.raises(ValueError, match="tells no length"):
        fetch(server, tmp_path, checksum=None)
    assert names(tmp_path) == []


def test_an_address_that_does_not_exist_is_asked_once(server, tmp_path):
    server.status = [404]
    with pytest.raises(OSError, match=r"file\.bin answers 404"):
        fetch(server, tmp_path)
    assert server.asked == [None] and names(tmp_path) == []


def test_a_server_that_is_busy_is_asked_again(server, tmp_path):
    server.status = [503, 429]
    assert fetch(server, tmp_path).read_bytes() == BODY
    server.status = [500] * 3
    (tmp_path / "file.bin").unlink()
    with pytest.raises(OSError, match=r"failed 3 times in a row.*500"):
        fetch(server, tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is full")
def test_a_full_disk_is_named_with_its_space(server, tmp_path):
    (tmp_path / "file.bin.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left .*bytes are free\).*file\.bin\.part"):
        fetch(server, tmp_path)
    assert server.asked == [None]


def test_nobody_answers(tmp_path):
    server = Server()
    server.server_close()
    with pytest.raises(OSError, match="failed 2 times in a row"):
        fetch(server, tmp_path, attempts=2)


def test_digest_is_that_of_hashlib(tmp_path):
    (tmp_path / "a").write_bytes(BODY)
    assert f"sha256:{digest(tmp_path / 'a')}" == SHA256
    assert f"md5:{digest(tmp_path / 'a', 'md5')}" == MD5


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
        "tssbn.data.real.fetch.open", lambda _, mode: io.FileIO("/dev/full", mode), raising=False
    )
    with pytest.raises(OSError, match=r"No space left .*bytes are free\).*a\.txt"):
        unpack(tmp_path / "archive", tmp_path / "out")
    monkeypatch.undo()
    unpack(tmp_path / "archive", tmp_path / "out")
    assert held(tmp_path / "out") == FILES
