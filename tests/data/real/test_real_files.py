"""Files of data sets: what is broken is named, nothing is half written, and folders are found."""

import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tssbn.data.real import files
from tssbn.data.real.find import find


class Payload:
    """Unpickling this would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "float16", "float64", ">f4", "bool"])
def test_an_array_comes_back(tmp_path, dtype):
    value = (np.arange(6).reshape(2, 3) % 2).astype(dtype)
    np.save(tmp_path / "0.npy", value)
    found = files.array(tmp_path / "0.npy", None, 3)
    assert found.dtype == value.dtype and np.array_equal(found, value)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((None, 4), r"\(any, 4\)"), ((2,), r"\(2\)"), ((1, None), r"\(1, any\)")],
)
def test_an_array_of_another_shape(tmp_path, shape, expected):
    np.save(tmp_path / "0.npy", np.zeros((2, 3)))
    with pytest.raises(ValueError, match=rf"0\.npy has shape \(2, 3\), expected {expected}"):
        files.array(tmp_path / "0.npy", *shape)


def test_python_objects_are_refused_unopened(tmp_path):
    path, trap = tmp_path / "0.npy", tmp_path / "sprung"
    np.save(path, np.array([Payload(trap)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"0\.npy is not a whole \.npy file of numbers"):
        files.array(path)
    path.write_bytes(pickle.dumps(Payload(trap)))
    with pytest.raises(ValueError, match=r"0\.npy is not a whole \.npy file of numbers"):
        files.array(path)
    assert not trap.exists()


@pytest.mark.parametrize("left", [0, 5, 100, 128 + 40, -1])
def test_an_array_that_is_cut_short(tmp_path, left):
    path = tmp_path / "0.npy"
    np.save(path, np.zeros((4, 4)))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match=r"0\.npy is not a whole \.npy file of numbers"):
        files.array(path)


def test_what_is_no_array_of_numbers(tmp_path):
    np.savez(tmp_path / "0.npz", a=np.zeros(2))
    with pytest.raises(ValueError, match=r"0\.npz is an archive, expected one array"):
        files.array(tmp_path / "0.npz")
    np.save(tmp_path / "0.npy", np.array(["text"]))
    with pytest.raises(ValueError, match=r"0\.npy holds <U4 values, expected numbers"):
        files.array(tmp_path / "0.npy")
    with pytest.raises(FileNotFoundError, match=r"1\.npy"):
        files.array(tmp_path / "1.npy")


def test_images_come_back_as_stored_or_converted(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(files.image(tmp_path / "grey.png"), grey)
    assert np.array_equal(files.image(tmp_path / "grey.png", "RGB"), np.stack([grey] * 3, -1))

    deep = (grey.astype(np.uint16) + 1) * 5000
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(files.image(tmp_path / "deep.png"), deep)

    indexed = Image.fromarray(grey, "L").convert("P")
    indexed.putpalette([5] * 768)
    indexed.putdata(grey.ravel().tolist())
    indexed.save(tmp_path / "indexed.png")
    assert np.array_equal(files.image(tmp_path / "indexed.png"), grey)

    halves = np.repeat(np.uint8([[0, 200]]), 4, 0).repeat(4, 1)  # (4, 8), left 0, right 200
    Image.fromarray(halves).save(tmp_path / "halves.png")
    small = files.image(tmp_path / "halves.png", "RGB", (2, 4))
    assert small.shape == (2, 4, 3)
    assert small[0, 0, 0] == 0 and small[0, 3, 0] == 200  # (height, width), not the other way


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("left", [0, 10, -40])
def test_an_image_that_is_cut_short(tmp_path, suffix, left):
    Image = pytest.importorskip("PIL.Image")
    path = tmp_path / f"0.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match=rf"0\.{suffix} is not a whole image file"):
        files.image(path)
    with pytest.raises(FileNotFoundError, match=r"1\.png"):
        files.image(tmp_path / "1.png")


def test_an_image_of_too_many_pixels_and_a_folder_in_its_place(tmp_path, monkeypatch):
    Image = pytest.importorskip("PIL.Image")
    path = tmp_path / "0.png"
    Image.new("L", (40, 40)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"0\.png is not a whole image file: .*1600 pixels"):
        files.image(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"0\.png is not a whole image file: .*directory"):
        files.image(path)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_an_array_whose_header_is_damaged_anywhere(tmp_path):
    path, random = tmp_path / "0.npy", np.random.default_rng(0)
    np.save(path, np.zeros((4, 4)))
    content = path.read_bytes()
    for place in range(128):
        for value in random.integers(0, 256, 3):
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                files.array(path)
            except ValueError as error:
                assert str(path) in str(error)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a 0\nb 1\n", ["a 0", "b 1"]),
        (b"a 0\r\nb 1\r\n", ["a 0", "b 1"]),
        (b"a 0\rb 1", ["a 0", "b 1"]),
        (b"\xef\xbb\xbfa 0 \n\nb 1  \n \n\n", ["a 0 ", "", "b 1"]),
        ("\xe4\u2028\x0c 0".encode(), ["\xe4\u2028\x0c 0"]),  # no ends of lines
        (b"", []),
        (b"\xef\xbb\xbf\n\n", []),
    ],
)
def test_the_lines_of_a_list(tmp_path, content, expected):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    assert files.lines(path) == files.lines(Path("elsewhere"), content) == expected


def test_a_list_that_is_no_text(tmp_path):
    for content in ("a 0\n".encode("utf-16"), b"\xff\xfe", b"caf\xe9 0"):
        (tmp_path / "list.txt").write_bytes(content)
        with pytest.raises(ValueError, match=r"list\.txt is not a text file in UTF-8"):
            files.lines(tmp_path / "list.txt")
    with pytest.raises(FileNotFoundError, match=r"other\.txt"):
        files.lines(tmp_path / "other.txt")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, False) for name in ("0.png", "a.b/0.png", "Thumbs.png", "MACOSX/0.png")),
        *((name, True) for name in ("._0.png", "a/._0.png", ".DS_Store", "a/.git/0.png")),
        *((name, True) for name in ("Thumbs.db", "a/thumbs.DB", "Desktop.ini", "__MACOSX/a/0.png")),
    ],
)
def test_what_systems_leave(name, expected):
    assert files.hidden(Path(name)) is expected


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_numbers_without_a_gap(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    touch(
        a, *(f"{i}.npy" for i in range(12)), "notes.txt", "00.npy", "x.npy", "7.png", ".0.part.npy"
    )
    touch(a, "._0.npy", "._12.npy", ".DS_Store", "Thumbs.db")
    touch(b, *(f"{i}.npy" for i in range(12)))
    assert files.numbered([a, b], ".npy") == 12

    (b / "3.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"b.3\.npy is missing: the numbers go up to 11"):
        files.numbered([a, b], ".npy")
    (b / "3.npy").touch()
    (b / "12.npy").touch()
    with pytest.raises(FileNotFoundError, match=r"a.12\.npy is missing"):
        files.numbered([a, b], ".npy")
    with pytest.raises(FileNotFoundError, match=r"no folder .*c, expected files 0\.npy"):
        files.numbered([a, tmp_path / "c"], ".npy")
    touch(tmp_path / "c", "x.npy")
    with pytest.raises(FileNotFoundError, match=r"c holds no file 0\.npy"):
        files.numbered([tmp_path / "c"], ".npy")


def test_a_file_gets_its_name_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "0.npy"
    with pytest.raises(KeyboardInterrupt), files.whole(path) as part:
        part.write_bytes(b"half")
        assert part.suffix == ".npy" and not path.exists()
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    with files.whole(path) as part:
        part.write_bytes(b"all")
    assert path.read_bytes() == b"all" and list(path.parent.iterdir()) == [path]


WRITERS = {
    "bytes": lambda path: path.write_bytes(bytes(100_000)),
    "array": lambda path: np.save(path, np.zeros(100_000)),
    "image": lambda path: __import__("PIL.Image").Image.new("L", (999, 999)).save(path, "TIFF"),
}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is full")
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_named_with_its_space(tmp_path, name):
    if name == "image":
        pytest.importorskip("PIL")
    path = tmp_path / "0.npy"
    free = pytest.raises(OSError, match=r"[\d,]+ bytes are free\).*0\.npy")
    with free as raised, files.whole(path) as part:
        os.symlink("/dev/full", part)
        WRITERS[name](part)
    assert type(raised.value) is OSError and raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_writing_stay_as_they_are(tmp_path):
    for error in (PermissionError(errno.EACCES, "no", "a"), OSError(errno.EIO, "io"), ValueError()):
        with pytest.raises(type(error)) as raised, files.writing(tmp_path / "0.bin"):
            raise error
        assert raised.value is error


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The working folder is ``book``; ``data`` beside and in it, and another one."""
    (tmp_path / "book").mkdir()
    monkeypatch.chdir(tmp_path / "book")
    monkeypatch.delenv("TSSBN_DATA", raising=False)
    return tmp_path


def test_where_data_is_found(places, monkeypatch):
    assert find("nyuv2") is None
    (places / "data/nyuv2").mkdir(parents=True)
    assert find("nyuv2").resolve() == places / "data/nyuv2"
    (places / "book/data/nyuv2").mkdir(parents=True)
    assert find("nyuv2").resolve() == places / "book/data/nyuv2"

    (places / "disk").mkdir()
    monkeypatch.setenv("TSSBN_DATA", str(places / "disk"))
    assert find("nyuv2").resolve() == places / "book/data/nyuv2"
    (places / "disk/nyuv2").mkdir()
    assert find("nyuv2") == places / "disk/nyuv2"
    assert find("celeba") is None


def test_a_misspelt_folder_is_not_passed_over(places, monkeypatch):
    (places / "data/nyuv2").mkdir(parents=True)
    monkeypatch.setenv("TSSBN_DATA", str(places / "dsik"))
    with pytest.raises(FileNotFoundError, match=r"TSSBN_DATA='.*dsik' is not a folder"):
        find("nyuv2")
