"""What the README and its sister pages say is so: their commands run, their links and files exist."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser
from PIL import Image
from torch.distributed.run import get_args_parser
from typer.testing import CliRunner

import ucdir
from ucdir.cli import app
from ucdir.config import parse_config
from ucdir.images import read
from ucdir.model.pretrained import list_models

EXAMPLES = ("astronaut.jpg", "chelsea.jpg", "coffee.jpg")
FIRST_RESULT = "examples/chelsea.restored.png"
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "PAPER.md",
    "CHANGELOG.md",
    "examples/README.md",
    "docs/results.md",
    "docs/ablations.md",
    "docs/performance.md",
    "docs/performance_tables.md",
    "docs/training.md",
    "docs/export.md",
    "docs/serve.md",
    "docs/use.md",
    *(f"src/ucdir/weights/{name}/README.md" for name in list_models()),
]


def blocks(root, language):
    text = (root / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def install_commands(root):
    """The README's two commands that set everything up, each as its parts: environment, installation, use."""
    return [block.strip().split(" && ") for block in blocks(root, "bash") if "-m venv" in block]


@pytest.fixture(scope="module")
def place(root, tmp_path_factory):
    """What a reader has after the installation, with this environment as `.venv` and a part of each example."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(root / "configs", folder / "configs")
    (folder / "examples").mkdir()
    for name in EXAMPLES:
        with Image.open(root / "examples" / name) as image:
            image.crop((0, 0, 104, 72)).save(folder / "examples" / name, quality=10)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run(command, place):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=place, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


# --------------------------------------------------------------------------------------------- installation


def test_the_checks_run_the_test_command_of_the_readme(root):
    _, tests = install_commands(root)
    lines = (root / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    names = {'"': "", "${PYTHON:-python3}": "python3", "$venv": ".venv"}
    for name, value in names.items():
        lines = [line.replace(name, value) for line in lines]
    positions = [lines.index(part) for part in tests]
    assert positions == sorted(positions)
    assert tests[-1] == ".venv/bin/python -m pytest -n 2"


def test_both_commands_begin_alike(root):
    first, tests = install_commands(root)
    assert first[0] == tests[0] == "python3 -m venv .venv"
    assert first[1] == ".venv/bin/pip install -c constraints.txt -e ."
    assert tests[1] == ".venv/bin/pip install -c constraints.txt -e '.[dev]'"


def test_the_checks_stop_at_the_first_failure(root):
    script = root / ".ci" / "run"
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)


# ------------------------------------------------------------------------------------------------------ use


def test_the_first_command_restores_an_example(root, place):
    said = run(["bash", "-c", install_commands(root)[0][-1]], place)
    assert said.endswith(f"-> {FIRST_RESULT}\n")
    before, after = read(place / "examples" / "chelsea.jpg"), read(place / FIRST_RESULT)
    assert after.pixels.shape == before.pixels.shape
    assert (after.pixels != before.pixels).any()


def in_this_process(line):
    """Run a line of shell without a shell; every start of the program costs seconds."""
    words = shlex.split(line, comments=True)
    assert words[0] == "ucdir"
    arguments = [path for w in words[1:] for path in (sorted(map(str, Path().glob(w))) if "*" in w else [w])]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, f"{line}\n{done.output}"


def test_the_commands_of_use(root, place, monkeypatch):
    (block,) = [b for b in blocks(root, "bash") if "activate" in b]
    activate, *commands = block.splitlines()
    assert activate == ". .venv/bin/activate"  # this environment may be none that has such a file
    monkeypatch.chdir(place)
    for line in commands:
        in_this_process(line)
    assert read(place / "examples" / "coffee.restored.png").format == "PNG"
    assert read(place / "coffee.webp").format == "WebP"
    assert sorted(p.name for p in (place / "restored").iterdir()) == [
        ".ucdir.jsonl", "astronaut.restored.png", "chelsea.restored.png", "coffee.restored.png",
    ]  # fmt: skip


def test_the_snippets_run_one_after_another(root, place):
    snippets = blocks(root, "python")
    assert snippets
    said = run([sys.executable, "-c", "\n".join(snippets)], place)
    assert said.splitlines()[0].startswith("chelsea.png {'jpeg_quality': 10.0}")
    assert read(place / "chelsea.jpg").pixels.shape == read(place / "chelsea.png").pixels.shape


def test_the_command_of_training_is_understood(root, place):
    (block,) = [b for b in blocks(root, "bash") if "ucdir train" in b]
    settings = yaml.safe_load(run(["bash", "-c", f"{block.strip()} --dry-run"], place))
    chosen = {key: settings["data"][key] for key in ("photos", "pairs", "hold_out", "crop", "flip")}
    assert chosen == {"photos": "my_photos", "pairs": None, "hold_out": 16, "crop": 64, "flip": True}
    assert settings["training"]["compile"] is False
    assert (settings["sampling"]["sampler"], settings["sampling"]["steps"]) == ("ddim", 4)


def test_the_lines_of_configuration_are_understood(root):
    (block,) = blocks(root, "yaml")
    data = parse_config({"task": "deblurring", **yaml.safe_load(block)}, "README.md").data
    assert [str(place) for place in data.folders] == ["my_pairs/blurred", "my_pairs/sharp"]
    text = (root / "README.md").read_text(encoding="utf-8")
    line = re.search(r"`training: (\{objective: \w+\})`", text)
    assert parse_config({"data": {"photos": "a"}, "training": yaml.safe_load(line[1])}, "README.md")


def test_every_command_is_run_by_a_test_above(root):
    tested = ("-m venv", "activate", "ucdir train")
    assert not [block for block in blocks(root, "bash") if not any(words in block for words in tested)]
    text = (root / "README.md").read_text(encoding="utf-8")
    languages = set(re.findall(r"^```(\w*)\n.*?^```$", text, re.MULTILINE | re.DOTALL))
    assert languages <= {"bash", "python", "yaml", "text", "bibtex"}


@pytest.mark.parametrize("page", ["README.md", "docs/use.md", "docs/training.md"])
def test_the_options_that_are_named_exist(root, place, page):
    text = (root / page).read_text(encoding="utf-8")
    scripts = {root / path for path in re.findall(r"python (scripts/\w+\.py)", text)}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--extra-index-url"}
    commands = (["restore"], ["train"], ["evaluate"], ["ablate"], ["convert"], ["degrade"], ["data", "check"])
    known = "".join(run([".venv/bin/ucdir", *command, "--help"], place) for command in commands)
    known += "".join(re.sub(r"[\"',]", " ", script.read_text(encoding="utf-8")) for script in scripts)
    if "torchrun" in text:
        known += get_args_parser().format_help()
    if "accelerate launch" in text:
        known += " ".join(launch_command_parser()._option_string_actions)  # its help leaves some out
    assert named <= set(re.findall(r"--[a-z][a-z-]+", known))


# ------------------------------------------------------------------------------------------- pages and files


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(root, page):
    text = (root / page).read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if not t.startswith(("http://", "https://"))]
    missing = [t for t in targets if not ((root / page).parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", ["PAPER.md", "CONTRIBUTING.md", "README.md"])
def test_files_that_are_named_exist(root, page):
    """`name/like_this.py` is a file of the package or of the repository; NAME stands for any."""
    text = (root / page).read_text(encoding="utf-8")
    named = {n for n in re.findall(r"`([\w/]+\.(?:py|yaml|toml))`", text) if "NAME" not in n}
    assert named
    missing = [n for n in named if not any((base / n).is_file() for base in (root, root / "src" / "ucdir"))]
    assert not missing


def test_the_examples_are_what_their_page_says(root):
    page = (root / "examples" / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+\.jpg)` \| (\d+x\d+) \|", page, re.MULTILINE))
    files = [p for p in (root / "examples").iterdir() if p.suffix == ".jpg"]
    assert {p.name for p in files} == set(rows)
    for file in files:
        photo = read(file)
        assert photo.jpeg_quality == 10
        assert f"{photo.pixels.shape[1]}x{photo.pixels.shape[0]}" == rows[file.name]


def test_the_version_is_the_same_everywhere(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == citation["version"] == ucdir.__version__
    assert project["license"] == citation["license"] == "Apache-2.0"
