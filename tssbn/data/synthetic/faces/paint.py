"""Paints faces: every layer a few shapes, from the background to the hat.

In a face's coordinates the middle of the head is (0, 0), the eyes are near y = -0.06 and x = ±0.2,
and the chin is near y = 0.64. Every attribute is a shift, a colour or an opacity that is multiplied
by how strongly it shows. Nothing else depends on the attributes: a face with one of them changed is
otherwise the same.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from tssbn.data.synthetic.same import sqrt

from .canvas import Canvas
from .shapes import box, disc, ellipse, segment, smooth, wave

__all__ = ["AREAS", "TRAITS", "Painter"]

TRAITS = 122  # random numbers of a face that do not depend on its attributes

# Where the attributes of a region may change a picture: boxes (left, top, right, bottom) in the
# face's coordinates, wide enough for heads that are turned to a side.
AREAS = {
    "beard": ((-0.58, -0.26, 0.58, 0.78),),
    "eyes": ((-0.58, -0.36, 0.58, 0.18),),
    "face": ((-0.62, -0.68, 0.62, 1.20),),
    "hair": (
        (-0.86, -1.00, 0.86, -0.15),
        (-0.68, -0.15, -0.25, 0.40),
        (0.25, -0.15, 0.68, 0.40),
        (-0.68, 0.40, -0.15, 0.90),
        (0.15, 0.40, 0.68, 0.90),
    ),
    "mouth": ((-0.34, 0.24, 0.34, 0.56),),
    "neck": ((-0.68, 0.08, -0.34, 0.46), (0.34, 0.08, 0.68, 0.46), (-0.38, 0.60, 0.38, 1.30)),
    "nose": ((-0.32, -0.16, 0.32, 0.28),),
}

SKIN = (
    (0.98, 0.86, 0.77),
    (0.90, 0.68, 0.52),
    (0.78, 0.55, 0.39),
    (0.60, 0.40, 0.27),
    (0.42, 0.27, 0.19),
)
PALE = (1.00, 0.94, 0.90)
HAIR = {
    "Black_Hair": (0.08, 0.07, 0.09),
    "Brown_Hair": (0.36, 0.22, 0.13),
    "Blond_Hair": (0.90, 0.76, 0.46),
    "Gray_Hair": (0.70, 0.71, 0.73),
}
RED = (0.60, 0.25, 0.12)  # hair of no other colour
BEARD = ((0.10, 0.08, 0.07), (0.30, 0.18, 0.10), (0.52, 0.37, 0.22))
IRIS = ((0.20, 0.12, 0.07), (0.35, 0.22, 0.10), (0.25, 0.42, 0.25), (0.22, 0.42, 0.62))
LIPSTICK = ((0.80, 0.06, 0.14), (0.62, 0.04, 0.28), (0.92, 0.22, 0.42))
SHADOW = ((0.30, 0.25, 0.75), (0.55, 0.20, 0.62), (0.15, 0.50, 0.55), (0.80, 0.30, 0.45))
FRAME = ((0.06, 0.06, 0.08), (0.35, 0.12, 0.08), (0.10, 0.15, 0.40))
METAL = ((1.00, 0.82, 0.25), (0.90, 0.92, 0.96))


class Painter(Canvas):
    """Paints a batch of faces.

    Args:
        size, traits, grain: as in :class:`~tssbn.data.synthetic.faces.canvas.Canvas`, with
            ``TRAITS`` traits.
        shown: attribute → (B,), from 0 (absent) to 1 (present), how strongly it shows.
    """

    def __init__(
        self, size: int, traits: Tensor, grain: Tensor, shown: Mapping[str, Tensor]
    ) -> None:
        super().__init__(size, traits, grain)
        self.shown = {name: value.view(-1, 1, 1) for name, value in shown.items()}
        self.light = self.between(-1, 1)  # from the left to the right

        skin = self.color(SKIN, 0.04)
        self.skin = skin + self.strong("Pale_Skin").unsqueeze(1) * (self.tone(*PALE) - skin)
        hair = self.tone(*RED) + sum(
            self.shown[name].unsqueeze(1) * (self.tone(*color) - self.tone(*RED))
            for name, color in HAIR.items()
        )
        self.hair = hair * self.between(0.7, 1.2).unsqueeze(1)
        self.wavy = self.shown["Wavy_Hair"]
        self.loose = torch.maximum(self.wavy, self.shown["Straight_Hair"])  # else cropped
        self.haired = 1 - self.shown["Bald"]
        self.phase, self.strands = self.between(0, 1), self.between(5, 7)
        rough = (0.85 + 0.4 * (grain[:, 3] - 0.5)).unsqueeze(1)
        self.beard = self.color(BEARD, 0.1) * rough

    def paint(self) -> Tensor:
        """The pictures, (B, 3, size, size) uint8."""
        self._background()
        self._hair_behind()
        self._ears()
        self._neck()
        self._clothes()
        self._necktie()
        self._necklace()
        self._head()
        self._cheeks()
        self._bags()
        self._makeup()
        self._eyes()
        self._nose()
        self._beard()
        self._mouth()
        self._mustache()
        self._eyebrows()
        self._hair_in_front()
        self._glasses()
        self._hat()
        self._earrings()
        return self.develop(self.light, 0.11)

    def strong(self, name: str, least: float = 0.7) -> Tensor:
        """How strongly an attribute shows in a face, which differs from face to face."""
        return self.shown[name] * self.between(least, 1)

    def _background(self) -> None:
        first, second = self.any_color(0.15, 0.95, 0.5), self.any_color(0.15, 0.95, 0.5)
        along = self.between(-2, 2) * self.x + self.between(-2, 2) * self.y
        across = self.between(-2, 2) * self.x + self.between(-2, 2) * self.y
        ring = disc(self.x - self.between(-1, 1), self.y - self.between(-1, 1), 0)
        stripes, crossed = wave(along), wave(along) * wave(across)
        rings, plain = wave(2 * ring), along * 0.4
        kind = self.between(0, 4)
        pattern = torch.where(kind < 2, torch.where(kind < 1, stripes, crossed), rings)
        pattern = torch.where(kind < 3, pattern, plain)
        mixed = (0.5 + 0.25 * pattern).clamp(0, 1).unsqueeze(1)
        self.image = first + mixed * (second - first)

    def _strands(self, x: Tensor, y: Tensor) -> Tensor:
        """Brightness of hair: lines, waving lines, or the dots of cropped hair."""
        waving = self.wavy * wave(y * 3 + self.phase) * 0.045
        x = (x + waving) * self.strands
        lines = wave(x) * 0.10 + wave(x * 0.37 + self.phase) * 0.12
        dots = (self.grain[:, 3] - 0.5) * 0.4
        return 1 + self.loose * lines + (1 - self.loose) * dots

    def _hair_behind(self) -> None:
        length = self.loose * self.between(0.25, 0.85)
        width = 0.47 + self.loose * self.between(0.05, 0.11)
        bumps = self.wavy * wave(self.y * 3.2 + self.phase) * 0.05
        x = self.x.abs() + bumps
        top = ellipse(x, self.y + 0.05, width, 0.67 + 0.05 * self.loose)
        sides = box(x, self.y - 0.5 * (length - 0.1), width, 0.5 * (length + 0.1), 0.08)
        shape = torch.minimum(torch.maximum(top, self.y), sides)
        color = self.hair * (0.78 * self._strands(self.x, self.y)).unsqueeze(1)
        self.fill(self.cover(shape) * self.haired, color)

    def _ears(self) -> None:
        x, y = self.x.abs() - 0.475, self.y - 0.02
        self.fill(self.cover(ellipse(x, y, 0.075, 0.125)), self.skin * 0.93)
        self.fill(self.cover(ellipse(x - 0.01, y, 0.035, 0.075)) * 0.6, self.skin * 0.62)

    def _neck(self) -> None:
        width = self.between(0.20, 0.25)
        shade = 0.72 + 0.22 * smooth((self.y - 0.62) * 4)
        self.fill(self.cover(box(self.x, self.y - 0.7, width, 0.5)), self.skin * shade.unsqueeze(1))

    def _clothes(self) -> None:
        color, stripe = self.any_color(0.08, 0.9), self.any_color(0.08, 0.9)
        shoulders = ellipse(self.x, self.y - 1.38, self.between(0.8, 1.0), self.between(0.58, 0.62))
        round_neck = ellipse(self.x, self.y - 0.74, 0.24, 0.13)
        v_neck = self.x.abs() * 1.2 + self.y - self.between(0.92, 1.02)
        neck = torch.where(self.between(0, 1) < 0.5, round_neck, v_neck)
        striped = (self.between(0, 1) < 0.35) * 0.35
        pattern = (striped * (0.5 + 0.5 * wave(self.y * 6))).unsqueeze(1)
        shape = torch.maximum(shoulders, -neck)
        self.fill(self.cover(shape), color + pattern * (stripe - color))

    def _necktie(self) -> None:
        shown = self.shown["Wearing_Necktie"]
        color, stripe = self.any_color(0.05, 0.75), self.any_color(0.2, 1)
        # a white collar comes with the tie
        collar = torch.maximum(
            box(self.x.abs() - 0.16, self.y - 0.80 + 0.25 * self.x.abs(), 0.15, 0.075, 0.02),
            0.66 - self.y,
        )
        self.fill(self.cover(collar) * shown, self.tone(0.96))
        knot = torch.maximum(
            self.x.abs() - 0.085 + 0.35 * (self.y - 0.77), (self.y - 0.82).abs() - 0.06
        )
        tail = torch.maximum(self.x.abs() - 0.05 - 0.25 * (self.y - 0.87), 0.86 - self.y)
        striped = (0.5 + 0.5 * wave((self.x + self.y) * 7)).unsqueeze(1)
        self.fill(self.cover(torch.minimum(knot, tail)) * shown, color + striped * (stripe - color))

    def _necklace(self) -> None:
        shown, metal = self.shown["Wearing_Necklace"], self.color(METAL)
        drop = self.between(0.81, 0.86)
        line = self.y - drop + 1.6 * self.x * self.x
        chain = torch.maximum(line.abs() - 0.026, self.x.abs() - 0.25)
        beads = 0.75 + 0.35 * wave(self.x * 11)
        self.fill(self.cover(chain - 0.012) * shown, metal * 0.25)
        self.fill(self.cover(chain) * shown, metal * beads.unsqueeze(1))
        pendant = disc(self.x, self.y - drop - 0.045, self.between(0.035, 0.06))
        self.fill(self.cover(pendant) * shown, self.any_color(0.2, 1))

    def _head(self) -> None:
        chubby, oval = self.shown["Chubby"], self.shown["Oval_Face"]
        double = self.shown["Double_Chin"]
        fold = ellipse(self.x, self.y - 0.60, 0.31 + 0.05 * chubby, 0.155)
        self.fill(self.cover(fold - 0.012) * double, self.skin * 0.5)
        self.fill(self.cover(fold + 0.012) * double, self.skin * 0.92)

        below = self.y.clamp(min=0) * (1 / 0.64)
        bulge = (4 * below * (1 - below)).clamp(min=0)
        width = 0.45 * (1 + chubby * (0.05 + 0.16 * bulge)) * (1 - (0.05 + 0.17 * oval) * below)
        x2 = self.x * self.x / (width * width)
        bottom = self.between(0.61, 0.65) + 0.05 * oval
        y = torch.where(self.y < 0, self.y * (1 / 0.60), self.y / bottom)
        y2 = y * y
        square = torch.where(self.y < 0, 0.15, 0.8 - 0.7 * oval)
        rounded = x2 + y2
        norm = rounded + square * (sqrt(x2 * x2 + y2 * y2) - rounded)
        self.head = (sqrt(norm) - 1) * 0.46
        self.inside = self.cover(self.head)

        edge = smooth(-self.head * 6)  # 0 at the outline
        lit = 0.5 + 0.5 * (self.light * self.x * 2.0).clamp(-1, 1)
        self.fill(self.cover(self.head - 0.012), self.skin * 0.55)
        self.fill(
            self.cover(self.head + 0.006),
            self.skin * (0.74 + 0.10 * lit + 0.16 * edge).unsqueeze(1),
        )
        shine = self.cover(ellipse(self.x - 0.15 * self.light, self.y + 0.42, 0.12, 0.06), 0.12)
        self.fill(shine * (0.55 * self.shown["Bald"]), 0.6 * self.skin + 0.4)

    def _cheeks(self) -> None:
        bones = self.strong("High_Cheekbones", 0.75)
        over = ellipse(self.m - 0.275, self.y - 0.085, 0.10, 0.045)
        self.fill(self.cover(over, 0.08) * (0.60 * bones) * self.inside, self.skin * 0.5 + 0.5)
        y = self.y - 0.25 + 0.55 * (self.m - 0.29)
        self.fill(
            self.cover(ellipse(self.m - 0.29, y, 0.125, 0.04), 0.06) * (0.55 * bones) * self.inside,
            self.skin * 0.5,
        )
        rosy = self.strong("Rosy_Cheeks", 0.5)
        blush = self.skin * 0.55 + self.tone(0.45, 0.05, 0.12)
        round_ = self.cover(disc(self.m - 0.25, self.y - 0.17, 0.095), 0.11)
        self.fill(round_ * (0.75 * rosy) * self.inside, blush)

    def _bags(self) -> None:
        bags = self.strong("Bags_Under_Eyes", 0.6)
        e, y = self.m - 0.205, self.y + 0.06
        swollen = torch.maximum(ellipse(e, y - 0.08, 0.115, 0.065), -ellipse(e, y, 0.14, 0.085))
        dark = self.skin * self.tone(0.62, 0.52, 0.62)
        self.fill(self.cover(swollen, 0.045) * (0.75 * bags), dark)
        fold = ellipse(e, y - 0.075, 0.115, 0.075).abs() - 0.012
        self.fill(self.cover(torch.maximum(fold, 0.09 - y)) * (0.8 * bags), dark * 0.7)

    def _makeup(self) -> None:
        made_up, color = self.strong("Heavy_Makeup", 0.75), self.color(SHADOW)
        e, y = self.m - 0.21, self.y + 0.06
        lid = torch.maximum(ellipse(e - 0.01, y + 0.02, 0.15, 0.115), y - 0.02)
        self.fill(self.cover(lid, 0.045) * (0.8 * made_up), color)
        wing = segment(e, y, (0.08, -0.01), (0.165, -0.065)) - 0.016
        self.fill(self.cover(wing) * made_up, color * 0.1)

    def _eyes(self) -> None:
        narrow = self.strong("Narrow_Eyes")
        e, y = self.m - 0.205, self.y + 0.06
        height = self.between(0.068, 0.085) * (1 - 0.5 * narrow)
        lid = ellipse(e, y + 0.012, 0.122, height + 0.016)
        self.fill(self.cover(lid), self.skin * 0.22)
        white = ellipse(e, y, 0.105, height)
        opening = self.cover(white)
        self.fill(opening, self.tone(0.96))
        side = 1 - 2 * (self.u < 0).to(self.u.dtype)
        gaze = self.u - side * 0.205 - self.between(-0.03, 0.03)
        iris = disc(gaze, y - self.between(-0.01, 0.01), 0.056)
        self.fill(self.cover(iris) * opening, self.color(IRIS, 0.15))
        self.fill(self.cover(iris + 0.028) * opening, self.tone(0.03))
        glint = disc(gaze + 0.02, y + 0.022, 0.016)
        self.fill(self.cover(glint) * opening, self.tone(1.0))

    def _nose(self) -> None:
        big = self.strong("Big_Nose", 0.75)
        pointy = self.strong("Pointy_Nose", 0.75)
        width = (self.between(0.065, 0.08) + 0.07 * big) * (1 - 0.15 * pointy)
        tip = self.between(0.13, 0.155) + 0.035 * big + 0.045 * pointy
        down = ((self.y + 0.10) / (tip + 0.10)).clamp(0, 1)  # 0 between the eyes, 1 at the tip
        bridge = 0.25 + (0.75 - 0.25 * (1 - pointy)) * down
        shade = torch.maximum(self.m - width * bridge, torch.maximum(-0.10 - self.y, self.y - tip))
        dark = 0.15 + 0.40 * (self.u * self.light < 0)
        self.fill(self.cover(shade, 0.045) * dark * (0.6 + 0.9 * pointy), self.skin * 0.65)
        bulb = ellipse(self.u, self.y - tip + 0.055, width, 0.05 + 0.02 * big)
        self.fill(self.cover(bulb, 0.045) * (0.85 * (1 - pointy)), self.skin * 1.02)
        # the lower edge: round, or two straight lines that meet in a point
        m = self.m / width
        edge = tip - 0.07 * (m * m) + pointy * (0.07 * m * m - 0.10 * m)
        line = torch.maximum((self.y - edge).abs() - 0.017, self.m - width)
        self.fill(self.cover(line) * 0.85, self.skin * 0.45)
        holes = ellipse(self.m - 0.55 * width, self.y - tip + 0.035, 0.022 + 0.012 * big, 0.016)
        self.fill(self.cover(holes) * (0.7 * (1 - pointy)), self.skin * 0.3)

    def _beard(self) -> None:
        shaven, shadow = self.shown["No_Beard"], self.shown["5_o_Clock_Shadow"]
        goatee, mustache = self.shown["Goatee"], self.shown["Mustache"]
        full = (1 - shaven) * (1 - torch.maximum(shadow, torch.maximum(goatee, mustache)))
        cheeks = ellipse(self.u, self.y + 0.02, 0.40, 0.275)
        jaw = torch.maximum(-cheeks, 0.10 - self.y)
        self.fill(self.cover(jaw) * self.inside * full, self.beard)

        stubble = (0.25 + 0.6 * self.grain[:, 3]) * self.between(0.5, 0.85)
        gray = self.skin * 0.35 + self.tone(0.03, 0.05, 0.07)
        self.fill(self.cover(jaw, 0.1) * self.inside * stubble * shadow, gray)

        chin = ellipse(self.u, self.y - 0.60, self.between(0.13, 0.17), self.between(0.10, 0.14))
        self.fill(self.cover(chin) * goatee, self.beard)

        strip = torch.maximum(
            0.36 + 0.05 * (0.2 - self.y) - self.x.abs(), (self.y - 0.02).abs() - 0.24
        )
        self.fill(self.cover(strip) * self.inside * self.shown["Sideburns"], self.beard)

    def _mouth(self) -> None:
        smiling = self.strong("Smiling", 0.7)
        opened = self.strong("Mouth_Slightly_Open", 0.7)
        big = self.strong("Big_Lips", 0.75)
        half = self.between(0.135, 0.16) + 0.055 * smiling
        m2 = (self.m / half) * (self.m / half)
        rest = self.between(-0.015, 0.025)
        middle = 0.375 + 0.02 * smiling + (rest - (0.085 + rest) * smiling) * m2
        profile = (1 - m2).clamp(min=0)
        gap = 0.042 * opened * profile
        upper = middle - gap - (self.between(0.018, 0.024) + 0.034 * big) * profile - 0.008
        lower = middle + gap + (self.between(0.026, 0.034) + 0.044 * big) * profile + 0.008
        within = self.m - half
        lips = torch.maximum(torch.maximum(upper - self.y, self.y - lower), within)
        natural = self.skin * self.tone(0.82, 0.58, 0.56)
        painted = self.color(LIPSTICK)
        lipstick = self.strong("Wearing_Lipstick", 0.6).unsqueeze(1)
        self.fill(self.cover(lips), natural + lipstick * (painted - natural))
        seam = torch.maximum((self.y - middle).abs() - gap - 0.011, within)
        self.fill(self.cover(seam) * 0.9, self.skin * 0.22)
        teeth = torch.maximum((self.y - middle + 0.3 * gap).abs() - 0.65 * gap, within + 0.02)
        self.fill(self.cover(teeth + 0.008) * opened, self.tone(0.97))

    def _mustache(self) -> None:
        hangs = self.between(0.05, 0.3)
        middle = 0.262 + hangs * self.m * self.m * 4
        thick = 0.048 * (1 - self.m * (1 / 0.2)).clamp(min=0)
        shape = torch.maximum((self.y - middle).abs() - thick - 0.012, self.m - 0.19)
        self.fill(self.cover(shape) * self.shown["Mustache"], self.beard)

    def _eyebrows(self) -> None:
        arched = self.strong("Arched_Eyebrows", 0.7)
        bushy = self.strong("Bushy_Eyebrows", 0.7)
        e = self.m - 0.21
        peak = (1 - ((e - 0.03) * (1 / 0.15)) * ((e - 0.03) * (1 / 0.15))).clamp(min=0)
        line = -0.20 + self.between(-0.08, 0.10) * e + 0.02 * arched - 0.085 * arched * peak
        thick = (self.between(0.015, 0.02) + 0.03 * bushy) * (1 - 1.8 * e.clamp(min=0))
        rough = bushy * (self.grain[:, 3] - 0.5) * 0.03
        shape = torch.maximum((self.y - line).abs() - thick + rough, e.abs() - 0.135)
        self.fill(self.cover(shape) * 0.92, self.color(BEARD, 0.1))

    def _hair_in_front(self) -> None:
        receding = self.strong("Receding_Hairline", 0.75)
        bangs = self.shown["Bangs"]
        bumps = self.wavy * wave(self.x * 3 + self.y * 2 + self.phase) * 0.03
        width, height = 0.49 + 0.05 * self.loose, 0.64 + 0.06 * self.loose
        outer = ellipse(self.x, self.y + 0.05, width, height) + bumps
        forehead = ellipse(self.u, self.y - 0.10, 0.43, self.between(0.49, 0.53))
        temples = ellipse(self.m - 0.20, self.y + 0.30, 0.19, 0.30)
        peak = ellipse(self.u, self.y + 0.30, 0.30, 0.22)
        temples = torch.minimum(temples, peak)
        forehead = torch.minimum(forehead, temples + 0.30 * (1 - receding))
        hair = torch.maximum(torch.maximum(outer, -forehead), self.y + 0.03)
        slant = self.between(-0.25, 0.25) * self.u
        ends = self.y + 0.30 - slant * bangs + 0.025 * wave(self.u * 5 + self.phase)
        fringe = torch.maximum(torch.maximum(outer, ends), self.m - 0.45)
        color = self.hair * self._strands(self.u, self.y).unsqueeze(1)
        where = torch.maximum(self.cover(hair), self.cover(fringe) * bangs)
        self.fill(where * self.haired, color)

    def _glasses(self) -> None:
        shown, color = self.shown["Eyeglasses"], self.color(FRAME, 0.1)
        e, y = self.m - 0.205, self.y + 0.05
        rounded = box(e, y, self.between(0.145, 0.165), self.between(0.11, 0.13), 0.05)
        lens = torch.where(self.between(0, 1) < 0.6, rounded, disc(e, y, 0.15))
        self.fill(self.cover(lens) * (0.15 * shown), self.tone(1.0))
        thick = self.between(0.014, 0.024)
        bridge = torch.maximum((y + 0.02).abs() - thick, self.m - 0.055)
        temple = torch.maximum((y + 0.04).abs() - thick, (self.m - 0.42).abs() - 0.06)
        frame = torch.minimum(lens.abs() - thick, torch.minimum(bridge, temple))
        self.fill(self.cover(frame) * shown, color)

    def _hat(self) -> None:
        shown = self.shown["Wearing_Hat"]
        color, band = self.any_color(0.1, 0.95), self.any_color(0.1, 0.95)
        line = self.y + self.between(0.34, 0.40)
        dome = torch.maximum(
            ellipse(self.x, line, self.between(0.52, 0.60), self.between(0.40, 0.55)), line
        )
        knit = 1 + 0.12 * wave(self.x * 8)
        self.fill(self.cover(dome) * shown, color * knit.unsqueeze(1))
        self.fill(self.cover(torch.maximum(dome, -0.12 - line)) * shown, band)
        brim = box(self.x, line + 0.01, self.between(0.56, 0.80), self.between(0.03, 0.055), 0.03)
        self.fill(self.cover(brim) * shown, color * 0.7)

    def _earrings(self) -> None:
        shown, metal = self.shown["Wearing_Earrings"], self.color(METAL)
        x, drop = self.x.abs() - 0.50, self.between(0, 1)
        pearl = disc(x, self.y - 0.20, self.between(0.045, 0.06))
        hoop = disc(x, self.y - 0.25, 0.085).abs() - 0.022
        pendant = box(x, self.y - 0.27, 0.03, 0.12, 0.02)
        shape = torch.where(drop < 0.33, pearl, torch.where(drop < 0.66, hoop, pendant))
        self.fill(self.cover(shape - 0.014) * shown, metal * 0.3)
        self.fill(self.cover(shape) * shown, metal)
