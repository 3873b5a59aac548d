"""Makes data sets of drawn faces."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tssbn.data.chunks import progress, side_by_side
from tssbn.data.stored import Stored
from tssbn.data.synthetic.make import SPLITS, check_integer, check_split, kept
from tssbn.data.synthetic.same import float32_on_cpu
from tssbn.data.target import Target

from .face import Face
from .labels import ATTRIBUTES, check, sample
from .paint import TRAITS, paint

__all__ = ["Faces", "draw", "faces"]

CHUNK = 2**17  # pixels painted at once: few enough for the cache of a processor


@dataclass(frozen=True)
class Faces:
    """The settings of the drawn faces. The same seed gives the same people in every size.

    Args:
        size: the side of the pictures in pixels, 16 or more.

    Raises:
        ValueError: ``size`` is no integer or is under 16.
    """

    size: int = 64

    def __post_init__(self) -> None:
        check_integer("size", self.size, 16)


def faces(
    split: str = "train",
    n: int = 4000,
    seed: int = 0,
    recipe: Faces = Faces(),
) -> Stored:
    """Draw faces with 36 binary attributes, which are those of CelebA without four.

    Attractive, Male and Young are left out, because nobody can see them in a drawing, and Blurry.
    The other attributes have their names in CelebA. Each one changes a single region of the face;
    ``REGIONS`` lists the attributes of each region. So the regions are the true groups of the
    tasks. The labels alone suggest other groups, because attributes of different regions are
    correlated, as in life: lipstick and earrings, smiling and high cheekbones, gray hair and bags
    under the eyes. ``labels.TABLE`` has the probabilities.

    ========= ====================================================================================
    region    its rules
    ========= ====================================================================================
    hair      Black, Blond, Brown and Gray exclude each other; with none of them, hair is red. So
              do Straight and Wavy; with neither, it is cropped. Bald faces have none of the six,
              and neither Bangs nor Receding_Hairline, which exclude each other. A hat leaves
              colour and waves to be seen at the sides, but the top is hidden: with Wearing_Hat
              there are no Bangs, no Receding_Hairline and nobody is Bald.
    beard     No_Beard is a shaven lip, chin and jaw: no 5_o_Clock_Shadow, Goatee or Mustache.
              With none of the four, the beard is a full one. Sideburns stand by themselves.
    eyes      Heavy_Makeup is eye shadow and eyeliner. Everything stays visible behind Eyeglasses.
    neck      Earrings, necklace and necktie; no hair hides them.
    ========= ====================================================================================

    The mouth, the nose and the face (its outline, skin, cheeks and chin) have no rules. Faces also
    differ in skin, build, pose, light, clothes, background, and in how strongly an attribute shows.
    The pictures are drawn at the first call and then read from the cache
    (``tssbn.data.synthetic.cache``). They are the same bits on every processor
    (``tssbn.data.synthetic.same``).

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``; different splits have different people.
        n: how many faces; the first ones are the same for every ``n``.
        seed: another seed gives other people.
        recipe: the settings.

    Returns:
        The data set. A sample has ``image`` (3, size, size) and each attribute under its name, in
        the order of ``ATTRIBUTES``.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> data = faces("val", n=8)
        >>> one = data[0]
        >>> one["image"].shape, one["Smiling"].item(), len(data.targets)
        (torch.Size([3, 64, 64]), 0, 36)
        >>> from tssbn.data.synthetic.faces import REGIONS
        >>> REGIONS["nose"]
        ('Big_Nose', 'Pointy_Nose')
    """
    _check(split, n, seed)

    def render() -> dict[str, Tensor]:
        labels = sample(_people(split, n, seed)[:, TRAITS:])
        columns = labels.t().contiguous()
        image = draw(labels, split, seed, recipe)
        return {"image": image, **dict(zip(ATTRIBUTES, columns, strict=True))}

    tensors = kept("faces", split, n, seed, recipe, render, Path(__file__).parent)
    return Stored(tensors, {name: Target("attribute") for name in ATTRIBUTES})


def draw(
    labels: Tensor,
    split: str = "train",
    seed: int = 0,
    recipe: Faces = Faces(),
) -> Tensor:
    """Draw the people of :func:`faces` with given attributes.

    Everything that is not an attribute is as in ``faces(split, n, seed, recipe)``. So two calls
    whose labels differ in one attribute show what this attribute changes.

    Args:
        labels: (N, 36), 0 or 1, the attributes of the first N people; the columns are in the order
            of ``ATTRIBUTES``.
        split, seed, recipe: as in :func:`faces`.

    Returns:
        The pictures, (N, 3, size, size) uint8, on the CPU.

    Raises:
        ValueError: the labels have another shape or break a rule of :func:`faces`.

    Example:
        >>> labels = torch.zeros(1, 36)
        >>> without = draw(labels)
        >>> labels[0, ATTRIBUTES.index("Eyeglasses")] = 1
        >>> (draw(labels) != without)[0].any(0).nonzero().amin(0)  # the first row and column
        tensor([23, 17])
    """
    check(labels)
    _check(split, len(labels), seed)
    size, n = recipe.size, len(labels)
    generator = _generator(split, seed, 1)

    def jobs() -> Iterator[tuple[slice, Tensor]]:
        step = max(CHUNK // size**2, 1)
        for start in progress(range(0, n, step), f"faces {split}"):
            part = slice(start, min(start + step, n))
            grain = (part.stop - start, 4, size, size)
            yield part, torch.rand(grain, generator=generator, dtype=torch.float32)

    def portraits(part: slice, grain: Tensor) -> Tensor:
        columns = dict(zip(ATTRIBUTES, shown[part].unbind(1), strict=True))
        return paint(Face(size, traits[part], grain, columns))

    with float32_on_cpu():
        traits = _people(split, n, seed)[:, :TRAITS]
        shown = labels.to(torch.float32)
        return torch.cat(list(side_by_side(portraits, jobs())))


def _people(split: str, n: int, seed: int) -> Tensor:
    """All random numbers of a face but the noise of its picture, (n, TRAITS + A)."""
    used = TRAITS + len(ATTRIBUTES)
    # A more are drawn for each face, which keeps all faces as they have always been.
    columns = used + len(ATTRIBUTES)
    people = torch.rand(n, columns, generator=_generator(split, seed, 0), dtype=torch.float32)
    return people[:, :used]


def _generator(split: str, seed: int, purpose: int) -> torch.Generator:
    return torch.Generator().manual_seed(8 * seed + 2 * SPLITS.index(split) + purpose)


def _check(split: str, n: int, seed: int) -> None:
    check_split(split)
    check_integer("n", n, 1)
    check_integer("seed", seed, 0, 2**27 - 1)
