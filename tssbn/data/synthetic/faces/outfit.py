"""The background, clothes, and what people wear: ties, chains, glasses, hats, earrings."""

import torch

from .face import Face
from .shapes import box, disc, ellipse, wave

FRAME = ((0.06, 0.06, 0.08), (0.35, 0.12, 0.08), (0.10, 0.15, 0.40))
METAL = ((1.00, 0.82, 0.25), (0.90, 0.92, 0.96))


def background(face: Face) -> None:
    first, second = face.any_color(0.15, 0.95, 0.5), face.any_color(0.15, 0.95, 0.5)
    along = face.between(-2, 2) * face.x + face.between(-2, 2) * face.y
    across = face.between(-2, 2) * face.x + face.between(-2, 2) * face.y
    ring = disc(face.x - face.between(-1, 1), face.y - face.between(-1, 1), 0)
    stripes, crossed = wave(along), wave(along) * wave(across)
    rings, plain = wave(2 * ring), along * 0.4
    kind = face.between(0, 4)
    pattern = torch.where(kind < 2, torch.where(kind < 1, stripes, crossed), rings)
    pattern = torch.where(kind < 3, pattern, plain)
    mixed = (0.5 + 0.25 * pattern).clamp(0, 1).unsqueeze(1)
    face.image = first + mixed * (second - first)


def clothes(face: Face) -> None:
    color, stripe = face.any_color(0.08, 0.9), face.any_color(0.08, 0.9)
    shoulders = ellipse(face.x, face.y - 1.38, face.between(0.8, 1.0), face.between(0.58, 0.62))
    round_neck = ellipse(face.x, face.y - 0.74, 0.24, 0.13)
    v_neck = face.x.abs() * 1.2 + face.y - face.between(0.92, 1.02)
    neck = torch.where(face.between(0, 1) < 0.5, round_neck, v_neck)
    striped = (face.between(0, 1) < 0.35) * 0.35
    pattern = (striped * (0.5 + 0.5 * wave(face.y * 6))).unsqueeze(1)
    shape = torch.maximum(shoulders, -neck)
    face.fill(face.cover(shape), color + pattern * (stripe - color))


def necktie(face: Face) -> None:
    shown = face.shown["Wearing_Necktie"]
    color, stripe = face.any_color(0.05, 0.75), face.any_color(0.2, 1)
    # a white collar comes with the tie
    collar = torch.maximum(
        box(face.x.abs() - 0.16, face.y - 0.80 + 0.25 * face.x.abs(), 0.15, 0.075, 0.02),
        0.66 - face.y,
    )
    face.fill(face.cover(collar) * shown, face.tone(0.96))
    knot = torch.maximum(
        face.x.abs() - 0.085 + 0.35 * (face.y - 0.77), (face.y - 0.82).abs() - 0.06
    )
    tail = torch.maximum(face.x.abs() - 0.05 - 0.25 * (face.y - 0.87), 0.86 - face.y)
    striped = (0.5 + 0.5 * wave((face.x + face.y) * 7)).unsqueeze(1)
    face.fill(face.cover(torch.minimum(knot, tail)) * shown, color + striped * (stripe - color))


def necklace(face: Face) -> None:
    shown, metal = face.shown["Wearing_Necklace"], face.color(METAL)
    drop = face.between(0.81, 0.86)
    line = face.y - drop + 1.6 * face.x * face.x
    chain = torch.maximum(line.abs() - 0.026, face.x.abs() - 0.25)
    beads = 0.75 + 0.35 * wave(face.x * 11)
    face.fill(face.cover(chain - 0.012) * shown, metal * 0.25)
    face.fill(face.cover(chain) * shown, metal * beads.unsqueeze(1))
    pendant = disc(face.x, face.y - drop - 0.045, face.between(0.035, 0.06))
    face.fill(face.cover(pendant) * shown, face.any_color(0.2, 1))


def glasses(face: Face) -> None:
    shown, color = face.shown["Eyeglasses"], face.color(FRAME, 0.1)
    e, y = face.m - 0.205, face.y + 0.05
    rounded = box(e, y, face.between(0.145, 0.165), face.between(0.11, 0.13), 0.05)
    lens = torch.where(face.between(0, 1) < 0.6, rounded, disc(e, y, 0.15))
    face.fill(face.cover(lens) * (0.15 * shown), face.tone(1.0))
    thick = face.between(0.014, 0.024)
    bridge = torch.maximum((y + 0.02).abs() - thick, face.m - 0.055)
    temple = torch.maximum((y + 0.04).abs() - thick, (face.m - 0.42).abs() - 0.06)
    frame = torch.minimum(lens.abs() - thick, torch.minimum(bridge, temple))
    face.fill(face.cover(frame) * shown, color)


def hat(face: Face) -> None:
    shown = face.shown["Wearing_Hat"]
    color, band = face.any_color(0.1, 0.95), face.any_color(0.1, 0.95)
    line = face.y + face.between(0.34, 0.40)
    dome = torch.maximum(
        ellipse(face.x, line, face.between(0.52, 0.60), face.between(0.40, 0.55)), line
    )
    knit = 1 + 0.12 * wave(face.x * 8)
    face.fill(face.cover(dome) * shown, color * knit.unsqueeze(1))
    face.fill(face.cover(torch.maximum(dome, -0.12 - line)) * shown, band)
    brim = box(face.x, line + 0.01, face.between(0.56, 0.80), face.between(0.03, 0.055), 0.03)
    face.fill(face.cover(brim) * shown, color * 0.7)


def earrings(face: Face) -> None:
    shown, metal = face.shown["Wearing_Earrings"], face.color(METAL)
    x, drop = face.x.abs() - 0.50, face.between(0, 1)
    pearl = disc(x, face.y - 0.20, face.between(0.045, 0.06))
    hoop = disc(x, face.y - 0.25, 0.085).abs() - 0.022
    pendant = box(x, face.y - 0.27, 0.03, 0.12, 0.02)
    shape = torch.where(drop < 0.33, pearl, torch.where(drop < 0.66, hoop, pendant))
    face.fill(face.cover(shape - 0.014) * shown, metal * 0.3)
    face.fill(face.cover(shape) * shown, metal)
