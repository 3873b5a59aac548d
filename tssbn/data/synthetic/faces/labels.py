"""The attributes of the drawn faces: their regions, their shares, and their correlations."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["ATTRIBUTES", "REGIONS", "TABLE", "Odds", "check", "sample"]


@dataclass(frozen=True)
class Odds:
    """The probabilities of one attribute. Attributes are decided one after another.

    Args:
        region: the part of the picture where it shows.
        share: the share of all faces that have it.
        leans: earlier attribute → by how much its presence raises the probability of this one,
            compared with its absence, among the faces where no rule excludes this one. Its absence
            lowers the probability, so that the share stays the same.
        never_with: earlier attributes that exclude this one. No two of them occur together.
    """

    region: str
    share: float
    leans: Mapping[str, float] = field(default_factory=dict)
    never_with: tuple[str, ...] = ()


# Read from top to bottom: an attribute depends only on attributes above it. The leans follow the
# strongest correlations between attributes in CelebA's annotations, in direction and roughly in
# size; the shares are evened out, so that a few thousand faces hold enough of everything.
TABLE: dict[str, Odds] = {
    # mouth
    "Wearing_Lipstick": Odds("mouth", 0.40),
    "Smiling": Odds("mouth", 0.50),
    "Mouth_Slightly_Open": Odds("mouth", 0.45, {"Smiling": 0.3}),
    # hair; of what a hat or a bald head leaves nothing to see, that is absent
    "Wearing_Hat": Odds("hair", 0.15),
    "Bald": Odds("hair", 0.12, never_with=("Wearing_Hat",)),
    "Gray_Hair": Odds("hair", 0.19, never_with=("Bald",)),
    "Black_Hair": Odds("hair", 0.22, never_with=("Bald", "Gray_Hair")),
    "Brown_Hair": Odds("hair", 0.19, never_with=("Bald", "Gray_Hair", "Black_Hair")),
    "Blond_Hair": Odds("hair", 0.18, never_with=("Bald", "Gray_Hair", "Black_Hair", "Brown_Hair")),
    "Wavy_Hair": Odds("hair", 0.33, {"Wearing_Lipstick": 0.3}, ("Bald",)),
    "Straight_Hair": Odds("hair", 0.30, never_with=("Bald", "Wavy_Hair")),
    "Receding_Hairline": Odds("hair", 0.16, {"Gray_Hair": 0.3}, ("Bald", "Wearing_Hat")),
    "Bangs": Odds("hair", 0.25, never_with=("Bald", "Wearing_Hat", "Receding_Hairline")),
    # face
    "Chubby": Odds("face", 0.25),
    "Double_Chin": Odds("face", 0.25, {"Chubby": 0.35}),
    "Oval_Face": Odds("face", 0.40),
    "High_Cheekbones": Odds("face", 0.45, {"Smiling": 0.55}),
    "Pale_Skin": Odds("face", 0.20, {"Blond_Hair": 0.3}),
    # eyes
    "Heavy_Makeup": Odds("eyes", 0.38, {"Wearing_Lipstick": 0.55}),
    "Arched_Eyebrows": Odds("eyes", 0.40, {"Wearing_Lipstick": 0.35}),
    "Bushy_Eyebrows": Odds("eyes", 0.30, {"Black_Hair": 0.3}),
    "Narrow_Eyes": Odds("eyes", 0.30, {"Smiling": 0.25}),
    "Bags_Under_Eyes": Odds("eyes", 0.30, {"Gray_Hair": 0.35}),
    "Eyeglasses": Odds("eyes", 0.22, {"Gray_Hair": 0.25}),
    # the cheeks are painted together with the eyes
    "Rosy_Cheeks": Odds("face", 0.25, {"Heavy_Makeup": 0.35}),
    # nose
    "Big_Nose": Odds("nose", 0.35, {"Chubby": 0.35}),
    "Pointy_Nose": Odds("nose", 0.35, {"Heavy_Makeup": 0.25}),
    # mouth again
    "Big_Lips": Odds("mouth", 0.35, {"Arched_Eyebrows": 0.25}),
    # beard: No_Beard means a shaven lip, chin and jaw; with neither of the three after it, a beard
    # is a full one
    "No_Beard": Odds("beard", 0.55, {"Wearing_Lipstick": 0.4}),
    "5_o_Clock_Shadow": Odds("beard", 0.18, never_with=("No_Beard",)),
    "Goatee": Odds("beard", 0.18, {"Bald": 0.3}, ("No_Beard",)),
    "Mustache": Odds("beard", 0.20, {"Gray_Hair": 0.2}, ("No_Beard",)),
    "Sideburns": Odds("beard", 0.30, {"No_Beard": -0.3}),
    # neck, and the ears above it
    "Wearing_Earrings": Odds("neck", 0.35, {"Wearing_Lipstick": 0.45}),
    "Wearing_Necklace": Odds("neck", 0.30, {"Heavy_Makeup": 0.3}),
    "Wearing_Necktie": Odds("neck", 0.30, {"Wearing_Lipstick": -0.3, "Gray_Hair": 0.2}),
}

ATTRIBUTES = tuple(sorted(TABLE))
REGIONS = {
    region: tuple(name for name in ATTRIBUTES if TABLE[name].region == region)
    for region in ("beard", "eyes", "face", "hair", "mouth", "neck", "nose")
}


def sample(chance: Tensor) -> Tensor:
    """Decide the attributes of N faces by ``TABLE``.

    Args:
        chance: (N, A) uniform random numbers in [0, 1).

    Returns:
        (N, A) int8, 0 or 1, with the columns in the order of ``ATTRIBUTES``.
    """
    drawn: dict[str, Tensor] = {}
    for name, odds in TABLE.items():
        excluded = 0.0
        for other in odds.never_with:  # not `sum`, which rounds in another way from Python 3.12 on
            excluded += TABLE[other].share
        likely = torch.full_like(chance[:, 0], odds.share / (1 - excluded))
        for cause, lean in odds.leans.items():
            likely = likely + lean * (drawn[cause].float() - TABLE[cause].share)
        drawn[name] = chance[:, ATTRIBUTES.index(name)] < likely
        for other in odds.never_with:
            drawn[name] = drawn[name] & ~drawn[other]
    return torch.stack([drawn[name] for name in ATTRIBUTES], 1).to(torch.int8)


def check(labels: Tensor) -> None:
    """Raise a ``ValueError`` unless ``labels`` (N, A) are 0 or 1 and follow all rules."""
    if labels.ndim != 2 or labels.shape[1] != len(ATTRIBUTES):
        raise ValueError(
            f"labels must have shape (N, {len(ATTRIBUTES)}), one column for each of ATTRIBUTES, "
            f"got {tuple(labels.shape)}"
        )
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError("labels must be 0 or 1")
    for name, odds in TABLE.items():
        for other in odds.never_with:
            both = (labels[:, [ATTRIBUTES.index(name), ATTRIBUTES.index(other)]] == 1).all(1)
            if both.any():
                row = int(both.nonzero()[0])
                raise ValueError(f"no face has {name} and {other}, labels[{row}] has both")
