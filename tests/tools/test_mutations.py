"""The list of broken formulas keeps up with the code (`tools/mutations.py` runs it)."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_mutation_finds_its_code_and_its_tests():
    spec = importlib.util.spec_from_file_location("mutations", ROOT / "tools/mutations.py")
    mutations = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mutations)
    assert mutations.unmatched() == []
    for mutation in mutations.MUTATIONS:
        for test in mutation.tests:
            file, _, name = test.partition("::")
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert f"def {name or 'test_'}" in text, (mutation.what, test)
