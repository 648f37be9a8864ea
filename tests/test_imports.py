"""Imports point one way, and nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
import tomllib

import pytest
from PIL import Image


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


NETWORKS = ("torch", "diffusers", "accelerate")
HEAVY = (*NETWORKS, "numpy", "pyvips", "PIL")


def imported(program, names, cwd):
    """The names that are in `sys.modules` at the end of a program."""
    at_exit = f"import atexit, sys; atexit.register(lambda: print(*(n for n in {names} if n in sys.modules)))"
    result = run(sys.executable, "-c", f"{at_exit}\n{program}", cwd=cwd)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("ucdir", HEAVY),
        ("ucdir.errors", HEAVY),
        ("ucdir.limits", HEAVY),
        ("ucdir.config", (*NETWORKS, "pyvips")),
        ("ucdir.tasks", (*NETWORKS, "pyvips")),
        ("ucdir.degradations", NETWORKS),
        ("ucdir.images", NETWORKS),
        ("ucdir.model.folder", (*NETWORKS, "pyvips")),
        ("ucdir.diffusion.schedule", NETWORKS),
        ("ucdir.diffusion.samplers", NETWORKS),
        ("ucdir.patches.tile_runner", NETWORKS),
        ("ucdir.engines", NETWORKS),
        ("ucdir.engines.choice", (*NETWORKS, "onnx", "onnxruntime", "pyvips")),
        ("ucdir.engines.onnx_engine", (*NETWORKS, "onnx")),
        ("ucdir.model.onnx_folder", (*NETWORKS, "onnx", "onnxruntime", "pyvips")),
        ("ucdir.model.onnx_graph", (*NETWORKS, "onnx", "onnxruntime", "pyvips")),
        ("ucdir.pipeline", NETWORKS),
        ("ucdir.workflows.export", NETWORKS),
        ("ucdir.workflows.restore", NETWORKS),
    ],
)
def test_importing_is_light(root, module, absent):
    assert imported(f"import {module}", absent, cwd=root / "src") == set()


def test_control_a_heavy_import_shows(root):
    assert "torch" in imported("import ucdir.model.layers", HEAVY, cwd=root / "src")


def test_restoring_a_photo_needs_none_of_these(root, tmp_path):
    Image.new("RGB", (24, 16), "teal").save(tmp_path / "photo.jpg", quality=10)
    command = ["ucdir", "restore", str(tmp_path / "photo.jpg"), "--device", "cpu", "--engine", "torch"]
    absent = (
        "diffusers",
        "accelerate",
        "scipy",
        "torchvision",
        "torchmetrics",
        "matplotlib",
        "torch._dynamo",
        "rich",
        "yaml",
        "simplejpeg",
    )
    program = f"from ucdir.cli import main\nsys.argv = {command}\nmain()"
    assert imported(program, ("torch", *absent), cwd=root / "src") == {"torch"}
    assert (tmp_path / "photo.restored.png").exists()


def test_the_engine_onnx_needs_no_torch(root, tmp_path):
    Image.new("RGB", (24, 16), "teal").save(tmp_path / "photo.jpg", quality=10)
    photo, model = str(tmp_path / "photo.jpg"), str(tmp_path / "model")
    program = "from ucdir.cli import main\nsys.argv = {}\nmain()"
    asked = (*NETWORKS, "torch._dynamo", "onnx", "onnxruntime")
    for command, expected in [
        (["ucdir", "export", "jpeg_restoration", "-o", model], set()),
        (["ucdir", "restore", photo, "--engine", "onnx"], {"onnxruntime"}),
        (["ucdir", "restore", photo, "-o", str(tmp_path / "b.png"), "--model", model], {"onnxruntime"}),
    ]:
        assert imported(program.format(command), asked, cwd=root / "src") == expected
    assert (tmp_path / "photo.restored.png").read_bytes() == (tmp_path / "b.png").read_bytes()


MAY_IMPORT = {
    "torch": (
        "ablations/", "cli/info.py", "data/crops.py", "degradations/",
        "diffusers.py", "diffusion/loss.py", "engines/", "evaluation/", "metrics/", "model/", "pth_file.py",
        "training/", "workflows/convert.py",
    ),
    "diffusers": ("diffusers.py",),
    "accelerate": ("training/",),
    "onnxruntime": ("engines/onnx_engine.py",),
    "python_multipart": ("cli/serve.py", "server/"),
    "starlette": ("cli/serve.py", "server/"),
    "uvicorn": ("cli/serve.py", "server/"),
}  # fmt: skip


def imports_of(file):
    """Top-level names of the packages that a file imports, anywhere but under `if TYPE_CHECKING`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "optional_module":
            yield ast.literal_eval(node.args[0]).split(".")[0]


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_only_these_rooms_import(root, library):
    package = root / "src" / "ucdir"
    files = (file for file in sorted(package.rglob("*.py")) if library in imports_of(file))
    importing = [file.relative_to(package).as_posix() for file in files]
    assert importing
    assert [name for name in importing if not name.startswith(MAY_IMPORT[library])] == []


@pytest.mark.parametrize(
    "name",
    [
        "engines/onnx_engine.py",
        "model/onnx_folder.py",
        "model/onnx_graph.py",
        "model/onnx_proto.py",
        "model/reach.py",
    ],
)
def test_no_torch_in_what_the_engine_onnx_needs(root, name):
    assert "torch" not in set(imports_of(root / "src" / "ucdir" / name))


def test_what_the_package_offers(root):
    names = [
        "ConfigError", "DataError", "DeviceError", "ExtraError", "ImageError", "Inspection", "OutputError",
        "RestorationPipeline", "RestoredPhoto", "ResultError", "UcdirError", "WeightsError", "inspect", "list_models",
        "load", "restore",
    ]  # fmt: skip
    program = "import ucdir; print(sorted(ucdir.__all__)); print(set(ucdir.__all__) <= set(dir(ucdir)))\n"
    result = run(sys.executable, "-c", program, cwd=root / "src")
    assert result.stdout.splitlines() == [str(names), "True"]
    program = (
        "import ucdir; print(*(getattr(ucdir, name).__name__ for name in ucdir.__all__)); ucdir.no_such_thing"
    )
    result = run(sys.executable, "-c", program, cwd=root / "src")
    assert result.stdout.split() == names
    assert "AttributeError: module 'ucdir' has no attribute 'no_such_thing'" in result.stderr
    result = run(sys.executable, "-c", "import ucdir; ucdir.Pipeline", cwd=root / "src")
    assert "AttributeError: ucdir.Pipeline is now ucdir.RestorationPipeline" in result.stderr
    assert "ucdir.diffusers" in result.stderr
