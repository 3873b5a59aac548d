"""Units of scores where they are shown."""

__all__ = ["display_unit"]

# Units of saved runs that do not name them. "%" is a fraction that is shown times 100.
UNITS = {"miou": "%", "f1": "%", "max_f": "%", "ods_f": "%"}


def display_unit(metric: str, unit: str | None = None) -> tuple[float, str]:
    """Give what a metric is multiplied by where it is shown, and the unit behind the number.

    Args:
        metric: its name.
        unit: as ``"units"`` of a saved run says; without it, that of the metrics of this package,
            for saved runs that do not say. ``"%"`` stands for a fraction that is shown in percent.

    Example:
        >>> display_unit("miou"), display_unit("absolute", "m"), display_unit("anything")
        ((100.0, '%'), (1.0, 'm'), (1.0, ''))
    """
    unit = UNITS.get(metric, "") if unit is None else unit
    return (100.0 if unit == "%" else 1.0), unit
