"""Downloads over connections that break."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tssbn.data.real.fetch import Remote, digest, download

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
    with pytest.raises(ValueError, match="gives no length"):
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
