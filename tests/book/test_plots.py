"""The shared marks show what they are given."""

import pytest
import torch

from tssbn.data.target import Target

plt = pytest.importorskip("matplotlib.pyplot")
plots = pytest.importorskip("tssbn.plots")


def test_style_is_white_and_fits_the_page():
    plots.style()
    assert plt.rcParams["figure.facecolor"] == "white"
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == list(plots.COLORS.values())


def test_spread_shows_mean_lowest_and_highest():
    _, ax = plt.subplots()
    plots.spread(ax, [0, 1], [[1, 2], [3, 8], [5, 2]], "blue", "a", marker="o")
    (line,), (band,) = ax.lines, ax.collections
    assert line.get_ydata().tolist() == [3, 4]
    assert line.get_color() == plots.COLORS["blue"] and line.get_marker() == "o"
    at = {x: sorted(y for a, y in band.get_paths()[0].vertices if a == x) for x in (0, 1)}
    assert (at[0][0], at[0][-1], at[1][0], at[1][-1]) == (1, 5, 2, 8)


def test_gates_are_shares_of_the_channels():
    _, ax = plt.subplots()
    plots.gate_histogram(ax, torch.tensor([0.0, 0.01, 0.5, 1.0], requires_grad=True), "red")
    heights = [bar.get_height() for bar in ax.patches]
    assert len(heights) == 40
    assert (heights[0], heights[20], heights[39], sum(heights)) == (0.5, 0.25, 0.25, 1)


def test_images_keep_their_range_and_titles():
    plots.images(torch.full((3, 1, 8, 8), 0.25), ["x", "y", "z"], columns=2)
    axes = plt.gcf().axes
    assert [ax.get_title() for ax in axes] == ["x", "y", "z", ""]
    assert [len(ax.images) for ax in axes] == [1, 1, 1, 0]
    assert axes[0].images[0].get_clim() == (0, 1)  # grey, not stretched to white


def test_learning_has_a_line_for_the_answer_that_ignores_the_image():
    def run(seed, **more):
        epochs = [
            {"epoch": e, "test": {"a": {"f1": 0.2 * e + seed}, "b": {"f1": 0.5}}} for e in (1, 2)
        ]
        return {"method": "hps", "metric": {"a": "f1", "b": "f1"}, "epochs": epochs, **more}

    blind = {"constant": {"a": {"f1": 0.1}, "b": {"f1": 0.3}}}
    for task, height in {"a": 0.1, "mean": 0.2}.items():
        _, ax = plt.subplots()
        plots.learning(ax, [run(0), run(1, **blind), run(2, **blind)], task, ["hps"])
        line, constant = ax.lines
        assert line.get_label() == "HPS"
        assert constant.get_ydata() == pytest.approx([height] * 2)
        assert constant.get_label() == "constant baseline"
    _, ax = plt.subplots()
    plots.learning(ax, [run(0)], "a", ["hps"])  # an older run
    assert len(ax.lines) == 1
    own = "my/method.py"  # has no title but its path
    plots.learning(ax, [run(0) | {"method": own}], "a", [own])
    assert ax.lines[1].get_label() == own


def pictures():
    """The pixels of each row of plots.samples, by its label."""
    axes = [ax for ax in plt.gcf().axes if ax.images]
    return {
        ax.get_ylabel(): [a.images[0].get_array() for a in axes[i : i + 2]]
        for i, ax in enumerate(axes)
        if ax.get_ylabel()
    }


def test_samples_show_every_map_and_leave_void_white():
    targets = {
        "segmentation": Target("classes", ("bed", "sofa", "wall"), ignore=-1),
        "depth": Target("depth", ignore=0),
        "normal": Target("normal", ignore=0),
        "Smiling": Target("attribute"),
    }
    wall = torch.tensor([0.0, 0.0, -1.0]).view(3, 1, 1).expand(3, 4, 6)
    batch = {
        "image": torch.rand(2, 3, 4, 6),
        "segmentation": torch.randint(0, 3, (2, 4, 6)),
        "depth": 1 + torch.rand(2, 1, 4, 6),
        "normal": wall.repeat(2, 1, 1, 1),
        "Smiling": torch.ones(2),
    }
    batch["segmentation"][:, 0, 0] = -1
    batch["depth"][:, :, 0, 0] = 0
    batch["normal"][:, :, 0, 0] = 0
    batch["depth"][0, 0, 1, :2] = torch.tensor([0.5, 5.0])
    plots.samples(batch, targets, "segmentation")

    shown = pictures()
    assert list(shown) == ["image", "segmentation", "depth", "normal"]
    for name in ("segmentation", "depth", "normal"):
        assert [tuple(picture[0, 0]) for picture in shown[name]] == [(1, 1, 1)] * 2
    assert tuple(shown["normal"][0][2, 2]) == (0.5, 0.5, 1)  # it faces us: blue
    near, far = shown["depth"][0][1, :2]
    assert near.sum() > far.sum()  # the nearer, the brighter
    colors = plots.class_colors(targets["segmentation"])
    assert (shown["segmentation"][1] == colors[batch["segmentation"][1]]).all()
    (legend,) = plt.gcf().legends
    assert [text.get_text() for text in legend.get_texts()] == ["bed", "sofa", "wall"]


def test_classes_have_colors_of_their_own():
    target = Target("classes", tuple(f"class {i}" for i in range(40)), ignore=-1)
    colors = plots.class_colors(target)
    assert len({tuple(color) for color in colors}) == 41
    parts = plots.class_colors(Target("classes", ("background", "head", "arms"), ignore=-1))
    assert len(set(parts[0])) == 1 and parts[0][0] < 1  # grey, and not the white of void


def test_missing_labels_are_white_and_whole_images_labels_are_passed_over():
    targets = {
        "segmentation": Target("classes", ("bed", "wall")),
        "depth": Target("depth", ignore=0),
        "disparity": Target("disparity"),
        "normal": Target("normal"),
        "age": Target("number", unit="years"),
        "place": Target("class", ("inside", "outside")),
    }
    shapes = {"segmentation": (2, 2), "normal": (3, 2, 2), "age": (), "place": ()}
    batch = {
        name: torch.full((1, *shapes.get(name, (1, 2, 2))), target.missing, dtype=target.dtype)
        for name, target in targets.items()
    }
    plots.samples({"image": torch.rand(1, 3, 2, 2), **batch}, targets)
    pictures = [ax.get_images()[0].get_array() for ax in plt.gcf().axes]
    assert len(pictures) == 5
    assert all((picture == 1).all() for picture in pictures[1:])
