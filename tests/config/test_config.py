"""A configuration is checked as a whole, and refused with every problem in one sentence that says where."""

import json

import pytest
from pydantic import ValidationError

from ucdir.config import PRESETS, Config, load_config, parse_config
from ucdir.errors import ConfigError
from ucdir.limits import MAX_CONFIG_BYTES
from ucdir.tasks import TASKS

MINIMAL = "data:\n  photos: photos\n"


@pytest.fixture
def load(tmp_path):
    """A function: text (or bytes) of a file -> its configuration."""

    def read(content):
        path = tmp_path / "my.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_config(path)

    return read


def test_all_problems_in_one_message(load):
    text = """
tusk: jpeg_restoration
seed: -1
model: {predictor: {channels: 0}, diffusion_model: {kernel_bases: 3}}
data: {crop: big}
training: {steps: 0, larning_rate: 1e-4, mixed_precision: fp8}
sampling: {start_fraction: 1.5}
"""
    with pytest.raises(ConfigError) as error:
        load(text)
    message = str(error.value)
    assert message.count("\n") == 0
    for problem in (
        "my.yaml: ",
        "unknown key 'tusk': remove it or correct its spelling",
        "'seed': Input should be greater than or equal to 0 (found -1)",
        "'model.predictor.channels': Input should be greater than or equal to 1 (found 0)",
        "'model.diffusion_model': kernel_bases 3 does not divide the channels of every level",
        "'data.crop': Input should be a valid integer",
        "'training.steps'",
        "unknown key 'training.larning_rate'",
        "'training.mixed_precision': Input should be 'no' or 'bf16' (found 'fp8')",
        "'sampling.start_fraction': Input should be less than or equal to 1 (found 1.5)",
    ):
        assert problem in message


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("model: {predictor: {multipliers: [1, 2], blocks: [1]}}", "multipliers has 2 levels and blocks 1"),
        ("model: {predictor: {multipliers: [], blocks: []}}", "model.predictor.multipliers"),
        ("model: {diffusion_model: {channels: 99999999999999}}", "less than or equal to 4096"),
        (f"model: {{predictor: {{blocks: {[1] * 13}, multipliers: {[1] * 13}}}}}", "at most 12"),
        ("diffusion: {beta_start: 0.5, beta_end: 0.1}", "beta_start 0.5 is above beta_end 0.1"),
        ("diffusion: {residual_scale: .inf}", "finite number"),
        ("training: {learning_rate: .nan}", "finite number"),
        ("training: {ema_decay: 1.0}", "less than 1"),
        ("training: {workers: 100000}", "'training.workers': Input should be less than or equal to 256"),
        ("jpeg: {qualities: [5, 101]}", "jpeg.qualities.1"),
        ("jpeg: {qualities: [5]}", "jpeg.qualities"),
        ("jpeg: {focus: [50, 20]}", r"focus \[50, 20\] is not a range within qualities \[5, 95\]"),
        ("jpeg: {qualities: [10, 20]}", r"focus \[5, 50\] is not a range within qualities \[10, 20\]"),
        ("sampling: {steps: 2001}", "less than or equal to 2000"),
        ("sampling: {sampler: ddpm, eta: 0}", "DDPM without its noise .eta 0. is DDIM: choose sampler ddim"),
        ("task: magic", "'task': there is no such task; choose one of jpeg_restoration, "),
        ("preset: huge", r"my.yaml: preset 'huge' is unknown; choose one of small, default, paper, release\.$"),
        ("preset: [paper]", "preset .* is unknown"),
        ("model: [1]", "'model'"),
        ("seed: 99999999999999999999", "'seed'"),
        ("1: 2", "1"),
    ],
)  # fmt: skip
def test_out_of_range(load, section, problem):
    with pytest.raises(ConfigError, match=problem):
        load(MINIMAL + section)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("sampling: {start: 0.3}", "'sampling.start' is now 'sampling.start_fraction'"),
        ("sampling: {noise: 0}", "'sampling.noise' is now 'sampling.noise_scale'"),
        ("sampling: {sampler: unipc}", "'sampling.sampler': UniPC was removed; choose dpm_solver"),
        ("model: paper", "'model': a preset is now named by a key of its own: preset: small"),
        ("training: {objective: few_steps}", "'few_steps' is now 'sampler_aware'"),
        (
            "model: {diffusion_model: {residual_deviation: 0.3}}",
            "'model.diffusion_model.residual_deviation' is now 'model.diffusion_model.sigma_data'",
        ),
    ],
)
def test_a_key_of_an_earlier_version_names_the_new_one(load, section, problem):
    with pytest.raises(ConfigError, match=problem):
        load(MINIMAL + section)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E-4", 1e-4), ("1.e-4", 1e-4), ("1.0e-4", 1e-4), ("2.5e+0", 2.5), ("0.1", 0.1)],
)
def test_numbers_as_people_write_them(load, text, value):
    assert load(MINIMAL + f"training: {{learning_rate: {text}}}").training.learning_rate == value


def test_own_keys_win_over_those_of_the_preset_one_by_one(load):
    plain = load(MINIMAL)
    assert plain == load(MINIMAL + "preset: default")
    assert {"data", *PRESETS["default"].model_dump()} <= set(plain.model_dump())
    assert all(getattr(plain, name) == value for name, value in PRESETS["default"])
    own = load(
        MINIMAL + "preset: paper\nmodel: {diffusion_model: {norm: group_norm}}\ntraining: {batch_size: 8}"
    )
    paper = PRESETS["paper"]
    assert (own.diffusion, own.sampling, own.model.predictor) == (
        paper.diffusion,
        paper.sampling,
        paper.model.predictor,
    )
    assert own.training == paper.training.model_copy(update={"batch_size": 8})
    assert own.model.diffusion_model == paper.model.diffusion_model.model_copy(update={"norm": "group_norm"})


def test_the_scalars_are_by_default_the_tasks(load):
    assert load(MINIMAL + "task: low_light").model.diffusion_model.scalars == TASKS["low_light"].scalars
    assert load(MINIMAL + "task: deblurring\npreset: paper").model.diffusion_model.scalars[0] == "blur_type"
    none = load(MINIMAL + "task: low_light\nmodel: {diffusion_model: {scalars: []}}")
    assert none.model.diffusion_model.scalars == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "expected keys and values, found nothing"),
        ("# only a comment\n", "expected keys and values, found nothing"),
        ("- a\n- b\n", "found a list"),
        ("just words", "found a str"),
        ("a: &x 1\nb: *x\n", r"aliases \(\*name\) are not supported"),
        (MINIMAL + MINIMAL, "line 3: is not valid YAML .key 'data' is given twice"),
        ("training: {steps: 1, steps: 2}", "key 'steps' is given twice"),
        ("a: [1, 2", "line 1: is not valid YAML"),
        ("a: b: c", "is not valid YAML"),
        ("\tdata: x", "is not valid YAML"),
        ("? [1, 2]\n: 3", "is not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("a: 1\n---\nb: 2", "is not valid YAML"),
        ("[" * 20_000, "is not valid YAML"),
        (b"data: \xff\xfe", "cannot be read"),
        (b"data: \x00\x01", "is not valid YAML"),
        ("x: " + "9" * 5000, "is not valid YAML"),
        ("#" * (MAX_CONFIG_BYTES + 1), f"larger than {MAX_CONFIG_BYTES} bytes"),
    ],
)  # fmt: skip
def test_not_a_configuration(load, content, problem):
    with pytest.raises(ConfigError, match=problem) as error:
        load(content)
    assert "my.yaml" in str(error.value)
    assert len(str(error.value)) < 500


def test_no_such_file_or_a_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file; configs/ holds examples"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    "name", ["config_billion_laughs.yaml", "config_pyobject.yaml", "config_deep.json", "config_huge_int.json"]
)
def test_hostile_configurations(test_data, name):
    with pytest.raises(ConfigError, match=name):
        load_config(test_data / "hostile" / "checkpoints" / name)


def test_frozen(load):
    config = load(MINIMAL)
    for change in (lambda: setattr(config, "seed", 1), lambda: setattr(config.training, "steps", 1)):
        with pytest.raises(ValidationError, match="frozen"):
            change()
    assert hash(config) == hash(load(MINIMAL))


def test_json_and_back(load):
    config = load(MINIMAL + "task: deblurring\npreset: paper\njpeg: {focus: [7, 9]}")
    assert parse_config(json.loads(config.model_dump_json()), "json") == config


def test_every_field_says_what_it_is():
    """The field is the help text too."""

    def walk(model):
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                walk(field.annotation)
            else:
                assert field.description, f"{model.__name__}.{name}"

    walk(Config)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "name photos .*, pairs, or degraded and clean"),
        ({"degraded": "a"}, "degraded and clean go together"),
        ({"pairs": "a", "degraded": "b", "clean": "c"}, "either pairs, or degraded and clean"),
    ],
)
def test_where_the_pictures_are_has_to_be_said_once(data, words):
    with pytest.raises(ConfigError, match=words):
        parse_config({"data": data}, "mine")


def test_pairs_in_three_lines():
    two = parse_config({"task": "deblurring", "data": {"degraded": "a", "clean": "b"}}, "mine").data
    assert two.has_pairs
    assert [str(place) for place in two.folders] == ["a", "b"]
    assert parse_config({"data": {"photos": "a", "pairs": "b.txt"}}, "mine").data.has_pairs
    assert not parse_config({"data": {"photos": "a"}}, "mine").data.has_pairs
