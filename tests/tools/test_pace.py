"""The look before long runs: what it counts, and what it trains on."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import pace

from tssbn.data.real.dataset import verify

WAY = {"precision": "32", "channels_last": False, "fast_kernels": False}


@pytest.mark.parametrize("name", pace.SIZES)
def test_noise_has_all_that_the_benchmark_has(name):
    data = pace.noise(name, 3, 8, 12)
    assert len(data) == 3 and data[0]["image"].shape == (3, 8, 12)
    verify(data[1], data.targets, dict)


def test_the_clock_counts_the_steps_after_the_warm_ones(monkeypatch):
    now = iter([100.0, 101.0, 102.0, 103.5, 104.5])
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(now))
    asked = []
    clock = pace.Clock(seconds=3)
    clock.begin(None, 1, 64, 1)
    for step in range(1, pace.WARM + 3):
        clock.step(1, step, lambda: asked.append(1))
    with pytest.raises(pace.Done):
        clock.step(1, pace.WARM + 3, lambda: asked.append(1))
    assert clock.pace == pytest.approx(4.5 / 3) and len(asked) == 2


def test_the_clock_ends_with_the_epoch():
    clock = pace.Clock(seconds=1e9)
    clock.begin(None, 1, pace.WARM + 1, 1)
    for step in range(1, pace.WARM + 1):
        clock.step(1, step, dict)
    with pytest.raises(pace.Done):
        clock.step(1, pace.WARM + 1, dict)


@pytest.fixture
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(pace, "WAYS", [WAY, {**WAY, "channels_last": True}])
    monkeypatch.setattr(pace, "STEPS", pace.WARM + 2)
    small = {"filters": 4, "batch": 8}
    monkeypatch.setattr(pace, "plan", partial(pace.plan, settings=small))
    pace.on_noise.cache_clear()
    pace.multiplications.cache_clear()
    size = ("--size", "8", "8", "--device", "cpu", "--results", str(tmp_path))

    def run(*options):
        assert pace.main(["celeba", *size, *options]) == 0
        return json.loads((tmp_path / "pace/cpu.json").read_text())

    return run


def test_the_fastest_way_is_taken_for_all(quick, capsys):
    record = quick("--methods", "hps", "tsbn", "--seconds", "0.01")
    first, second, other = record["entries"]
    assert [entry["method"] for entry in record["entries"]] == ["hps", "hps", "tsbn"]
    fastest = max(first, second, key=lambda entry: entry["images_per_second"])
    assert other["channels_last"] == fastest["channels_last"]
    for entry in record["entries"]:
        rate = entry["images_per_second"]
        assert entry["minutes"] == pytest.approx(
            15 * (162770 + (19867 + 19962) / 3) / rate / 60, rel=1e-4
        )
    macs = pace.multiplications("celeba", "hps", (8, 8))
    assert first["tflops"] == pytest.approx(6e-12 * macs * first["images_per_second"], rel=1e-4)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 3 and "images/s" in out[0] and "channels last" in out[1]


def test_a_way_that_fails_is_told_and_the_look_goes_on(quick, monkeypatch, capsys):
    real = pace.train

    def fails(run, channels_last, **options):
        if channels_last:
            raise RuntimeError("no engine\nfor this")
        return real(run, channels_last=channels_last, **options)

    monkeypatch.setattr(pace, "train", fails)
    good, bad, other = quick("--methods", "hps", "stl", "--seconds", "0.01")["entries"]
    assert bad["error"] == "RuntimeError: no engine for this" and "images_per_second" not in bad
    assert good["images_per_second"] > 0 and not other["channels_last"]
    assert "RuntimeError: no engine" in capsys.readouterr().out.splitlines()[1]


def test_what_is_wrong_is_said(capsys):
    for arguments, message in {
        ("rooms",): "benchmarks are nyuv2, celeba, got rooms",
        ("celeba", "--methods", "x"): "invalid choice",
        ("celeba", "--device", "cuda"): "torch finds no GPU",
    }.items():
        if torch.cuda.is_available() and "cuda" in arguments:
            continue
        with pytest.raises(SystemExit):
            pace.main(arguments)
        assert message in capsys.readouterr().err
