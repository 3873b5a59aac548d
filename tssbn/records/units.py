"""Units of scores in tables."""

__all__ = ["display_unit"]

# Units of saved runs that do not name them. "%" is a fraction that is printed times 100.
UNITS = {"miou": "%", "f1": "%", "max_f": "%", "ods_f": "%"}


def display_unit(metric: str, unit: str | None = None) -> tuple[float, str]:
    """Return the factor and the unit with which a metric is printed.

    Args:
        metric: name of the metric.
        unit: the unit in ``"units"`` of a saved run; by default that of the package's metric, for
            runs without units. ``"%"`` marks a fraction that is printed in percent.

    Example:
        >>> display_unit("miou"), display_unit("absolute", "m"), display_unit("anything")
        ((100.0, '%'), (1.0, 'm'), (1.0, ''))
    """
    unit = UNITS.get(metric, "") if unit is None else unit
    return (100.0 if unit == "%" else 1.0), unit
