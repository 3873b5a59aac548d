"""The page "Your own data" does what it says, on a handful of photos."""

import csv
import shlex
import sys

import pages
import pytest

torch = pytest.importorskip("torch")
for package in ("torchvision", "lightning_fabric", "torchmetrics", "PIL", "matplotlib", "seaborn"):
    pytest.importorskip(package)

PAGE = "book/your_own_data.md"
BLOCKS = pages.blocks(PAGE)
FILES = pages.files(PAGE)
HOUSES = ("pytorch_lightning", "accelerate", "transformers")  # other trainers
RECIPES = {house: code for house in HOUSES for kind, code in BLOCKS if f" {house}" in code[:40]}
ROWS = ("31,female,indian", ",male,black", "7,,", "55,female,", "18,male,other", "40,female,white")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with photos and the page's benchmark, which is the working directory.

    ResNets have one block in each stage, so that less is trained and saved than by the reader.
    """
    from PIL import Image
    from torchvision.models import ResNet

    def shallow(self, block, layers, **options):
        whole(self, block, [1] * len(layers), **options)

    whole, here = ResNet.__init__, tmp_path_factory.mktemp("own")
    (here / "photos").mkdir()
    for split, n in {"train": 18, "val": 6, "test": 6}.items():
        with open(here / f"photos/{split}.csv", "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(("file", "age", "gender", "race"))
            for i in range(n):
                pixels = torch.randint(256, (40, 30, 3), dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(here / f"photos/{split}{i}.jpg")
                lines.writerow((f"{split}{i}.jpg", *ROWS[i % len(ROWS)].split(",")))
    for name, code in FILES.items():
        (here / name).write_text(code, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResNet, "__init__", shallow)
        patch.chdir(here)
        patch.syspath_prepend(here)
        yield here
    sys.modules.pop("my_benchmark", None)


@pytest.fixture(scope="module")
def page(folder):
    """What the page defines once its blocks have run, those of other trainers aside."""
    import matplotlib

    matplotlib.use("Agg")
    defined = {}
    for kind, code in BLOCKS:
        if kind == "python" and code not in (*RECIPES.values(), *FILES.values()):
            exec(compile(code, PAGE, "exec"), defined)
    return defined


def test_the_commands_train_and_print_a_table(folder, capsys):
    from tssbn.__main__ import main

    for line in pages.commands(PAGE):
        short = {
            "train": ["--epochs", "1", "--quiet", "--set", "side=32"],
            "table": ["--set", "epochs=1", "side=32"],
        }
        arguments = shlex.split(line)
        assert main([*arguments, *short[arguments[0]]]) == 0, line
    table = capsys.readouterr().out
    assert "photos" in table and "years" in table
    rows = table[table.rindex("photos\n") :]
    assert all(f"\n{title} " in rows for title in ("STL", "HPS", "TSσBN"))
    assert len(list((folder / "data/results/my_benchmark").glob("*.json"))) == 3


def test_the_blocks_run(page):
    assert page["record"]["finished"] and page["net"].tasks == ("age", "gender", "race")
    assert page["alone"](page["image"]).shape == (1, 1)


def test_the_control_differs_in_rows_of_gates_alone(page):
    count = {
        name: sum(p.numel() for p in net.parameters()) for name, net in page["networks"].items()
    }
    rows = count["TSσBN"] - count["one gate row"]
    channels = sum(
        layer.num_features
        for layer in page["trunk"]().modules()
        if isinstance(layer, torch.nn.BatchNorm2d)
    )
    assert rows == 2 * channels  # three rows instead of one
    assert count["HPS"] - count["one gate row"] == channels  # its biases


@pytest.mark.parametrize("house", HOUSES)
@pytest.mark.filterwarnings("ignore")
def test_the_recipe_for_another_trainer_trains(page, house):
    pytest.importorskip(house)
    if house == "transformers":
        pytest.importorskip("accelerate")  # its Trainer needs it
    before = [p.detach().clone() for p in page["net"].parameters()]
    exec(compile(RECIPES[house], PAGE, "exec"), page)
    assert any(not torch.equal(p, q) for p, q in zip(page["net"].parameters(), before, strict=True))


def test_every_recipe_is_found():
    assert set(RECIPES) == set(HOUSES)
