"""The head with ears and neck, and what is in the face."""

import torch

from tssbn.data.synthetic.same import sqrt

from .face import Face
from .shapes import box, disc, ellipse, segment, smooth

IRIS = ((0.20, 0.12, 0.07), (0.35, 0.22, 0.10), (0.25, 0.42, 0.25), (0.22, 0.42, 0.62))
LIPSTICK = ((0.80, 0.06, 0.14), (0.62, 0.04, 0.28), (0.92, 0.22, 0.42))
SHADOW = ((0.30, 0.25, 0.75), (0.55, 0.20, 0.62), (0.15, 0.50, 0.55), (0.80, 0.30, 0.45))


def ears(face: Face) -> None:
    x, y = face.x.abs() - 0.475, face.y - 0.02
    face.fill(face.cover(ellipse(x, y, 0.075, 0.125)), face.skin * 0.93)
    face.fill(face.cover(ellipse(x - 0.01, y, 0.035, 0.075)) * 0.6, face.skin * 0.62)


def neck(face: Face) -> None:
    width = face.between(0.20, 0.25)
    shade = 0.72 + 0.22 * smooth((face.y - 0.62) * 4)
    face.fill(face.cover(box(face.x, face.y - 0.7, width, 0.5)), face.skin * shade.unsqueeze(1))


def head(face: Face) -> None:
    chubby, oval = face.shown["Chubby"], face.shown["Oval_Face"]
    double = face.shown["Double_Chin"]
    fold = ellipse(face.x, face.y - 0.60, 0.31 + 0.05 * chubby, 0.155)
    face.fill(face.cover(fold - 0.012) * double, face.skin * 0.5)
    face.fill(face.cover(fold + 0.012) * double, face.skin * 0.92)

    below = face.y.clamp(min=0) * (1 / 0.64)
    bulge = (4 * below * (1 - below)).clamp(min=0)
    width = 0.45 * (1 + chubby * (0.05 + 0.16 * bulge)) * (1 - (0.05 + 0.17 * oval) * below)
    x2 = face.x * face.x / (width * width)
    bottom = face.between(0.61, 0.65) + 0.05 * oval
    y = torch.where(face.y < 0, face.y * (1 / 0.60), face.y / bottom)
    y2 = y * y
    square = torch.where(face.y < 0, 0.15, 0.8 - 0.7 * oval)
    rounded = x2 + y2
    norm = rounded + square * (sqrt(x2 * x2 + y2 * y2) - rounded)
    face.head = (sqrt(norm) - 1) * 0.46
    face.inside = face.cover(face.head)

    edge = smooth(-face.head * 6)  # 0 at the outline
    lit = 0.5 + 0.5 * (face.light * face.x * 2.0).clamp(-1, 1)
    face.fill(face.cover(face.head - 0.012), face.skin * 0.55)
    face.fill(
        face.cover(face.head + 0.006),
        face.skin * (0.74 + 0.10 * lit + 0.16 * edge).unsqueeze(1),
    )
    shine = face.cover(ellipse(face.x - 0.15 * face.light, face.y + 0.42, 0.12, 0.06), 0.12)
    face.fill(shine * (0.55 * face.shown["Bald"]), 0.6 * face.skin + 0.4)


def cheeks(face: Face) -> None:
    bones = face.strong("High_Cheekbones", 0.75)
    over = ellipse(face.m - 0.275, face.y - 0.085, 0.10, 0.045)
    face.fill(face.cover(over, 0.08) * (0.60 * bones) * face.inside, face.skin * 0.5 + 0.5)
    y = face.y - 0.25 + 0.55 * (face.m - 0.29)
    face.fill(
        face.cover(ellipse(face.m - 0.29, y, 0.125, 0.04), 0.06) * (0.55 * bones) * face.inside,
        face.skin * 0.5,
    )
    rosy = face.strong("Rosy_Cheeks", 0.5)
    blush = face.skin * 0.55 + face.tone(0.45, 0.05, 0.12)
    round_ = face.cover(disc(face.m - 0.25, face.y - 0.17, 0.095), 0.11)
    face.fill(round_ * (0.75 * rosy) * face.inside, blush)


def bags(face: Face) -> None:
    bags = face.strong("Bags_Under_Eyes", 0.6)
    e, y = face.m - 0.205, face.y + 0.06
    swollen = torch.maximum(ellipse(e, y - 0.08, 0.115, 0.065), -ellipse(e, y, 0.14, 0.085))
    dark = face.skin * face.tone(0.62, 0.52, 0.62)
    face.fill(face.cover(swollen, 0.045) * (0.75 * bags), dark)
    fold = ellipse(e, y - 0.075, 0.115, 0.075).abs() - 0.012
    face.fill(face.cover(torch.maximum(fold, 0.09 - y)) * (0.8 * bags), dark * 0.7)


def makeup(face: Face) -> None:
    made_up, color = face.strong("Heavy_Makeup", 0.75), face.color(SHADOW)
    e, y = face.m - 0.21, face.y + 0.06
    lid = torch.maximum(ellipse(e - 0.01, y + 0.02, 0.15, 0.115), y - 0.02)
    face.fill(face.cover(lid, 0.045) * (0.8 * made_up), color)
    wing = segment(e, y, (0.08, -0.01), (0.165, -0.065)) - 0.016
    face.fill(face.cover(wing) * made_up, color * 0.1)


def eyes(face: Face) -> None:
    narrow = face.strong("Narrow_Eyes")
    e, y = face.m - 0.205, face.y + 0.06
    height = face.between(0.068, 0.085) * (1 - 0.5 * narrow)
    lid = ellipse(e, y + 0.012, 0.122, height + 0.016)
    face.fill(face.cover(lid), face.skin * 0.22)
    white = ellipse(e, y, 0.105, height)
    opening = face.cover(white)
    face.fill(opening, face.tone(0.96))
    side = 1 - 2 * (face.u < 0).to(face.u.dtype)
    gaze = face.u - side * 0.205 - face.between(-0.03, 0.03)
    iris = disc(gaze, y - face.between(-0.01, 0.01), 0.056)
    face.fill(face.cover(iris) * opening, face.color(IRIS, 0.15))
    face.fill(face.cover(iris + 0.028) * opening, face.tone(0.03))
    glint = disc(gaze + 0.02, y + 0.022, 0.016)
    face.fill(face.cover(glint) * opening, face.tone(1.0))


def nose(face: Face) -> None:
    big = face.strong("Big_Nose", 0.75)
    pointy = face.strong("Pointy_Nose", 0.75)
    width = (face.between(0.065, 0.08) + 0.07 * big) * (1 - 0.15 * pointy)
    tip = face.between(0.13, 0.155) + 0.035 * big + 0.045 * pointy
    down = ((face.y + 0.10) / (tip + 0.10)).clamp(0, 1)  # 0 between the eyes, 1 at the tip
    bridge = 0.25 + (0.75 - 0.25 * (1 - pointy)) * down
    shade = torch.maximum(face.m - width * bridge, torch.maximum(-0.10 - face.y, face.y - tip))
    dark = 0.15 + 0.40 * (face.u * face.light < 0)
    face.fill(face.cover(shade, 0.045) * dark * (0.6 + 0.9 * pointy), face.skin * 0.65)
    bulb = ellipse(face.u, face.y - tip + 0.055, width, 0.05 + 0.02 * big)
    face.fill(face.cover(bulb, 0.045) * (0.85 * (1 - pointy)), face.skin * 1.02)
    # the lower edge: round, or two straight lines that meet in a point
    m = face.m / width
    edge = tip - 0.07 * (m * m) + pointy * (0.07 * m * m - 0.10 * m)
    line = torch.maximum((face.y - edge).abs() - 0.017, face.m - width)
    face.fill(face.cover(line) * 0.85, face.skin * 0.45)
    holes = ellipse(face.m - 0.55 * width, face.y - tip + 0.035, 0.022 + 0.012 * big, 0.016)
    face.fill(face.cover(holes) * (0.7 * (1 - pointy)), face.skin * 0.3)


def mouth(face: Face) -> None:
    smiling = face.strong("Smiling", 0.7)
    opened = face.strong("Mouth_Slightly_Open", 0.7)
    big = face.strong("Big_Lips", 0.75)
    half = face.between(0.135, 0.16) + 0.055 * smiling
    m2 = (face.m / half) * (face.m / half)
    rest = face.between(-0.015, 0.025)
    middle = 0.375 + 0.02 * smiling + (rest - (0.085 + rest) * smiling) * m2
    profile = (1 - m2).clamp(min=0)
    gap = 0.042 * opened * profile
    upper = middle - gap - (face.between(0.018, 0.024) + 0.034 * big) * profile - 0.008
    lower = middle + gap + (face.between(0.026, 0.034) + 0.044 * big) * profile + 0.008
    within = face.m - half
    lips = torch.maximum(torch.maximum(upper - face.y, face.y - lower), within)
    natural = face.skin * face.tone(0.82, 0.58, 0.56)
    painted = face.color(LIPSTICK)
    lipstick = face.strong("Wearing_Lipstick", 0.6).unsqueeze(1)
    face.fill(face.cover(lips), natural + lipstick * (painted - natural))
    seam = torch.maximum((face.y - middle).abs() - gap - 0.011, within)
    face.fill(face.cover(seam) * 0.9, face.skin * 0.22)
    teeth = torch.maximum((face.y - middle + 0.3 * gap).abs() - 0.65 * gap, within + 0.02)
    face.fill(face.cover(teeth + 0.008) * opened, face.tone(0.97))
