"""The slider and the animation in a real browser, where one is installed; nothing is online."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "book/_static"
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")


def shown(tmp_path, body, *scripts, then=""):
    """What a page holds after its scripts ran and `then` was done to it."""
    sources = "".join(f'<script src="{(STATIC / name).as_uri()}"></script>' for name in scripts)
    errors = "<script>window.onerror = (m) => document.body.append(`ERROR ${m}`)</script>"
    after = f"<script>window.addEventListener('load', () => {{ {then} }})</script>"
    page = tmp_path / "page.html"
    page.write_text(
        f"<!doctype html><meta charset='utf-8'><body>{errors}{body}{sources}{after}",
        encoding="utf-8",
    )
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=9000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
    assert "ERROR" not in found
    return found


SLIDER = '<div class="gate-slider">fallback</div>', "gate_slider.js"
TRAINING = '<div class="gate-training">f</div>', "gate_training_data.js", "gate_training.js"


def test_the_slider_starts_half_open(tmp_path):
    rows = re.findall(r"<dd>(.*?)</dd>", shown(tmp_path, *SLIDER))
    assert rows[:2] == ["0.5000 at γ = 0.0", "0.2500"]
    assert rows[2].startswith("moves the gate by 0.00063")  # 0.01 / 4 / 4
    assert rows[3] == "moves the gate by 0.0025; 0.01 takes 4 steps"


def test_a_shut_gate_moves_less_under_sgd_than_under_adam(tmp_path):
    then = """const input = document.querySelector("input");
        input.value = -4; input.dispatchEvent(new Event("input"));"""
    rows = re.findall(r"<dd>(.*?)</dd>", shown(tmp_path, *SLIDER, then=then))
    assert rows[0] == "0.0180 at γ = -4.0"
    assert rows[2] == "moves the gate by 0.0000031; 0.01 takes 3,206 steps"
    assert rows[3] == "moves the gate by 0.00018; 0.01 takes 57 steps"


def test_the_animation_begins_with_half_open_gates_and_plays_to_the_end(tmp_path):
    then = """const [input] = document.querySelectorAll("input");
        input.value = 0; input.dispatchEvent(new Event("input"));
        const at = [...document.querySelectorAll("circle")].map((dot) => dot.getAttribute("cx"));
        document.body.append(`BEGAN ${new Set(at).size}`);
        document.querySelector("button").click();"""
    page = shown(tmp_path, *TRAINING, then=then)
    assert "BEGAN 1" in page  # all gates at one place
    assert page.count("<circle") == 3 * 32
    assert "<output>step 300</output>" in page
    assert ">Play<" in page
