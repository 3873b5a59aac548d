"""Units of scores in tables."""

__all__ = ["display_unit", "with_unit"]

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


def with_unit(value: float, unit: str) -> str:
    """Return a value with its unit as a line of text has them.

    Example:
        >>> with_unit(43.75, "%"), with_unit(23.5, "°"), with_unit(0.4837, "m"), with_unit(0.5, "")
        ('43.75%', '23.5°', '0.4837 m', '0.5')
    """
    return f"{value:.4g}{unit}" if unit in ("", "%", "°") else f"{value:.4g} {unit}"
