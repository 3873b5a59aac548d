#!/bin/sh
# Makes .venv and installs the package, editable, with all its extras.
# PYTHON chooses the interpreter. uv is used where it is installed; else venv and pip.
set -eu

fail() {
    printf '\n%s\n\n' "$*" >&2
    exit 1
}

if command -v uv >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # no --python at all where PYTHON is not set: uv finds a fitting one
    [ -x .venv/bin/python ] || uv venv ${PYTHON:+--python "$PYTHON"} .venv
    uv pip install --python .venv/bin/python -e '.[all]'
    exit
fi

python=${PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 ||
    fail "No '$python' here. Install Python 3.10 or newer, or name one: PYTHON=/path/to/python make ..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "tssbn needs Python 3.10 or newer, but '$python' is $("$python" -V 2>&1)." \
        "Name a newer one: PYTHON=python3.12 make ..."
if [ ! -x .venv/bin/python ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "'$python' cannot make virtual environments: its venv module is not installed." \
            "On Debian and Ubuntu: sudo apt install python3-venv"
    "$python" -m venv .venv
fi
.venv/bin/python -m pip install -e '.[all]'
