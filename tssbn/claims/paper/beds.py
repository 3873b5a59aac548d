"""The beds that the paper's claims are asked of: all arms of each benchmark that may have runs."""

from __future__ import annotations

from tssbn.claims.arms import all_arms
from tssbn.claims.evidence import BedOfRuns
from tssbn.gates import Importance

__all__ = [
    "ASKED",
    "CELEBA",
    "CELEBA_10K",
    "CENSUS",
    "DIGITS",
    "FACES",
    "FROZEN",
    "LITE",
    "LONG",
    "ROOMS",
    "SHORT",
    "TUNED",
    "nets",
]

NO_MTAN = {"without": ["MTAN"]}  # which needs a SegNet

#: The settings of the runs on ``nyuv2_lite``, whose protocol has 20 epochs at 144x192.
SMALL = {"height": 96, "width": 128}
SHORT = {"epochs": 5, **SMALL}

ROOMS = all_arms("synthetic rooms", "rooms", stages=7, **NO_MTAN)
CENSUS = all_arms("Census-Income", "census", stages=3, **NO_MTAN)
LITE = all_arms("NYUv2, 96x128 (not equally tuned)", "nyuv2_lite", stages=8, **NO_MTAN, **SHORT)
LONG = all_arms("NYUv2, 96x128, 20 epochs (not equally tuned)", "nyuv2_lite", **NO_MTAN, **SMALL)
FROZEN = all_arms(
    "NYUv2, 96x128, frozen filters (not equally tuned)", "nyuv2_lite", frozen=True, **SHORT
)
TUNED = all_arms(
    "NYUv2, 96x128, tuned rates", "nyuv2_lite", multiplier=25, lr=0.004, **NO_MTAN, **SHORT
)
CELEBA_10K = all_arms("CelebA, 10,000 faces (not equally tuned)", "celeba_10k", stages=5)
CELEBA = all_arms("CelebA subset (not equally tuned)", "celeba_small", stages=5)
FACES = all_arms("synthetic faces (not equally tuned)", "faces", stages=5, multiplier=10)
DIGITS = BedOfRuns(
    "two digits, ViT",
    "digits",
    {
        "STL": ("stl", {}),
        "HPS": ("hps", {}),
        "M³ViT": ("m3vit", {}),
        "Mod-Squad": ("mod-squad", {}),
        "TaskExpert": ("taskexpert", {}),
        "MLoRE": ("mlore", {}),
        "TSBN": ("tsbn", {}),
        "TSσBN": ("tssbn", {}),
        "shared gates": ("shared-gates", {}),
    },
)

#: Those that are asked the five questions.
ASKED = ROOMS, CENSUS, CELEBA_10K, CELEBA, LITE


def nets(bed: BedOfRuns, arm: str = "TSσBN") -> list[Importance]:
    """Give the gates of each run of an arm."""
    return [run.gates() for run in bed.runs[arm] if run.gate_epochs]
