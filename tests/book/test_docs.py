"""The examples in the docstrings run, and what is public is documented."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import tssbn

ROOT = Path(__file__).resolve().parents[2]
MODULES = ["tssbn", *(found.name for found in pkgutil.walk_packages(tssbn.__path__, "tssbn."))]
OF_TORCHJD = ("pcgrad", "gradvac", "imtl", "imtl_g", "nash_mtl", "fairgrad", "aligned_mtl")
OF_TORCHJD += ("upgrad",)
WHOLE = ("torchmetrics", "torchvision", "timm", "lightning_fabric")  # the extra "train"
NEEDS = {
    "tssbn.claims.arms": ("scipy", *WHOLE),
    "tssbn.claims.attributes": ("scipy", "sklearn"),
    "tssbn.claims.balanced": ("scipy", *WHOLE),
    "tssbn.claims.compared": ("scipy", *WHOLE),
    "tssbn.claims.celeba": ("scipy", "pandas", *WHOLE),
    "tssbn.claims.grid": ("scipy", *WHOLE),
    "tssbn.claims.ladder": ("scipy", *WHOLE),
    "tssbn.claims.sweeps": ("scipy", *WHOLE),
    "tssbn.claims.pairs": ("scipy", "pandas", *WHOLE),
    "tssbn.claims.tables": ("scipy", *WHOLE),
    **{name: ("scipy", "sklearn", *WHOLE) for name in MODULES if "claims.paper" in name},
    **dict.fromkeys(
        map("tssbn.benchmarks.{}".format, ("pascal", "pascal4", "pascal5")),
        ("scipy", "skimage", *WHOLE),
    ),
    "tssbn.clusters": ("scipy", "sklearn"),
    "tssbn.data.augment": ("torchvision",),
    "tssbn.data.synthetic.digits": ("sklearn",),
    "tssbn.data.real.files": ("PIL",),
    "tssbn.networks.bert": ("timm",),
    "tssbn.networks.blocks": ("timm",),
    "tssbn.networks.deeplab": ("timm", "torchvision"),
    "tssbn.networks.efficientnet": ("timm",),
    "tssbn.networks.pretrained": ("timm",),
    "tssbn.networks.prompted": ("timm",),
    "tssbn.networks.swin": ("timm",),
    "tssbn.networks.vit": ("timm",),
    "tssbn.networks.windows": ("timm",),
    "tssbn.peft.branches": ("timm",),
    "tssbn.plots.pruning": ("matplotlib",),
    "tssbn.plots.rates": ("matplotlib",),
    "tssbn.plots.branches": ("matplotlib",),
    "tssbn.plots.cost": ("matplotlib",),
    "tssbn.plots.experts": ("matplotlib",),
    "tssbn.plots.filters": ("matplotlib",),
    "tssbn.plots.relations": ("matplotlib", "scipy", "sklearn"),
    "tssbn.plots.balancing": ("matplotlib",),
    "tssbn.plots.palettes": ("matplotlib",),
    "tssbn.plots.scores": ("matplotlib", "pandas"),
    "tssbn.plots.ingredients": ("matplotlib",),
    "tssbn.plots.gate_rates": ("matplotlib",),
    "tssbn.plots.gains": ("matplotlib", "scipy", *WHOLE),
    "tssbn.training.balancing.probe": ("torchjd", *WHOLE),
    "tssbn.gate_plots": ("seaborn",),
    "tssbn.plots": ("matplotlib",),
    "tssbn.plots.gradients": ("matplotlib",),
    "tssbn.plots.shares": ("matplotlib", "seaborn"),
    "tssbn.plots.transformers": ("matplotlib", "pandas", "scipy", "timm"),
    "tssbn.records.networks": WHOLE,
    "tssbn.records.paper": ("pandas", *WHOLE),
    "tssbn.pruning.removal": ("torch_pruning",),
    "tssbn.pruning.ties": ("torch_pruning",),
    **dict.fromkeys(
        map("tssbn.training.balancing.{}".format, OF_TORCHJD),
        ("lightning_fabric", "torchjd", "scipy"),
    ),
    "tssbn.metrics": (),
    "tssbn.metrics.boundary": ("torchmetrics", "scipy", "skimage"),
}


def load(name):
    """The module, or a skip where what it or its examples need is not installed."""
    trainer = name.startswith(
        ("tssbn.methods", "tssbn.metrics", "tssbn.timing.", "tssbn.benchmarks", "tssbn.training.")
    )
    claims = ("scipy",) if name.startswith("tssbn.claims") else ()
    for needed in NEEDS.get(name, WHOLE if trainer else claims):
        pytest.importorskip(needed)
    return importlib.import_module(name)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = load(name)
    torch.manual_seed(0)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(module, optionflags=flags).failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_documented(name):
    module = load(name)
    for public in module.__all__ if hasattr(module, "__all__") else ():
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{public} has no docstring"


def test_every_core_function_has_an_example():
    functions = [getattr(tssbn, name) for name in tssbn.__all__]
    without = [
        function.__qualname__
        for function in functions
        if inspect.isfunction(function) and ">>>" not in (function.__doc__ or "")
    ]
    assert functions and not without


def test_the_api_page_lists_the_public_names_and_modules():
    listed = set((ROOT / "book/api.md").read_text(encoding="utf-8").split())
    assert {f"tssbn.{name}" for name in tssbn.__all__} <= listed


def test_the_messages_on_the_trouble_page_are_those_of_the_package():
    """From "Converting a model" on, the code in a bold title is a message; ... stands for names."""
    page = (ROOT / "book/trouble.md").read_text(encoding="utf-8")
    titles = re.findall(r"^\*\*(.*?)\*\*", page.split("## Converting a model")[1], re.M)
    messages = [
        part.strip()
        for title in titles
        for message in re.findall(r"`([^`]*)`", title)
        if "tssbn." not in message
        for part in message.split("...")
        if part.strip()
    ]
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tssbn").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # strings that are split over lines
    assert len(messages) > 10
    assert not [message for message in messages if message not in source]
