"""Saved runs, which are written, read, summarised and put into tables.

:func:`of` loads the saved runs of a method on a benchmark, from ``data/results`` of the working
folder or its parent, or from the runs that come with the package.
"""

from tssbn.records.networks import network, save_network
from tssbn.records.packing import pack_gates, pack_logits, unpack_gates, unpack_logits
from tssbn.records.paper import paper_rows
from tssbn.records.rates import by_gate_rate, gate_rate
from tssbn.records.reader import load_default, of
from tssbn.records.saved import SavedRun, SavedRuns
from tssbn.records.scores import constant, delta, reported, summary
from tssbn.records.software import environment
from tssbn.records.store import (
    folders,
    load,
    load_all,
    results_dir,
    to_json,
    write,
)
from tssbn.records.thresholds import f1_at_validation_thresholds
from tssbn.records.units import display_unit, with_unit

__all__ = [
    "SavedRun",
    "SavedRuns",
    "by_gate_rate",
    "constant",
    "delta",
    "display_unit",
    "environment",
    "f1_at_validation_thresholds",
    "folders",
    "gate_rate",
    "load",
    "load_all",
    "load_default",
    "network",
    "of",
    "pack_gates",
    "pack_logits",
    "paper_rows",
    "reported",
    "results_dir",
    "save_network",
    "summary",
    "to_json",
    "unpack_gates",
    "unpack_logits",
    "with_unit",
    "write",
]
