"""Census-Income: the people that the package brings along, and tiny files as UCI publishes them."""

import gzip
import math

import numpy as np
import pytest
import torch

from tssbn.data import load
from tssbn.data.real.census import COLUMNS, INPUTS, NUMBERS, SHIPPED, Census, subset
from tssbn.data.real.check import check

# The first line of the published test file, its instance weight in the 25th place.
FIRST = (
    "38, Private, 6, 36, 1st 2nd 3rd or 4th grade, 0, Not in universe, Married-civilian spouse "
    "present, Manufacturing-durable goods, Machine operators assmblrs & inspctrs, White, Mexican "
    "(Mexicano), Female, Not in universe, Not in universe, Full-time schedules, 0, 0, 0, Joint one "
    "under 65 & one 65+, Not in universe, Not in universe, Spouse of householder, Spouse of "
    "householder, 1032.38, ?, ?, ?, Not in universe under 1 year old, ?, 4, Not in universe, "
    "Mexico, Mexico, Mexico, Foreign born- Not a citizen of U S , 0, Not in universe, 2, 12, 95, "
    "- 50000.\n"
)
FIELDS = dict(zip(COLUMNS, (f.strip() for f in FIRST.strip()[:-1].split(",")), strict=True))


def line(**changes):
    fields = FIELDS | {name.replace("_", " "): str(value) for name, value in changes.items()}
    return ", ".join(fields.values()) + ".\n"


def publish(folder, people, name="census-income.test"):
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / f"{name}.gz", "wt", encoding="utf-8") as file:
        file.writelines(people)
    return folder


def prepared(tmp_path, **files):
    for name, people in files.items():
        publish(tmp_path / "src", people, f"census-income.{name}")
    Census.prepare(tmp_path / "src", tmp_path / "census")
    return tmp_path / "census"


TEN = [line(age=age) for age in range(10)]


def test_the_first_person_of_the_published_file_is_the_first_of_the_package(tmp_path):
    ours = np.load(SHIPPED / "census-income.test.npz")
    theirs = np.load(prepared(tmp_path, test=[FIRST]) / "census-income.test.npz")
    assert set(ours.files) == set(theirs.files) == set(COLUMNS) - {"instance weight"}
    assert all(ours[name][0] == theirs[name][0] for name in ours.files)


def test_the_people_of_the_package_are_those_of_the_published_file():
    people = np.load(SHIPPED / "census-income.test.npz")
    labels = {"income": 6186, "never_married": 43143, "college": 33410}
    parts = {split: Census(split=split).decoded() for split in Census.official}
    assert [len(part) for part in parts.values()] == [59857, 19952, 19953]
    assert sum(map(len, parts.values())) == len(people["age"]) == 99762
    for task, count in labels.items():
        assert sum(int(part.tensors[task].sum()) for part in parts.values()) == count
    assert (SHIPPED / "census-income.test.npz").stat().st_size < 1.5e6
    readme = (SHIPPED / "README.md").read_text(encoding="utf-8")
    for said in ("CC BY 4.0", "creativecommons.org/licenses/by/4.0", "10.24432/C5N30T", "Changes"):
        assert said in readme


def test_numbers_are_standardised_by_the_training_people_and_values_are_one_hot():
    train, test = subset("train").tensors["image"], subset("test").tensors["image"]
    k = len(NUMBERS)
    torch.testing.assert_close(
        train[:, :k].double().mean(0), torch.zeros(k).double(), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        train[:, :k].double().std(0), torch.ones(k).double(), atol=1e-3, rtol=0
    )
    assert 0 < test[:, :k].double().mean(0).abs().max() < 0.05
    nominal = {name.split("=")[0] for name in INPUTS[k:]}
    assert len(nominal) == 41 - 7 - 3
    assert set(train[:, k:].unique().tolist()) == {0, 1}
    assert (test[:, k:].sum(1) == len(nominal)).all()
    labels = ("education", "marital stat", "income", "instance weight")
    assert not [name for name in INPUTS if name.split("=")[0] in labels]


def test_a_sample_is_what_its_line_says(tmp_path):
    yes = {"income": "50000+", "marital_stat": "Never married", "wage_per_hour": 9}
    yes["education"] = "Masters degree(MA MS MEng MEd MSW MBA)"
    root = prepared(tmp_path, data=[FIRST, line(**yes)], test=[line(wage_per_hour=99)] * 2)
    data = Census(root, "train")
    assert [[int(s[t]) for t in data.targets] for s in data] == [[0, 0, 0], [1, 1, 1]]
    image = dict(zip(INPUTS, data[0]["image"].tolist(), strict=True))
    assert {name for name, value in image.items() if value == 1} == {
        f"{name}={value}"
        for name, value in FIELDS.items()
        if COLUMNS[name] and name not in ("education", "marital stat", "income")
    }
    # log(1 + x) is 0 and log 10 in training: -1 and 1; 99 gives log 100, which is 3.
    wage = INPUTS.index("wage per hour")
    assert data[0]["image"][wage] == -1 and data[1]["image"][wage] == 1
    assert Census(root, "test")[0]["image"][wage] == 3
    assert data[0]["image"][INPUTS.index("age")] == 0  # where all are alike


@pytest.mark.parametrize("whole", [False, True])
def test_everyone_is_in_one_split(tmp_path, whole):
    more = {"data": [line(age=50)] * 3} if whole else {}
    root = prepared(tmp_path, test=TEN, **more)
    ages = INPUTS.index("age")
    parts = [Census(root, split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == ([3, 5, 5] if whole else [6, 2, 2])
    images = torch.cat([part.decoded().tensors["image"][:, ages] for part in parts[whole:]])
    assert len(images.unique()) == 10
    assert not images[:5].equal(images.sort().values[:5])  # not in the order of the file
    report = check(Census, root)
    assert (
        report.usable and "(a subset)" in str(report) and f"inputs: {len(INPUTS)}\n" in str(report)
    )


def test_fewer_people_to_train_with(tmp_path):
    root = prepared(tmp_path, test=TEN)
    few, more = Census(root, "train", people=4), Census(root, "train")
    assert len(few) == 4 and len(Census(root, "test", people=4)) == 2
    ages = INPUTS.index("age")
    first = more.decoded().tensors["image"][:4, ages]
    scaled = (first - first.mean()) / first.std(correction=0)  # by those who train
    torch.testing.assert_close(few.decoded().tensors["image"][:, ages], scaled, atol=2e-3, rtol=0)
    for wrong in (0, 7):
        with pytest.raises(ValueError, match=f"people={wrong} must be from 1 to 6"):
            Census(root, "train", people=wrong)


def test_a_transform_is_applied_and_then_the_set_does_not_give_itself_whole():
    data = Census(split="val", transform=lambda sample: {**sample, "image": -sample["image"]})
    assert torch.equal(data[3]["image"], -Census(split="val")[3]["image"])
    assert data.decoded() is None


def test_by_its_name(tmp_path, monkeypatch):
    root = prepared(tmp_path, test=TEN)
    monkeypatch.setenv("TSSBN_DATA", str(tmp_path))
    assert len(load("census")) == 6 and load("census").root == root
    assert repr(load("census", "test", root=None, n=3)) == (
        f"Stored(3 samples: image {len(INPUTS)}, 3 attributes)"
    )


@pytest.mark.parametrize(
    ("people", "said"),
    [
        ([], "has no line"),
        ([FIRST, "38, Private\n"], "line 2: 2 fields, expected 42"),
        ([FIRST, line(race="Green")], r"line 2: race is 'Green', expected one of \['Amer"),
        ([FIRST, line(age="x")], "line 2: age is 'x', expected a whole number"),
        ([FIRST, line(age=-1)], "line 2: age is '-1', expected a whole number"),
    ],
)
def test_a_line_that_is_not_as_published_is_named(tmp_path, people, said):
    publish(tmp_path / "src", people)
    with pytest.raises(ValueError, match=said):
        Census.prepare(tmp_path / "src", tmp_path / "census")
    assert not (tmp_path / "census").exists()


def test_files_that_are_missing_or_damaged(tmp_path):
    (tmp_path / "src").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"no census-income.test.gz in .* data where census"
    ):
        Census.prepare(tmp_path / "src", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"npz is missing; .* data prepare census SRC"):
        Census(tmp_path, "train")
    root = prepared(tmp_path, test=TEN)
    packed = tmp_path / "src/census-income.test.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"is not a whole \.gz file"):
        Census.prepare(tmp_path / "src", root)
    file = root / "census-income.test.npz"
    columns = dict(np.load(file))
    np.savez(file, **columns | {"race": columns["race"] + 9})
    with pytest.raises(
        ValueError, match=r"race has shape \(10,\) and values 13..13, expected 0..4"
    ):
        Census(root, "train")
    np.savez(file, **{name: values for name, values in columns.items() if name != "sex"})
    with pytest.raises(ValueError, match=r"is not a whole file of `data prepare census`: .*sex"):
        Census(root, "train")
    file.write_bytes(b"PK")
    assert "is not a whole file" in str(check(Census, root)) and not check(Census, root).usable


def test_inputs_that_are_not_finite_are_refused(tmp_path):
    data = Census(prepared(tmp_path, test=TEN), "train")
    data.decoded().tensors["image"][2, 5] = math.nan
    with pytest.raises(
        ValueError, match=r"npz: image has values nan..nan, expected finite numbers"
    ):
        data[2]
