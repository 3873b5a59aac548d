"""F of boundaries at the best threshold for the whole data set (odsF), without MATLAB."""

import math
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow
from scipy.spatial import cKDTree
from skimage.morphology import thin
from torch import Tensor

from tssbn.metrics.binary import BinaryMap, Inputs

__all__ = ["Boundary", "matches"]


class Boundary(BinaryMap):
    """F of predicted boundaries at the threshold that is best for the whole data set (odsF).

    At each threshold, the pixels with at least that probability are thinned to lines. As many of
    them as possible are matched one to one with pixels of the target, at a distance of at most
    ``tolerance`` times the diagonal of the image. With the numbers of matched, predicted and true
    pixels, M, P and T, summed over the data set,

        F = 2 · (M/P) · (M/T) / (M/P + M/T) = 2M / (P + T),

    and the largest F counts. The measure is that of the Berkeley benchmark (Martin, Fowlkes and
    Malik, 2004).

    **This is not SEISM**, the MATLAB code behind the published numbers for PASCAL-Context. SEISM
    first suppresses non-maxima, also minimises the distances of the matched pixels, and
    interpolates between thresholds. Here the targets are thinned as well, so that a perfect
    prediction has F = 1 whatever the width of the lines. Compare only numbers of the same code.

    Rows and columns of void at the sides of an image are padding. They are cut off, and the
    diagonal is that of the rest. The work is done on the CPU, with one matching for each threshold:
    with 99 thresholds it takes about 3 seconds for an image of PASCAL and 0.3 seconds for one of
    96 x 128 pixels. Fewer thresholds are faster, and can miss the best one.

    Args:
        inputs: what the predictions are, ``"logits"`` or ``"probabilities"``.
        tolerance: largest distance as a fraction of the diagonal; 0.0075 is usual for
            PASCAL-Context, 0.011 for NYUv2.
        thresholds: their number; they are k / (thresholds + 1) for k = 1, 2, ...

    Shape:
        - prediction: (B, 2, H, W), or (B, 1, H, W) or (B, H, W) for the boundary class
        - target: (B, H, W) int64, 1 for boundary, -1 for void

    Returns of ``compute()``: ``"ods_f"``, NaN if no target has a boundary.

    Raises:
        ValueError: shapes, types or values differ from these.

    Example:
        >>> target = torch.zeros(1, 40, 40, dtype=torch.int64)
        >>> target[:, 20] = 1
        >>> off_by_two = target.roll(2, dims=1).float()
        >>> near = Boundary(inputs="probabilities", tolerance=0.05)  # 0.05 · 56.6 is 2.8 pixels
        >>> near.update(off_by_two, target)
        >>> far = Boundary(inputs="probabilities", tolerance=0.02)
        >>> far.update(off_by_two, target)
        >>> near.compute(), far.compute()
        ({'ods_f': 1.0}, {'ods_f': 0.0})
    """

    directions: ClassVar = {"ods_f": True}
    unit = "%"
    matched: Tensor
    predicted: Tensor
    true: Tensor

    def __init__(self, inputs: Inputs, tolerance: float = 0.0075, thresholds: int = 99) -> None:
        super().__init__(inputs)
        if not 0 <= tolerance < 1:
            raise self._error(f"tolerance must be a fraction of the diagonal, got {tolerance}")
        if thresholds < 1:
            raise self._error(f"thresholds must be at least 1, got {thresholds}")
        self.tolerance = tolerance
        self.thresholds = torch.arange(1, thresholds + 1, dtype=torch.float64) / (thresholds + 1)
        self.add_state("matched", torch.zeros(thresholds, dtype=torch.int64), "sum")
        self.add_state("predicted", torch.zeros(thresholds, dtype=torch.int64), "sum")
        self.add_state("true", torch.zeros((), dtype=torch.int64), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        probability, counted = self._probability(prediction, target)
        thresholds = self._as_given(self.thresholds, prediction).tolist()
        for strength, label, part in zip(probability, target, counted, strict=True):
            if not part.any():
                continue
            box = tuple(slice(side.min(), side.max() + 1) for side in part.nonzero().cpu().T)
            strength, line = strength[box].cpu().numpy(), thin((label[box] == 1).cpu().numpy())
            distance = self.tolerance * float(np.hypot(*line.shape))
            counts, above = [], -1
            for threshold in thresholds:
                mask = strength >= threshold
                if mask.sum() != above:  # masks only shrink: as many pixels are the same ones
                    above, lines = mask.sum(), thin(mask)
                    found = matches(lines, line, distance), int(lines.sum())
                counts.append(found)
            matched, predicted = torch.tensor(counts, device=self.device).unbind(1)
            self.matched += matched
            self.predicted += predicted
            self.true += int(line.sum())

    def compute(self) -> dict[str, float]:
        f = 2 * self.matched.double() / (self.predicted + self.true)
        return {"ods_f": f.max().where(self.true > 0, math.nan).item()}


def matches(predicted: np.ndarray, true: np.ndarray, distance: float) -> int:
    """Count the pixels of two maps that can be paired one to one within a distance.

    This is a maximum matching in the graph of all close pixels. It is computed as a maximum flow
    from a source through predicted and true pixels to a sink, with capacities of 1. SciPy's
    matching finds as many pairs, but may take minutes where nearly all pixels can be paired.

    Args:
        predicted: bool, (H, W).
        true: bool, (H, W).
        distance: the largest distance of a pair, in pixels.

    Example:
        >>> matches(np.array([[1, 1, 0, 0, 1]], bool), np.array([[0, 1, 1, 0, 0]], bool), 1)
        2
    """
    first, second = np.argwhere(predicted), np.argwhere(true)
    if not len(first) or not len(second):
        return 0
    close = cKDTree(first).sparse_distance_matrix(cKDTree(second), distance, output_type="ndarray")
    n, m = len(first), len(second)
    source, sink = n + m, n + m + 1
    start = np.concatenate([np.full(n, source), close["i"], n + np.arange(m)])
    end = np.concatenate([np.arange(n), n + close["j"], np.full(m, sink)])
    graph = csr_matrix((np.ones(len(start), np.int32), (start, end)), (n + m + 2, n + m + 2))
    return int(maximum_flow(graph, source, sink).flow_value)
