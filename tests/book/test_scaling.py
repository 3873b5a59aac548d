"""The commands and the program of the page on several processes, and its study of the cost.

Processes are forked from one that has imported everything, with the variables that torchrun or
SLURM would set; `test_train_command.py` starts them for real, `test_ddp_train.py` forks them, too.
"""

import importlib.util
import json
import multiprocessing
import os
import re
import runpy
import shlex
import socket
import sys
from contextlib import redirect_stdout

import pytest
import torch
from studies import script
from torch.distributed.run import parse_args

from tssbn import records

NEEDED = "lightning_fabric", "timm", "torchmetrics", "torchvision"  # by the processes, not here
for missing in (name for name in NEEDED if importlib.util.find_spec(name) is None):
    pytest.skip(f"{missing} is not installed", allow_module_level=True)
if "forkserver" not in multiprocessing.get_all_start_methods():
    pytest.skip("this system cannot fork", allow_module_level=True)

SMALL = "--device cpu --quiet --set n=16 epochs=2 height=32 width=32 filters=2 batch=4"
NUMBER = re.compile(r"\d+(:\d\d)+|\d+(\.\d+)?(e[+-]\d+)?|nan")


STUDY = script("ddp_run")
RECORD = records.load("ddp/run")["commands"]


@pytest.fixture(scope="module")
def start():
    """start(variables of each process, function, *arguments) runs it in all of them at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tssbn.training.loop", "tssbn.methods", "torch.distributed"])

    def run(variables, function, *arguments):
        workers = [
            context.Process(target=_process, args=(own, function, arguments)) for own in variables
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return [worker.exitcode for worker in workers]

    return run


def _process(variables, function, arguments):
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    os.environ.update(variables)
    rank_zero_only.rank = rank()  # which it read when it was imported
    torch.set_num_threads(1)
    function(*arguments)


def words(folder, arguments):
    """What Python does with these arguments, in a folder; prints into a file there."""
    os.chdir(folder)
    with open(f"printed-{rank()}", "w", encoding="utf-8") as file, redirect_stdout(file):
        if arguments[:2] == ["-m", "tssbn"]:
            from tssbn.__main__ import main

            sys.exit(main(arguments[2:]))
        runpy.run_path(arguments[0], run_name="__main__")


def rank():
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID", "0"))


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def torchrun(command, processes=None, nodes=1):
    """Variables of each process, and what each is to run; in all, or as many as the command says.

    With more nodes than one, one process on each.
    """
    known = parse_args(shlex.split(command)[1:])
    count = processes or int(known.nproc_per_node)
    port = free_port()
    variables = [
        {
            "RANK": str(number),
            "LOCAL_RANK": str(number // nodes),
            "GROUP_RANK": str(number % nodes),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count // nodes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "TORCHELASTIC_RUN_ID": "test",
        }
        for number in range(count)
    ]
    return variables, ["-m"] * known.module + [known.training_script, *known.training_script_args]


def small(arguments):
    """The command on made rooms instead of real streets, in no time."""
    text = re.sub(r" --(data|minutes) \S+", "", shlex.join(arguments))
    return shlex.split(f"{text.replace('cityscapes', 'rooms')} {SMALL}")


def printed(folder):
    return "\n".join(
        path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("printed-*"))
    ).strip()


def form(text):
    """What a command prints, without its numbers."""
    return re.sub(" +", " ", NUMBER.sub("#", text))


def blocks():
    """The commands of the page for several machines."""
    text = re.sub(r"^# {0,2}", "", STUDY.PAGE.read_text(encoding="utf-8"), flags=re.M)
    found = re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)
    return [re.sub(r" *\\\n *", " ", block) for block in found]


def test_the_record_is_of_these_commands():
    assert {name: entry["command"] for name, entry in RECORD.items()} == STUDY.COMMANDS


def test_torchrun_prints_what_the_page_shows(start, tmp_path):
    variables, arguments = torchrun(STUDY.COMMANDS["torchrun"])
    assert start(variables, words, tmp_path, arguments) == [0, 0]
    assert form(printed(tmp_path)) == form(RECORD["torchrun"]["printed"])
    (path,) = tmp_path.glob("data/results/rooms/*.json")
    assert json.loads(path.read_text())["devices"] == 2


def test_one_process_prints_what_the_page_shows(start, tmp_path):
    arguments = shlex.split(STUDY.COMMANDS["one"])[1:]
    assert start([{}], words, tmp_path, arguments) == [0]
    assert form(printed(tmp_path)) == form(RECORD["one"]["printed"])


def test_a_run_that_was_stopped_and_resumed_is_the_run_that_was_not(start, tmp_path):
    variables, _ = torchrun(STUDY.COMMANDS["resume"])
    assert start(variables, stopped_and_resumed, tmp_path) == [0, 0]
    load = torch.load
    whole, parts = (load(tmp_path / name / "last.pt")["net"] for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert load(tmp_path / "parts/last.pt")["record"]["starts"] == 2


def stopped_and_resumed(folder):
    import tiny

    from tssbn.training import loop

    run = tiny.run("tssbn", tasks_per_pass=1)
    loop.train(run, folder / "whole", accelerator="cpu")
    late = loop._is_late
    loop._is_late = lambda trainer, _: trainer.epochs == 1
    assert not loop.train(run, folder / "parts", accelerator="cpu").record["finished"]
    loop._is_late = late
    assert loop.train(run, folder / "parts", accelerator="cpu", resume=True).record["finished"]


def test_the_loop_of_the_page(start, tmp_path):
    (tmp_path / "own_loop.py").write_text(STUDY.program())
    variables, arguments = torchrun(STUDY.COMMANDS["loop"])
    assert start(variables, words, tmp_path, arguments) == [0, 0]
    said = [line.partition(" has ")[2] for line in printed(tmp_path).splitlines()]
    assert said[0] == said[1] and float(said[0]) > 0
    assert sorted(map(form, RECORD["loop"]["printed"].splitlines())) == [
        form(line) for line in printed(tmp_path).splitlines()
    ]


def test_the_loop_of_the_page_trains_as_one_process_does(start, tmp_path):
    """Without batch statistics, which see a part of the batch."""
    source = STUDY.program()
    assert "nn.BatchNorm2d(8)" in source
    (tmp_path / "own_loop.py").write_text(source.replace("nn.BatchNorm2d(8)", "nn.GroupNorm(2, 8)"))
    totals = []
    for processes in 1, 2:
        variables, arguments = torchrun(STUDY.COMMANDS["loop"], processes)
        assert start(variables, words, tmp_path, arguments) == [0] * processes
        totals.append(float((tmp_path / "printed-0").read_text().split()[-1]))
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)


def test_without_its_option_the_loop_of_the_page_fails(start, tmp_path):
    source = STUDY.program()
    without = source.replace("find_unused_parameters=True", "find_unused_parameters=False")
    assert without != source
    (tmp_path / "own_loop.py").write_text(without)
    variables, arguments = torchrun(STUDY.COMMANDS["loop"])
    assert start(variables, words, tmp_path, arguments) == [1, 1]


def test_two_machines(start, tmp_path):
    command = blocks()[0]
    known = parse_args(shlex.split(command)[1:])
    assert (known.nnodes, known.nproc_per_node, known.rdzv_backend) == ("2", "4", "c10d")
    variables, arguments = torchrun(command, processes=2, nodes=2)
    assert start(variables, words, tmp_path, small(arguments)) == [0, 0]
    (path,) = tmp_path.glob("data/results/rooms/*.json")
    assert json.loads(path.read_text())["devices"] == 2


def test_slurm_on_one_node(start, tmp_path):
    script = blocks()[1]
    (line,) = [line for line in script.splitlines() if line.startswith("srun ")]
    tasks = re.search(r"--ntasks-per-node=(\d+)", script)[1]
    assert f"--devices {tasks} " in line
    arguments = shlex.split(line.replace(f"--devices {tasks} ", "--devices 2 "))[2:]
    variables = [
        {
            "SLURM_JOB_NAME": "train",
            "SLURM_JOB_ID": "123",
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2",
            "SLURM_NNODES": "1",
            "SLURM_NODELIST": "127.0.0.1",
            "SLURM_NODEID": "0",
            "SLURM_PROCID": str(number),
            "SLURM_LOCALID": str(number),
            "MASTER_PORT": port,
        }
        for port in [free_port()]
        for number in range(2)
    ]
    assert start(variables, words, tmp_path, small(arguments)) == [0, 0]
    (path,) = tmp_path.glob("data/results/rooms/*.json")
    assert json.loads(path.read_text())["devices"] == 2


def test_slurm_on_several_nodes():
    """Each node is given the same command, as far as its shell is concerned."""
    script = blocks()[2]
    (line,) = [line for line in script.splitlines() if line.startswith("srun ")]
    known = parse_args(shlex.split(line)[2:])
    nodes = re.search(r"--nodes=(\d+)", script)[1]
    gpus = re.search(r"--gpus-per-node=(\d+)", script)[1]
    assert (known.nnodes, known.nproc_per_node) == (nodes, gpus)
    assert "--ntasks-per-node=1\n" in script and known.module
    assert known.training_script_args[0] == "train"


def test_the_study_of_the_cost_steps_as_it_says(start, tmp_path):
    """Apart each process goes its own way; together all ways of our tasks make the same step."""
    variables, _ = torchrun(STUDY.COMMANDS["torchrun"])
    assert start(variables, both_steps, tmp_path) == [0, 0]
    one, other = (torch.load(tmp_path / f"steps-{number}.pt") for number in (0, 1))
    ways = list(one)
    assert len(ways) == 4 and one.keys() == other.keys()
    for way in ways:
        assert not torch.equal(one[way]["apart"], other[way]["apart"])
        assert torch.equal(one[way]["together"], other[way]["together"])
    for way in ways[2:]:
        torch.testing.assert_close(one[way]["together"], one[ways[1]]["together"])
    (path,) = (tmp_path / "ddp").glob("cost.json")
    record = json.loads(path.read_text())
    for settings in record["seconds"].values():
        assert list(settings) == ["alone", "apart", "together"]
        assert all(len(times) == 2 and min(times) > 0 for times in settings.values())


def both_steps(folder):
    from tssbn.timing.networks import NETWORKS, TimedTrunk
    from tssbn.training.devices import make_fabric

    cost = script("ddp_cost")
    cost.LR = 1.0
    NETWORKS["tiny"] = TimedTrunk(trunk, 2, (4, 4))
    fabric = make_fabric("cpu", 2, "32")
    made = {}
    for way in cost.WAYS:
        made[way] = {}
        for setting in "apart", "together":
            net, steps = cost.made(way, "tiny", 2, fabric)
            steps[setting]()
            moved = [p.detach().flatten() for p in net.parameters()]
            made[way][setting] = torch.cat(moved)
    torch.save(made, folder / f"steps-{fabric.global_rank}.pt")
    cost.main("tiny", tasks=2, rounds=2, folder=folder)


def trunk(size):
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
