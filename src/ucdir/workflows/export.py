"""A model folder in ONNX form, for ONNX Runtime in any language, written from one in the usual form."""

from __future__ import annotations

from pathlib import Path

from ucdir.errors import OutputError, WeightsError, reason
from ucdir.images.atomic import remove_stale, sync, temporary_folder
from ucdir.images.paths import shown
from ucdir.model.folder import check_free, write_json
from ucdir.model.onnx_folder import MANIFEST, NAMES, Manifest, is_onnx, make_onnx

README = """\
# {task} in ONNX

An image restoration model of ucdir, in {precision}, for ONNX Runtime or any other program that reads ONNX.

| file | inputs (float32) | output (float32) |
|---|---|---|
| `predictor.onnx` | `degraded` [B,3,H,W]: the image, RGB in [-1,1] | the initial prediction [B,3,H,W], about [-1,1] |
| `diffusion_model.onnx` | `noisy`, `degraded`, `guidance` [B,3,H,W]; `noise_level` [B], √γ in (0,1){names} | \
the predicted {prediction} [B,3,H,W] |

{scalars}
`ucdir.json` holds what a caller must know: heights and widths are multiples of `multiple_of` ({multiple_of}; mirror the
image up to them, to {smallest} at least), and large images can be split into patches on that grid which overlap by
`receptive_field` ({receptive_field}) pixels on each side.

To restore an image x, with γ from `noise_levels` and s the `residual_scale` of `pipeline`:

1. guidance = predictor(x).
2. noisy = √(1-γ)·ε·`noise_scale`, ε of a normal distribution, at the first noise level √γ.
3. At each level, r = {step}, clipped so that guidance + r/s stays in [-1,1] (`residual_range` "image"; \
"unit" clips r/s to [-1,1]).
   Until the last level, a step of the sampler (`sampler`; DDIM: noisy = √γ'·r + √(1-γ')·(noisy - √γ·r)/√(1-γ)).
4. The result is guidance + r/s, clipped to [-1,1].

`ucdir restore --model FOLDER PHOTO` does all this with ONNX Runtime; `examples/restore_with_onnxruntime.py` of ucdir
does it in a page of NumPy.
"""


def export(folder: Path, output: Path, *, precision: str = "fp32") -> Manifest:
    """Write a model folder in ONNX form: two networks, `ucdir.json` and a README; it appears whole or not at all.

    Args:
        folder: of a model of our architecture.
        output: folder to write; it must not exist, or be empty.
        precision: fp32 or fp16.

    Raises:
        WeightsError: the folder is no such model.
        ConfigError: there is no such precision.
        OutputError: the output exists, or cannot be written.
    """
    if is_onnx(folder):
        raise WeightsError(
            f"{shown(folder)}: is in ONNX form already; name the folder that it was exported from."
        )
    check_free(output)
    model = make_onnx(folder, precision)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(output.parent)
        with temporary_folder(output.parent) as unfinished:
            for name, network in zip(NAMES, (model.predictor, model.diffusion_model), strict=True):
                (unfinished / f"{name}.onnx").write_bytes(network)
            write_json(unfinished / MANIFEST, model.manifest.model_dump())
            (unfinished / "README.md").write_text(_readme(model.manifest), encoding="utf-8")
            for place in (*unfinished.iterdir(), unfinished):
                sync(place)
            unfinished.replace(output)
            sync(output.parent)
    except OSError as error:
        raise OutputError(f"{shown(output)}: the model cannot be written ({reason(error)}).") from None
    return model.manifest


def _readme(manifest: Manifest) -> str:
    rows = [
        f"| `{name}` | {scalar.unit} | {scalar.range[0]:g} to {scalar.range[1]:g} | "
        f"{'NaN' if scalar.default is None else f'{scalar.default:g}'} |"
        for name, scalar in manifest.scalars.items()
    ]
    head = "Inputs [B] of `diffusion_model.onnx` for what is known of the degradation:\n\n"
    table = "| input | unit | values | where nothing is known |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    return README.format(
        task=manifest.pipeline.task.replace("_", " ").capitalize(), precision=manifest.precision,
        prediction=manifest.prediction, multiple_of=manifest.multiple_of, smallest=2 * manifest.multiple_of,
        receptive_field=manifest.receptive_field, names="".join(f", `{name}` [B]" for name in manifest.scalars),
        scalars=head + table if rows else "",
        step="(noisy - √(1-γ)·output)/√γ" if manifest.prediction == "noise" else "output",
    )  # fmt: skip
