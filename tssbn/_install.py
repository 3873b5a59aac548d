"""How the package is installed, for messages that miss something."""

ADDRESS = "https://github.com/tssbn/tssbn"


def install(extra: str) -> str:
    """Return the command that installs the package with one of its extras.

    Example:
        >>> install("train")
        'pip install "tssbn[train] @ git+https://github.com/tssbn/tssbn"'
    """
    return f'pip install "tssbn[{extra}] @ git+{ADDRESS}"'
