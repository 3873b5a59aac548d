"""Files in the exact layout of PASCAL_MT, and a small set of them."""

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("scipy")
pytest.importorskip("skimage")

from PIL import Image
from scipy.io import savemat

PERSON, DOG = 15, 12


def struct(names, rows):
    """A 1 x N struct array, as MATLAB stores it."""
    array = np.zeros((1, len(rows)), [(name, object) for name in names])
    for k, row in enumerate(rows):
        for name, value in zip(names, row, strict=True):
            array[0, k][name] = value
    return array


def annotation(things, size):
    """anno.objects.parts of PASCAL-Part: things are (class, [(part's name, mask), ...])."""
    objects = [
        (
            {PERSON: "person", DOG: "dog"}[kind],
            kind,
            np.ones(size, np.uint8),
            struct(("part_name", "mask"), parts) if parts else np.zeros((0, 0)),
        )
        for kind, parts in things
    ]
    return struct(
        ("imname", "objects"),
        [("x", struct(("class", "class_ind", "mask", "parts"), objects))],
    )


def mask(size, rows, columns):
    value = np.zeros(size, np.uint8)
    value[rows, columns] = 1
    return value


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mat":
        savemat(path, value)
    elif path.parent.name == "VOC12":  # these are palette images
        picture = Image.fromarray(value).convert("P")
        picture.putdata(value.ravel().tolist())
        picture.save(path)
    else:
        Image.fromarray(value).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def write(root, sizes):
    """A set of images of these sizes, by split: noise, and labels in blocks of 3x3 pixels.

    Of every second image the only person is cut in two parts; the others show nobody.
    """
    for split, all_sizes in sizes.items():
        ids = [f"{split}_{i:06}" for i in range(len(all_sizes))]
        lists = root / f"ImageSets/Context/{split}.txt"
        lists.parent.mkdir(parents=True, exist_ok=True)
        lists.write_text("".join(f"{name}\n" for name in ids))
        for i, (name, size) in enumerate(zip(ids, all_sizes, strict=True)):
            draw = np.random.default_rng([i, len(split)])
            normal = draw.normal(size=(*size, 3))
            normal /= np.linalg.norm(normal, axis=2, keepdims=True)
            top, rest = slice(None, size[0] // 2), slice(size[0] // 2, None)
            body = [
                ("head", mask(size, top, slice(None))),
                ("torso", mask(size, rest, slice(5))),
            ]
            people = [(PERSON, body)] if i % 2 == 0 else [(DOG, body)]
            save(root / f"JPEGImages/{name}.jpg", draw.integers(0, 256, (*size, 3), np.uint8))
            save(root / f"semseg/VOC12/{name}.png", blocks(draw, size, [*range(21), 255]))
            save(root / f"sal_distill/{name}.png", blocks(draw, size, [0, 0, 255]))
            save(root / f"normals_distill/{name}.png", np.uint8(np.round((normal + 1) * 127.5)))
            context = blocks(draw, size, [3, 4, 99]).astype(np.uint16)
            save(root / f"pascal-context/trainval/{name}.mat", {"LabelMap": context})
            save(root / f"human_parts/{name}.mat", {"anno": annotation(people, size)})


def blocks(draw, size, values):
    """One of the values for each block of 3x3 pixels."""
    coarse = draw.choice(values, size=(size[0] // 3 + 1, size[1] // 3 + 1))
    return coarse.repeat(3, 0).repeat(3, 1)[: size[0], : size[1]].astype(np.uint8)
