"""LibMTL's published results of balancings on NYUv2, for table G.

From ``examples/nyu/results/resnet_results.pdf`` of https://github.com/median-research-group/LibMTL
(commit 4336804): the protocol of :mod:`tssbn.benchmarks.nyuv2_libmtl`, the epoch that is best on
the test images, single runs. Its MGDA, GradDrop and IMTL took the gradients of the features before
the heads, not of the shared parameters. What did not fit on its GPU is missing.
"""

from collections.abc import Mapping

from tssbn.records.scores import delta

__all__ = ["DIRECTIONS", "published", "repeated"]

METHODS = "hps", "cross-stitch", "mmoe", "mtan", "cgc", "ple", "ltb", "dselect-k"
DIRECTIONS = {"segmentation": True, "depth": False, "normal": False}  # is higher better?
#: mIoU in percent / absolute error / mean angle in degrees, in the order of the methods.
ROWS = {
    "sum": """
        54.10/.3771/23.53 53.14/.3824/23.03 53.02/.3884/22.96 54.38/.3764/22.98
        53.40/.3897/22.17 53.22/.4002/22.04 52.36/.3850/23.26 54.03/.3854/23.45""",
    "gradnorm": """
        53.57/.3853/23.32 53.70/.3790/23.12 53.09/.3946/22.93 54.01/.3838/23.25
        53.01/.3957/22.17 53.17/.3809/21.96 51.93/.3854/23.25 53.54/.3845/23.05""",
    "uw": """
        54.02/.3838/23.45 53.39/.3780/23.12 53.49/.3813/22.76 54.01/.3729/23.04
        52.78/.3832/22.35 53.13/.3767/22.27 52.19/.3886/23.32 54.34/.3796/23.17""",
    "mgda": """
        50.15/.3839/22.78 53.78/.3758/22.70 50.69/.3772/22.78 51.43/.3712/22.20
        54.34/.3799/22.09 53.55/.3985/22.07 52.85/.3849/22.97 53.88/.3874/22.25""",
    "dwa": """
        53.55/.3811/23.63 52.91/.3795/23.19 53.18/.3859/23.25 54.82/.3780/22.94
        52.35/.3992/22.09 53.06/.3850/21.97 52.25/.3865/23.39 53.59/.3849/22.51""",
    "gls": """
        54.46/.3793/22.73 53.50/.3798/22.52 53.35/.3778/22.54 55.16/.3726/22.58
        53.36/.3829/22.12 53.28/.3736/22.14 52.97/.3797/22.90 54.76/.3801/22.74""",
    "pcgrad": """
        54.03/.3814/23.62 52.71/.3824/22.97 54.24/.3832/22.58 54.63/.3810/23.48
        52.90/.3968/22.17 52.99/.3848/22.55 52.40/.3847/23.26 53.37/.3844/22.44""",
    "graddrop": "53.90/.3851/23.67 - - - - - - -",
    "imtl": """
        53.53/.3842/22.99 53.49/.3770/22.81 53.83/.3788/22.79 54.35/.3722/22.45
        52.77/.3920/22.71 53.48/.3876/21.79 52.74/.3783/22.97 53.49/.3730/22.37""",
    "gradvac": """
        53.99/.3842/23.51 53.45/.3787/23.25 52.93/.3903/22.89 53.65/.3821/23.43
        53.06/.4000/22.22 53.03/.3926/22.02 52.35/.3817/23.36 53.68/.3811/23.16""",
    "cagrad": """
        53.77/.3836/22.53 53.69/.3757/22.45 53.15/.3933/22.38 53.87/.3815/22.55
        53.61/.3952/22.18 52.76/.3923/22.12 53.25/.3711/22.65 53.34/.3886/22.61""",
    "nash-mtl": """
        53.38/.3814/22.61 53.17/.3701/22.63 53.67/.3885/22.28 54.78/.3788/22.46
        - 50.80/.3813/22.28 - 53.64/.4014/22.59""",
    "rlw": """
        54.52/.3890/23.34 53.27/.3772/22.65 53.10/.3955/22.32 55.19/.3758/22.79
        53.42/.3916/21.78 52.24/.3863/22.26 52.62/.3829/22.95 52.25/.3807/22.47""",
}
_PUBLISHED = {
    (method, balance): dict(zip(DIRECTIONS, map(float, cell.split("/")), strict=True))
    for balance, row in ROWS.items()
    for method, cell in zip(METHODS, row.split(), strict=True)
    if cell != "-"
}


def published(benchmark: str) -> Mapping[tuple[str, str], Mapping[str, float]]:
    """Give LibMTL's results on a benchmark, by method and balancing; none where it has none.

    Example:
        >>> published("nyuv2_libmtl")["hps", "uw"]
        {'segmentation': 54.02, 'depth': 0.3838, 'normal': 23.45}
        >>> published("census")
        {}
    """
    return _PUBLISHED if benchmark == "nyuv2_libmtl" else {}


#: HPS in the same protocol, means of three seeds, from the paper of DB-MTL (arXiv 2308.12029). Its
#: IMTL-G is left out: the printed numbers do not give the printed gain.
AGAIN = """
    sum 53.93/.3825/23.57 gls 54.59/.3785/22.71 rlw 54.04/.3827/23.07 uw 54.29/.3815/23.48
    dwa 54.06/.3820/23.70 imtl-l 53.89/.3834/23.54 mgda 53.52/.3852/22.74
    gradnorm 53.91/.3842/23.17 pcgrad 53.94/.3804/23.52 graddrop 53.73/.3837/23.54
    gradvac 54.21/.3859/23.58 cagrad 53.97/.3885/22.47 nash-mtl 53.41/.3867/22.57
    aligned-mtl 52.94/.3884/22.65 imtl 53.63/.3868/22.58 db-mtl 53.92/.3768/21.97"""
#: The balancings whose gradients are the same in both tables, see above.
SAME = "gls", "rlw", "uw", "dwa", "gradnorm", "pcgrad", "gradvac", "cagrad", "nash-mtl"


def repeated() -> Mapping[str, tuple[float, float]]:
    """Give Δm of HPS on NYUv2 with balancings that two papers trained in the same protocol.

    By balancing, in percent over the plain sum of the same paper: in LibMTL's single runs, and in
    the means of three runs of the paper of DB-MTL. Those alone whose gradients are the same.

    Example:
        >>> once, again = repeated()["gls"]
        >>> round(once, 2), round(again, 2)
        (1.16, 1.97)
    """
    cells = AGAIN.split()
    again = {
        balance: dict(zip(DIRECTIONS, map(float, cell.split("/")), strict=True))
        for balance, cell in zip(cells[::2], cells[1::2], strict=True)
    }
    once = {balance: _PUBLISHED["hps", balance] for balance in ("sum", *SAME)}
    return {
        balance: tuple(delta(t[balance], t["sum"], DIRECTIONS) for t in (once, again))
        for balance in SAME
    }
