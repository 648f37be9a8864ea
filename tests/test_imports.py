"""Imports point one way, the package is light until used, and no file is long."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

MAX_LINES = 350


def run(*command, cwd):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def contract(root):
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    (only,) = settings["tool"]["importlinter"]["contracts"]
    return only


def siblings(layer):
    return [name.strip(" ()") for name in layer.split("|")]


def lint(root, folder, layers):
    """Run import-linter with these layers; a module that does not exist (yet) is left out."""
    package = root / "src" / "ucdir"

    def exists(module):
        path = package / module.removeprefix("ucdir.")
        return path.is_dir() or path.with_suffix(".py").is_file()

    present = [" | ".join(m for m in siblings(layer) if exists(m)) for layer in layers]
    lines = "\n".join(f"    {layer}" for layer in present if layer)
    (folder / ".importlinter").write_text(
        "[importlinter]\nroot_package = ucdir\n"
        f"[importlinter:contract:layers]\nname = Imports point one way\ntype = layers\nlayers =\n{lines}\n"
    )
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from importlinter.cli import lint_imports_command"
    )
    command = (sys.executable, "-c", f"{program} as lint; lint()", str(root / "src"), "--no-cache")
    return run(*command, cwd=folder)


def test_imports_point_one_way(root, contract, tmp_path):
    result = lint(root, tmp_path, contract["layers"])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 kept, 0 broken" in result.stdout


def test_control_the_opposite_direction_is_broken(root, contract, tmp_path):
    result = lint(root, tmp_path, contract["layers"][::-1])
    assert result.returncode == 1
    assert "0 kept, 1 broken" in result.stdout


def test_every_module_stands_in_a_layer(root, contract):
    layered = {name for layer in contract["layers"] for name in siblings(layer)}
    found = {
        f"ucdir.{path.stem}"
        for path in (root / "src" / "ucdir").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and not path.name.startswith("__")
    }
    assert not found - layered, "name them in [tool.importlinter] of pyproject.toml"


HEAVY = ("torch", "numpy", "diffusers", "accelerate", "pyvips", "PIL")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("ucdir", HEAVY),
        ("ucdir.errors", HEAVY),
        ("ucdir.limits", HEAVY),
        ("ucdir.config", ("torch", "diffusers", "accelerate", "pyvips")),
        ("ucdir.tasks", ("torch", "diffusers", "accelerate", "pyvips")),
        ("ucdir.degradations", ("torch", "diffusers", "accelerate")),
        ("ucdir.images", ("torch", "diffusers", "accelerate")),
        ("ucdir.diffusion.schedule", ("torch", "diffusers", "accelerate")),
        ("ucdir.model.folder", ("torch", "diffusers", "accelerate", "pyvips")),
    ],
)
def test_importing_is_light(root, module, absent):
    program = f"import sys, {module}; print(*(m for m in {absent} if m in sys.modules))"
    result = run(sys.executable, "-c", program, cwd=root / "src")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_control_a_heavy_import_shows(root):
    program = "import sys, ucdir.model.layers; print('torch' in sys.modules)"
    assert run(sys.executable, "-c", program, cwd=root / "src").stdout.strip() == "True"


def test_what_the_package_offers(root):
    program = "import ucdir; print(ucdir.__version__, sorted(ucdir.__all__)); ucdir.no_such_thing"
    result = run(sys.executable, "-c", program, cwd=root / "src")
    assert "['Pipeline', 'load', 'restore']" in result.stdout
    assert "AttributeError: module 'ucdir' has no attribute 'no_such_thing'" in result.stderr


def test_no_file_is_long(root):
    files = sorted((root / "src").rglob("*.py"))
    assert len(files) > 20
    lines = {str(f.relative_to(root)): len(f.read_text(encoding="utf-8").splitlines()) for f in files}
    assert not {name: count for name, count in lines.items() if count > MAX_LINES}
    assert sorted(lines.values())[len(lines) // 2] <= 120, "the median file"


def test_version_is_the_one_of_the_package(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (root / Path("src", "ucdir", "__init__.py")).read_text(encoding="utf-8")
    assert f'__version__ = "{project["version"]}"' in text
