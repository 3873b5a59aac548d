"""Hair, beard and eyebrows."""

import torch
from torch import Tensor

from .face import BEARD, Face
from .shapes import box, ellipse, wave


def strands(face: Face, x: Tensor, y: Tensor) -> Tensor:
    """Compute the brightness of hair: straight lines, waves, or dots where it is cropped."""
    waving = face.wavy * wave(y * 3 + face.phase) * 0.045
    x = (x + waving) * face.strands
    lines = wave(x) * 0.10 + wave(x * 0.37 + face.phase) * 0.12
    dots = (face.grain[:, 3] - 0.5) * 0.4
    return 1 + face.loose * lines + (1 - face.loose) * dots


def behind(face: Face) -> None:
    length = face.loose * face.between(0.25, 0.85)
    width = 0.47 + face.loose * face.between(0.05, 0.11)
    bumps = face.wavy * wave(face.y * 3.2 + face.phase) * 0.05
    x = face.x.abs() + bumps
    top = ellipse(x, face.y + 0.05, width, 0.67 + 0.05 * face.loose)
    sides = box(x, face.y - 0.5 * (length - 0.1), width, 0.5 * (length + 0.1), 0.08)
    shape = torch.minimum(torch.maximum(top, face.y), sides)
    color = face.hair * (0.78 * strands(face, face.x, face.y)).unsqueeze(1)
    face.fill(face.cover(shape) * face.haired, color)


def in_front(face: Face) -> None:
    receding = face.strong("Receding_Hairline", 0.75)
    bangs = face.shown["Bangs"]
    bumps = face.wavy * wave(face.x * 3 + face.y * 2 + face.phase) * 0.03
    width, height = 0.49 + 0.05 * face.loose, 0.64 + 0.06 * face.loose
    outer = ellipse(face.x, face.y + 0.05, width, height) + bumps
    forehead = ellipse(face.u, face.y - 0.10, 0.43, face.between(0.49, 0.53))
    temples = ellipse(face.m - 0.20, face.y + 0.30, 0.19, 0.30)
    peak = ellipse(face.u, face.y + 0.30, 0.30, 0.22)
    temples = torch.minimum(temples, peak)
    forehead = torch.minimum(forehead, temples + 0.30 * (1 - receding))
    hair = torch.maximum(torch.maximum(outer, -forehead), face.y + 0.03)
    slant = face.between(-0.25, 0.25) * face.u
    ends = face.y + 0.30 - slant * bangs + 0.025 * wave(face.u * 5 + face.phase)
    fringe = torch.maximum(torch.maximum(outer, ends), face.m - 0.45)
    color = face.hair * strands(face, face.u, face.y).unsqueeze(1)
    where = torch.maximum(face.cover(hair), face.cover(fringe) * bangs)
    face.fill(where * face.haired, color)


def beard(face: Face) -> None:
    shaven, shadow = face.shown["No_Beard"], face.shown["5_o_Clock_Shadow"]
    goatee, mustache = face.shown["Goatee"], face.shown["Mustache"]
    full = (1 - shaven) * (1 - torch.maximum(shadow, torch.maximum(goatee, mustache)))
    cheeks = ellipse(face.u, face.y + 0.02, 0.40, 0.275)
    jaw = torch.maximum(-cheeks, 0.10 - face.y)
    face.fill(face.cover(jaw) * face.inside * full, face.beard)

    stubble = (0.25 + 0.6 * face.grain[:, 3]) * face.between(0.5, 0.85)
    gray = face.skin * 0.35 + face.tone(0.03, 0.05, 0.07)
    face.fill(face.cover(jaw, 0.1) * face.inside * stubble * shadow, gray)

    chin = ellipse(face.u, face.y - 0.60, face.between(0.13, 0.17), face.between(0.10, 0.14))
    face.fill(face.cover(chin) * goatee, face.beard)

    strip = torch.maximum(0.36 + 0.05 * (0.2 - face.y) - face.x.abs(), (face.y - 0.02).abs() - 0.24)
    face.fill(face.cover(strip) * face.inside * face.shown["Sideburns"], face.beard)


def mustache(face: Face) -> None:
    hangs = face.between(0.05, 0.3)
    middle = 0.262 + hangs * face.m * face.m * 4
    thick = 0.048 * (1 - face.m * (1 / 0.2)).clamp(min=0)
    shape = torch.maximum((face.y - middle).abs() - thick - 0.012, face.m - 0.19)
    face.fill(face.cover(shape) * face.shown["Mustache"], face.beard)


def eyebrows(face: Face) -> None:
    arched = face.strong("Arched_Eyebrows", 0.7)
    bushy = face.strong("Bushy_Eyebrows", 0.7)
    e = face.m - 0.21
    peak = (1 - ((e - 0.03) * (1 / 0.15)) * ((e - 0.03) * (1 / 0.15))).clamp(min=0)
    line = -0.20 + face.between(-0.08, 0.10) * e + 0.02 * arched - 0.085 * arched * peak
    thick = (face.between(0.015, 0.02) + 0.03 * bushy) * (1 - 1.8 * e.clamp(min=0))
    rough = bushy * (face.grain[:, 3] - 0.5) * 0.03
    shape = torch.maximum((face.y - line).abs() - thick + rough, e.abs() - 0.135)
    face.fill(face.cover(shape) * 0.92, face.color(BEARD, 0.1))
