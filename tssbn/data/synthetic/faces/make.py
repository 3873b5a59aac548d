"""From a recipe and a seed to a data set of drawn faces."""

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
    """How the faces are drawn. The same seed gives the same people in every size.

    Args:
        size: side of the pictures in pixels, from 16 up.

    Raises:
        ValueError: another size.
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
    """Drawn faces with 36 binary attributes: CelebA's, without those that judge or show nowhere.

    Left out of CelebA's 40 are Attractive, Male and Young, which nobody can read off a drawing,
    and Blurry. The others have CelebA's names. Each shows in one region of the face, and only
    there: ``REGIONS`` lists the attributes of each region, the truth for any grouping of the
    tasks. The groups that labels alone suggest are different ones: attributes go together across
    regions, as in life (lipstick with earrings, smiling with high cheekbones, gray hair with bags
    under the eyes), with the probabilities of ``labels.TABLE``.

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

    The mouth, the nose and the face (its outline, skin, cheeks and chin) have no rules. Faces
    differ in much else: skin, build, pose, light, clothes, background, and in how strongly an
    attribute shows. Drawn on first use and kept in the cache (``tssbn.data.synthetic.cache``); the
    same bits on every processor (``tssbn.data.synthetic.same``).

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``: three sets of people.
        n: how many. The first of them are the same for every ``n``.
        seed: gives other people.
        recipe: the knobs.

    Returns:
        ``image``, and every attribute by its name, in the order of ``ATTRIBUTES``.

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
    """Portraits of the same people with other attributes.

    Everything that is not an attribute stays as it is in ``faces(split, n, seed, recipe)``. So two
    calls with labels that differ in one attribute show what this attribute changes.

    Args:
        labels: (N, 36) of 0 and 1, columns in the order of ``ATTRIBUTES``, for the first N people.
        split, seed, recipe: as in :func:`faces`.

    Returns:
        (N, 3, size, size) uint8, on the CPU.

    Raises:
        ValueError: labels of another shape, or that break a rule.

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
