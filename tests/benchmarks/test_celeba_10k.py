"""The first 10,000 faces of CelebA: their parts, and how the learning rate falls."""

from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("torchmetrics")

from PIL import Image

from tssbn.benchmarks import find_benchmark
from tssbn.data.real.celeba import ATTRIBUTES

PARTS = {"train": range(1, 7001), "val": range(7001, 8001), "test": range(8001, 10001)}


def name(number):
    return f"{number:06}.jpg"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Ten thousand names of one image; every other face smiles, and all are to be trained on."""
    root = tmp_path_factory.mktemp("celeba")
    for folder in ("Img/img_align_celeba", "Anno", "Eval"):
        (root / folder).mkdir(parents=True)
    picture = root / "face.jpg"
    Image.fromarray(np.full((16, 16, 3), 99, np.uint8)).save(picture)
    numbers = range(1, 10002)  # one more than counts
    for number in numbers:
        (root / "Img/img_align_celeba" / name(number)).hardlink_to(picture)
    rows = [name(n) + (" 1" if n % 2 else " -1") * len(ATTRIBUTES) for n in numbers]
    head = [str(len(rows)), " ".join(ATTRIBUTES)]
    (root / "Anno/list_attr_celeba.txt").write_text("\n".join([*head, *rows]) + "\n")
    partition = "".join(f"{name(n)} 0\n" for n in numbers)
    (root / "Eval/list_eval_partition.txt").write_text(partition)
    return root


def test_the_parts_go_by_number_and_not_by_the_partition(root):
    benchmark = find_benchmark("celeba_10k")(side=8)
    for split, numbers in PARTS.items():
        data = benchmark.data(split, root)
        assert data.names == [name(number) for number in numbers]
        assert data[0]["image"].shape == (3, 8, 8)
        assert [data[i]["Smiling"].item() for i in (0, 1)] == [1, 0]  # 1, 7001 and 8001 are odd
        assert data.official[split] == 162770  # all are of that part


def test_a_missing_face_is_named(root, tmp_path):
    (tmp_path / "Anno").symlink_to(root / "Anno")
    (tmp_path / "Eval").symlink_to(root / "Eval")
    (tmp_path / "Img/img_align_celeba").mkdir(parents=True)
    with pytest.raises(
        FileNotFoundError, match=r"007001\.jpg is missing: .* 'val', of which 1,000"
    ):
        find_benchmark("celeba_10k")().data("val", tmp_path)


def test_the_recipe_is_that_of_the_small_form_but_for_the_schedule():
    small, ten = (find_benchmark(name)().recipe for name in ("celeba_small", "celeba_10k"))
    differ = {f.name for f in fields(ten) if getattr(ten, f.name) != getattr(small, f.name)}
    assert differ == {"schedule", "interval"}
    assert ten.factor(0, 110) == 1 and ten.factor(10 * 110 - 1, 110) < 1e-5
