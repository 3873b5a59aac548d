"""Read trained gates, and compute task capacity, task similarity and specialised filters.

All measures come from the importance matrix I of shape (T, F), ``I[t, i] = σ(γ_{t,i})``, the gate
of filter i of the shared trunk for task t (Suteu & Serban, arXiv 2512.20420, section 5).
Functions take an `Importance`, a tensor or an array, and return float64 tensors.
"""

from tssbn.deprecation import former_names
from tssbn.gates.interventions import ablated, permuted
from tssbn.gates.matrix import Importance, importance
from tssbn.gates.measures import (
    CapacitySplit,
    capacity,
    capacity_split,
    most_specialised,
    similarity,
    specialised,
)

__all__ = [
    "CapacitySplit",
    "Importance",
    "ablated",
    "capacity",
    "capacity_split",
    "importance",
    "most_specialised",
    "permuted",
    "similarity",
    "specialised",
]

__getattr__ = former_names(__name__, removed="ablated", shuffled="permuted")
