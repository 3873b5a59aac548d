"""Every metric with data for it: what the tests of their common properties take."""

import torch
from settings import DEVICE

from tssbn.metrics.attributes import Attributes
from tssbn.metrics.auc import AUC
from tssbn.metrics.base import TaskMetric
from tssbn.metrics.boundary import Boundary
from tssbn.metrics.classification import Classification, WordClassification
from tssbn.metrics.depth import Depth
from tssbn.metrics.normals import Normals
from tssbn.metrics.regression import Regression
from tssbn.metrics.saliency import SaliencyF, SaliencyIoU
from tssbn.metrics.segmentation import Segmentation

SIZE = 10, 14


def labels(n: int, classes: int) -> torch.Tensor:
    """Label maps with about a fifth of void."""
    values = torch.randint(classes, (n, *SIZE))
    return values.masked_fill(torch.rand(n, *SIZE) < 0.2, -1)


def segmentation(n):
    return torch.randn(n, 4, *SIZE, dtype=torch.float64), labels(n, 4)


def depth(n, ignore=0):
    target = torch.rand(n, 1, *SIZE, dtype=torch.float64) + 0.5
    holes = torch.rand(n, 1, *SIZE) < torch.linspace(0.1, 0.8, n).view(-1, 1, 1, 1)
    return torch.rand_like(target), target.masked_fill(holes, ignore)


def disparity(n):
    return depth(n, ignore=-1)


def normals(n):
    target = torch.nn.functional.normalize(torch.randn(n, 3, *SIZE, dtype=torch.float64), dim=1)
    holes = torch.rand(n, 1, *SIZE) < torch.linspace(0.1, 0.8, n).view(-1, 1, 1, 1)
    return target + 0.4 * torch.randn_like(target), target.masked_fill(holes, 0)


def attributes(n):
    target = torch.randint(2, (n, 3)).masked_fill(torch.rand(n, 3) < 0.2, -1)
    target[0] = torch.tensor([1, 0, -1])
    return torch.rand(n, 3, dtype=torch.float64), target


def classification(n):
    """Of the first four images, the third and fourth have no label."""
    target = torch.randint(3, (n,))
    target[2:4] = -1
    return torch.randn(n, 3, dtype=torch.float64), target


def words(n):
    """Sentences of up to five words, without a label where none is."""
    target = torch.randint(3, (n, 5)).masked_fill(torch.arange(5) > torch.arange(n)[:, None], -1)
    return torch.randn(n, 3, 5, dtype=torch.float64), target


def answers(n):
    """Of the first four, one is yes, one no, and two have no label."""
    target = torch.randint(2, (n,))
    target[:4] = torch.tensor([1, 0, -1, -1])[:n]
    return torch.randn(n, 1, dtype=torch.float64), target[:, None]


def regression(n):
    target = 30 + 10 * torch.randn(n, dtype=torch.float64)
    target[2:4] = torch.nan
    return 30 + torch.randn(n, 1, dtype=torch.float64), target


def foreground(n):
    return torch.rand(n, *SIZE, dtype=torch.float64), labels(n, 2)


CASES = {
    "segmentation": (lambda: Segmentation(4), segmentation),
    "depth": (Depth, depth),
    "depth by batch": (lambda: Depth(pooling="batch"), depth),
    "depth by sample": (lambda: Depth(pooling="sample"), depth),
    "disparity": (lambda: Depth(ignore=-1), disparity),
    "normals": (Normals, normals),
    "normals by batch": (lambda: Normals("batch", mask="sum"), normals),
    "attributes": (lambda: Attributes(3, inputs="probabilities"), attributes),
    "auc": (AUC, answers),
    "classification": (lambda: Classification(3), classification),
    "words": (lambda: WordClassification(3), words),
    "regression": (lambda: Regression("years"), regression),
    "saliency F": (lambda: SaliencyF("probabilities"), foreground),
    "saliency F of the tables": (lambda: SaliencyF("probabilities", True), foreground),
    "saliency IoU": (lambda: SaliencyIoU("probabilities"), foreground),
    "boundary": (lambda: Boundary("probabilities", tolerance=0.08, thresholds=4), foreground),
}
POOLED = [name for name in CASES if "by " not in name]  # no value depends on the batches


def evaluate(metric: TaskMetric, batches) -> dict:
    """The values over the batches."""
    for prediction, target in batches:
        metric.update(prediction.to(metric.device), target.to(metric.device))
    return metric.compute()


def score(metric: TaskMetric, *batches) -> dict:
    """The same, on the device of the tests."""
    return evaluate(metric.to(DEVICE), batches)
