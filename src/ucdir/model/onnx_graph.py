"""The networks as ONNX graphs, built from a model folder's settings and weights without torch.

Written node by node rather than traced, so that an export takes a fraction of a second, needs no further package, and
has the form that runs well in ONNX Runtime:

- The AKGM (Eq. 2) is one dense convolution for each group of channels, a product with M, and a sum over the bases
  (`akgm_slices`), rather than one convolution in groups with N·C outputs (`akgm_grouped`).
- A stem on r x r unshuffled pixels is one convolution of stride r.
- Batch, height and width are free, and no node asks for a shape.

`tests/model/test_onnx_graph.py` compares every variant with its network in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ucdir.config import DiffusionModelConfig, PredictorConfig
from ucdir.errors import WeightsError
from ucdir.model import onnx_proto
from ucdir.tasks.scalars import SCALARS

Array = NDArray[Any]
Weights = Mapping[str, Array]
"""By their names in the state dict of the network, as in its safetensors file."""

PRECISIONS: Final[dict[str, type[np.floating[Any]]]] = {"fp32": np.float32, "fp16": np.float16}
"""By name: what the weights and all that passes between them are in. Inputs and outputs are in float32."""

GATE: Final = 8
"""Channels of the guidance branch behind its gate, half of `model.cim.GATE_CHANNELS`."""
IMAGE: Final = ("batch", 3, "height", "width")


class Graph:
    """A graph under construction; its values are known by their names."""

    def __init__(self, weights: Weights, dtype: type[np.floating[Any]], akgm: str = "slices") -> None:
        self.weights = weights
        self.dtype = dtype
        self.akgm = AKGM[akgm]
        self.used: set[str] = set()
        self.nodes: list[bytes] = []
        self.constants: dict[str, Array] = {}

    def __call__(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; the name of its output, or a list of them."""
        names = [f"{kind}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(onnx_proto.node(kind, inputs, names, attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = None) -> str:
        """A constant, by default in the graph's precision."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(np.asarray(value, dtype=dtype or self.dtype))
        return name

    def weight(self, name: str, *shape: int) -> Array:
        """Weights of the network, in float32.

        Raises:
            WeightsError: they are missing, of another shape, or not finite.
        """
        found = self.weights.get(name)
        if found is None or found.shape != shape:
            what = "is missing" if found is None else f"has the shape {list(found.shape)}"
            raise WeightsError(f"{name:.80} {what}, expected {list(shape)}")
        if not np.isfinite(found).all():
            raise WeightsError(f"{name:.80} holds values that are not finite")
        self.used.add(name)
        return found.astype(np.float32)

    def cast(self, value: str, dtype: Any) -> str:
        """A value in another type."""
        return str(self("Cast", value, to=onnx_proto.DATA_TYPES[np.dtype(dtype)]))

    def lower(self, value: str) -> str:
        """A value of float32 in the graph's precision."""
        return value if self.dtype == np.float32 else self.cast(value, self.dtype)

    def higher(self, value: str) -> str:
        """A value in the graph's precision in float32."""
        return value if self.dtype == np.float32 else self.cast(value, np.float32)

    def unsqueeze(self, value: str, *axes: int) -> str:
        """A value with more axes of length 1."""
        return str(self("Unsqueeze", value, self.constant(axes, np.int64)))

    def split(self, value: str, count: int) -> list[str]:
        """Equal parts of a value's channels."""
        return self("Split", value, axis=1, num_outputs=count, outputs=count) if count > 1 else [value]

    def conv(self, x: str, weight: Array, bias: Array | None = None, **attributes: Any) -> str:
        """A convolution that keeps height and width, unless strides say otherwise."""
        pad = weight.shape[-1] // 2
        attributes = {"kernel_shape": weight.shape[2:], "pads": [pad] * 4, **attributes}
        constants = [self.constant(array) for array in (weight, bias) if array is not None]
        return str(self("Conv", x, *constants, **attributes))

    def conv2d(self, x: str, name: str, inputs: int, outputs: int, k: int, **attributes: Any) -> str:
        """An `nn.Conv2d` of the network."""
        weight = self.weight(f"{name}.weight", outputs, inputs, k, k)
        return self.conv(x, weight, self.weight(f"{name}.bias", outputs), **attributes)

    def linear(self, x: str, name: str, inputs: int, outputs: int) -> str:
        """An `nn.Linear` of the network."""
        weight, bias = self.weight(f"{name}.weight", outputs, inputs), self.weight(f"{name}.bias", outputs)
        return str(self("Gemm", x, self.constant(weight), self.constant(bias), transB=1))

    def model(self, inputs: Mapping[str, Sequence[str | int]], output: str) -> bytes:
        """The finished model, as a file holds it: inputs and their shapes in float32, and one output [B,3,H,W].

        Raises:
            WeightsError: weights are left over.
        """
        left = sorted(self.weights.keys() - self.used)
        if left:
            raise WeightsError(f"{left[0]:.80} is no weight of this network")
        self.nodes.append(onnx_proto.node("Identity", [output], ["output"], {}))
        return onnx_proto.model(self.nodes, self.constants, inputs, {"output": IMAGE})


# ------------------------------------------------------------------------------------------------------- layers


def swish(g: Graph, x: str) -> str:
    """`nn.SiLU`."""
    return str(g("Mul", x, g("Sigmoid", x)))


def relu(g: Graph, x: str) -> str:
    """`nn.ReLU`."""
    return str(g("Relu", x))


ACTIVATIONS: Final[dict[str, Callable[[Graph, str], str]]] = {"swish": swish, "relu": relu}


def layer_norm(g: Graph, x: str, name: str, channels: int) -> str:
    """`model.layers.LayerNorm`."""
    weight, bias = (g.constant(g.weight(f"{name}.{part}", channels)) for part in ("weight", "bias"))
    x = g("Transpose", x, perm=[0, 2, 3, 1])
    return str(g("Transpose", g("LayerNormalization", x, weight, bias, epsilon=1e-6), perm=[0, 3, 1, 2]))


def group_norm(g: Graph, x: str, name: str, channels: int) -> str:
    """`model.layers.GroupNorm`."""
    weight, bias = (g.constant(g.weight(f"{name}.{part}", channels)) for part in ("weight", "bias"))
    groups = max(1, channels // 32)
    return str(g("GroupNormalization", x, weight, bias, num_groups=groups, epsilon=1e-5))


def no_norm(g: Graph, x: str, name: str, channels: int) -> str:
    """`model.layers.NoNorm`."""
    return x


NORMS: Final[dict[str, Callable[[Graph, str, str, int], str]]] = {
    "layer_norm": layer_norm, "group_norm": group_norm, "none": no_norm,
}  # fmt: skip


# ---------------------------------------------------------------------------- Eq. 2: Σ_b M[b]·(W_b * x) + bias


def akgm_slices(g: Graph, x: str, m: str, bases: Array, bias: Array) -> str:
    """Group by group: a dense convolution of C/N channels to the outputs of all bases, times M, summed.

    Args:
        g: the graph.
        x: features [B,C,H,W].
        m: M, each basis repeated to the C/N outputs of a group: [B,C,H,W] or [B,C,1,1].
        bases: [C·N, C/N, k, k], row c·N + b for output channel c and basis b.
        bias: [C].

    Returns:
        [B,C,H,W].
    """
    sums = []
    by_group = weights_by_group(bases, len(bias))
    for channels, weights in zip(g.split(x, len(by_group)), by_group, strict=True):
        products = g("Mul", g.conv(channels, weights), m)
        sums.append(g("Sum", *g.split(products, len(by_group))))
    return str(g("Add", g("Concat", *sums, axis=1), g.constant(bias[:, None, None])))


def akgm_grouped(g: Graph, x: str, m: str, bases: Array, bias: Array) -> str:
    """One convolution in groups with N·C outputs; as `akgm_slices`, and slower."""
    by_group = weights_by_group(bases, len(bias))
    count = len(by_group)
    outputs = g.conv(x, np.concatenate(list(by_group)), group=count)
    products = g("Mul", outputs, g("Concat", *[m] * count, axis=1))
    # [B, group, basis, C/N, pixels]
    split = g("Reshape", products, g.constant([0, count, count, bases.shape[1], -1], np.int64))
    total = g("Reshape", g("ReduceSum", split, g.constant([2], np.int64), keepdims=0), g("Shape", x))
    return str(g("Add", total, g.constant(bias[:, None, None])))


def weights_by_group(bases: Array, channels: int) -> Array:
    """[C·N, C/N, k, k] -> [N groups, C, C/N, k, k]; the outputs of a group are ordered basis by basis."""
    width, k = bases.shape[1], bases.shape[-1]
    count = channels // width
    by_basis = bases.reshape(count, width, count, width, k, k).transpose(0, 2, 1, 3, 4, 5)
    return by_basis.reshape(count, channels, width, k, k)


AKGM: Final = {"slices": akgm_slices, "grouped": akgm_grouped}
"""By name; the second is for comparison."""


# ------------------------------------------------------------------------------------------ conditions of a block


def guidance_branch(
    g: Graph, guidance: str, name: str, inputs: int, outputs: int, k: int, repeats: int = 1
) -> str:
    """`model.cim.guidance_branch`, each of its outputs `repeats` times; each half of the gate has its convolution."""
    weight, bias = g.weight(f"{name}.0.weight", 2 * GATE, inputs, 1, 1), g.weight(f"{name}.0.bias", 2 * GATE)
    halves = [g.conv(guidance, weight[half], bias[half]) for half in (slice(GATE), slice(GATE, None))]
    weight, bias = g.weight(f"{name}.2.weight", outputs, GATE, k, k), g.weight(f"{name}.2.bias", outputs)
    return g.conv(g("Mul", *halves), weight.repeat(repeats, 0), bias.repeat(repeats, 0))


def scalar_branch(g: Graph, embedding: str, name: str, inputs: int, outputs: int, repeats: int = 1) -> str:
    """`model.cim.scalar_branch`, each of its outputs `repeats` times: [B,D] -> [B,C,1,1]."""
    h = swish(g, g.linear(embedding, f"{name}.0", inputs, inputs))
    weight, bias = g.weight(f"{name}.2.weight", outputs, inputs), g.weight(f"{name}.2.bias", outputs)
    weight, bias = weight.repeat(repeats, 0), bias.repeat(repeats, 0)
    return g.unsqueeze(g("Gemm", h, g.constant(weight), g.constant(bias), transB=1), 2, 3)


Injection = Callable[[Graph, str, str, str, str, int, DiffusionModelConfig], str]
"""(graph, features, guidance, embedding, name, channels, config) -> features: a variant of CIM."""


def akgm(
    g: Graph, x: str, guidance: str, embedding: str, name: str, channels: int, config: DiffusionModelConfig
) -> str:
    """`model.cim.AdaptiveKernelGuidance`."""
    count, width = config.kernel_bases, channels // config.kernel_bases
    m = scalar_branch(g, embedding, f"{name}.scalars", config.scalar_channels, count, width)
    if inputs := GUIDANCE_CHANNELS[config.spatial_guidance](channels):
        m = g("Mul", guidance_branch(g, guidance, f"{name}.guidance", inputs, count, 3, width), m)
    bases = g.weight(f"{name}.bases", channels * count, width, 3, 3)
    return g.akgm(g, x, m, bases, g.weight(f"{name}.bias", channels))


def conditions(
    g: Graph,
    guidance: str,
    embedding: str,
    name: str,
    channels: int,
    outputs: int,
    config: DiffusionModelConfig,
) -> str:
    """`model.cim.ConditionBranch`."""
    total = scalar_branch(g, embedding, f"{name}.scalars", config.scalar_channels, outputs)
    if inputs := GUIDANCE_CHANNELS[config.spatial_guidance](channels):
        total = g("Add", total, guidance_branch(g, guidance, f"{name}.guidance", inputs, outputs, 1))
    return total


def addition(
    g: Graph, x: str, guidance: str, embedding: str, name: str, channels: int, config: DiffusionModelConfig
) -> str:
    """`model.cim.Addition`."""
    c = conditions(g, guidance, embedding, f"{name}.conditions", channels, channels, config)
    return g.conv2d(g("Add", x, c), f"{name}.conv", channels, channels, 3)


def concatenation(
    g: Graph, x: str, guidance: str, embedding: str, name: str, channels: int, config: DiffusionModelConfig
) -> str:
    """`model.cim.Concatenation`."""
    c = conditions(g, guidance, embedding, f"{name}.conditions", channels, channels, config)
    if not GUIDANCE_CHANNELS[config.spatial_guidance](channels):
        c = g("Add", g("Mul", x, g.constant(0)), c)  # at every pixel
    return g.conv2d(g("Concat", x, c, axis=1), f"{name}.conv", 2 * channels, channels, 3)


def adain(
    g: Graph, x: str, guidance: str, embedding: str, name: str, channels: int, config: DiffusionModelConfig
) -> str:
    """`model.cim.AdaIN`."""
    c = conditions(g, guidance, embedding, f"{name}.conditions", channels, 2 * channels, config)
    scale, shift = g.split(c, 2)
    scaled = g("Mul", g("Add", scale, g.constant(1)), x)
    return g.conv2d(g("Add", scaled, shift), f"{name}.conv", channels, channels, 3)


INJECTIONS: Final[dict[str, Injection]] = {
    "akgm": akgm, "addition": addition, "concatenation": concatenation, "adain": adain,
}  # fmt: skip
GUIDANCE_CHANNELS: Final[dict[str, Callable[[int], int]]] = {
    "initial": lambda width: 3, "degraded": lambda width: 3, "internal": lambda width: width, "none": lambda width: 0,
}  # fmt: skip
"""Channels of the guidance of a block of some width, as in `model.spatial_guidance`."""


# ------------------------------------------------------------------------------------------------------ networks


def predictor_block(g: Graph, x: str, name: str, channels: int, config: PredictorConfig) -> str:
    """`model.predictor.PredictorBlock`."""
    h = g.conv2d(NORMS[config.norm](g, x, f"{name}.norm", channels), f"{name}.conv1", channels, channels, 3)
    h = ACTIVATIONS[config.activation](g, h)
    return str(g("Add", x, g.conv2d(h, f"{name}.conv2", channels, channels, 3)))


def basic_module(
    g: Graph, x: str, name: str, channels: int, config: DiffusionModelConfig, guidance: str, embedding: str
) -> str:
    """`model.block.BasicModule`."""
    norm, activation = NORMS[config.norm], ACTIVATIONS[config.activation]
    h = g.conv2d(norm(g, x, f"{name}.norm1", channels), f"{name}.conv1", channels, channels, 3)
    h = norm(g, activation(g, h), f"{name}.norm2", channels)
    own = h if config.spatial_guidance == "internal" else guidance
    h = INJECTIONS[config.injection](g, h, own, embedding, f"{name}.conv2", channels, config)
    return str(g("Add", x, activation(g, h)))


def dvsr_block(
    g: Graph, x: str, name: str, channels: int, config: DiffusionModelConfig, guidance: str, embedding: str
) -> str:
    """`model.block.DvsrBlock`."""
    activation = ACTIVATIONS[config.activation]
    h = g.conv2d(activation(g, x), f"{name}.conv1", channels, channels, 3)
    h = g("Add", h, scalar_branch(g, embedding, f"{name}.scalars", config.scalar_channels, channels))
    return str(g("Add", x, g.conv2d(activation(g, h), f"{name}.conv2", channels, channels, 3)))


BLOCKS: Final = {"basic": basic_module, "dvsr": dvsr_block}


def unet(
    g: Graph, image: str, inputs: int, config: PredictorConfig, block: Callable[[str, str, int, int], str]
) -> str:
    """`model.unet.UNet` with 3 outputs; `block` is (features, name, channels, level) -> features."""
    widths, r = [config.channels * multiplier for multiplier in config.multipliers], config.unshuffle

    def level_of(x: str, way: str, level: int) -> str:
        for number in range(config.blocks[level]):
            x = block(x, f"unet.{way}.{level}.{number}", widths[level], level)
        return x

    # k x k on r x r unshuffled pixels, whose channels are ordered (c,i,j), is (k·r) x (k·r) in strides of r
    stem = g.weight("unet.stem.weight", widths[0], inputs * r**2, 3, 3).reshape(widths[0], inputs, r, r, 3, 3)
    stem = stem.transpose(0, 1, 4, 2, 5, 3).reshape(widths[0], inputs, 3 * r, 3 * r)
    x = g.conv(image, stem, g.weight("unet.stem.bias", widths[0]), strides=[r, r], pads=[r] * 4)
    skips = []
    for level, width in enumerate(widths):
        x = level_of(x, "down", level)
        if level < len(widths) - 1:
            skips.append(x)
            name = f"unet.downsample.{level}"
            x = g.conv2d(x, name, width, widths[level + 1], 2, strides=[2, 2], pads=[0] * 4)
    for level in reversed(range(len(widths) - 1)):
        width = widths[level]
        x = g.conv2d(x, f"unet.upsample.{level}.conv", widths[level + 1], 4 * width, 1)
        x = g("Concat", g("DepthToSpace", x, blocksize=2, mode="CRD"), skips.pop(), axis=1)
        x = level_of(g.conv2d(x, f"unet.merge.{level}", 2 * width, width, 1), "up", level)
    x = g.conv2d(x, "unet.head", widths[0], 3 * r**2, 3)
    return g("DepthToSpace", x, blocksize=r, mode="CRD") if r > 1 else x


def predictor_graph(config: PredictorConfig, weights: Weights, precision: str = "fp32") -> bytes:
    """u_φ as an ONNX file's bytes: degraded [B,3,H,W] -> output [B,3,H,W], float32, see `InitialPredictor.forward`.

    Args:
        config: as its config.json holds it.
        weights: by name.
        precision: a name in `PRECISIONS`.

    Raises:
        WeightsError: settings and weights do not fit, without the file's name and the last stop.
    """
    g = Graph(weights, PRECISIONS[precision])
    image = g.lower("degraded")
    known(("activation", config.activation, ACTIVATIONS), ("norm", config.norm, NORMS))
    x = unet(g, image, 3, config, lambda x, name, width, level: predictor_block(g, x, name, width, config))
    return g.model({"degraded": IMAGE}, g.higher(g("Add", image, x)))


def diffusion_model_graph(
    config: DiffusionModelConfig, weights: Weights, precision: str = "fp32", akgm_form: str = "slices"
) -> bytes:
    """f_θ as an ONNX file's bytes; see `DiffusionModel.forward`.

    Its inputs, all of float32, are noisy, degraded and guidance [B,3,H,W], noise_level [B], and each scalar [B] by its
    name, NaN where it is unknown.

    Args:
        config: as its config.json holds it.
        weights: by name.
        precision: a name in `PRECISIONS`.
        akgm_form: a name in `AKGM`.

    Raises:
        WeightsError: settings and weights do not fit, without the file's name and the last stop.
    """
    known(
        ("activation", config.activation, ACTIVATIONS), ("block", config.block, BLOCKS), ("norm", config.norm, NORMS),
        ("injection", config.injection, INJECTIONS), ("prediction", config.prediction, PRECONDITIONS),
        ("spatial_guidance", config.spatial_guidance, GUIDANCE_CHANNELS),
        *(("scalars", name, SCALARS) for name in config.scalars),
    )  # fmt: skip
    g = Graph(weights, PRECISIONS[precision], akgm_form)
    embedding = scalar_encoder(g, config)
    image = g.lower("degraded" if config.spatial_guidance == "degraded" else "guidance")
    if config.unshuffle > 1:
        image = pooled(g, image, config.unshuffle)
    pyramid = [image]
    for _ in config.multipliers[1:]:
        pyramid.append(pooled(g, pyramid[-1], 2))

    def block(x: str, name: str, width: int, level: int) -> str:
        return BLOCKS[config.block](g, x, name, width, config, pyramid[level], embedding)

    x = unet(g, g("Concat", g.lower("noisy"), g.lower("degraded"), axis=1), 6, config, block)
    output = (
        PRECONDITIONS[config.prediction](g, g.higher(x), config.sigma_data)
        if config.sigma_data
        else g.higher(x)
    )
    inputs: dict[str, Sequence[str | int]] = dict.fromkeys(("noisy", "degraded", "guidance"), IMAGE)
    return g.model({**inputs, **dict.fromkeys(("noise_level", *config.scalars), ("batch",))}, output)


def known(*choices: tuple[str, str, Mapping[str, Any]]) -> None:
    """Refuse names that a table does not have: (key, name, table).

    Raises:
        WeightsError: there is such a name.
    """
    for key, name, table in choices:
        if name not in table:
            raise WeightsError(f"{key} {name!r:.80} is unknown, expected one of {', '.join(table)}")


def pooled(g: Graph, image: str, size: int) -> str:
    """The mean over cells of `size` x `size` pixels."""
    return str(g("AveragePool", image, kernel_shape=[size, size], strides=[size, size]))


def scalar_encoder(g: Graph, config: DiffusionModelConfig) -> str:
    """`model.scalars.ScalarEncoder`: [B,D]; angles are in float32, whatever the weights are."""
    channels = config.scalar_channels
    # a product of float32 in the order of `model.scalars.sinusoidal`, as an angle of 1000π has 4 digits after the point
    frequencies = g.constant(
        np.exp(np.linspace(0, math.log(1000), channels // 2, dtype=np.float32)), np.float32
    )

    def sinusoidal(value: str) -> str:
        angles = g("Mul", g("Mul", g.unsqueeze(value, 1), frequencies), g.constant(math.pi, np.float32))
        return str(g("Concat", g("Sin", angles), g("Cos", angles), axis=1))

    name = "scalar_encoder.linear.noise_level"
    total = g.linear(g.lower(sinusoidal("noise_level")), name, channels, channels)
    for name in config.scalars:
        scalar = SCALARS[name]
        low, high = scalar.scale
        value, unknown = name, g.weight(f"scalar_encoder.unknown.{name}", channels)
        if scalar.logarithmic:
            value = g("Log", g("Max", value, g.constant(low, np.float32)))
            low, high = math.log(low), math.log(high)
        value = g("Div", g("Sub", value, g.constant(low, np.float32)), g.constant(high - low, np.float32))
        value = g("Clip", value, g.constant(0, np.float32), g.constant(1, np.float32))
        is_unknown = g.unsqueeze(g("IsNaN", name), 1)
        embedding = g("Where", is_unknown, g.constant(unknown, np.float32), sinusoidal(value))
        own = g.linear(g.lower(embedding), f"scalar_encoder.linear.{name}", channels, channels)
        total = g("Add", total, own)
    return str(total)


def _shares(g: Graph, sigma_data: float) -> tuple[str, str, str]:
    """√γ, s²γ and 1-γ, each [B,1,1,1]."""
    level = g.unsqueeze("noise_level", 1, 2, 3)
    scaled = g("Mul", level, g.constant(sigma_data, np.float32))
    rest = g("Sub", g.constant(1, np.float32), g("Mul", level, level))
    return level, g("Mul", scaled, scaled), g("Max", rest, g.constant(0, np.float32))


def precondition(g: Graph, output: str, sigma_data: float) -> str:
    """`model.diffusion_model.precondition`."""
    _, signal, noise = _shares(g, sigma_data)
    total = g("Add", signal, noise)
    linear = g("Mul", g("Div", g("Sqrt", noise), total), "noisy")
    return str(g("Sub", linear, g("Mul", g("Sqrt", g("Div", signal, total)), output)))


def precondition_residual(g: Graph, output: str, sigma_data: float) -> str:
    """`model.diffusion_model.precondition_residual`."""
    level, signal, noise = _shares(g, sigma_data)
    total = g("Add", signal, noise)
    skip = g("Div", g("Mul", level, g.constant(sigma_data**2, np.float32)), total)
    scale = g("Mul", g("Sqrt", g("Div", noise, total)), g.constant(sigma_data, np.float32))
    return str(g("Add", g("Mul", skip, "noisy"), g("Mul", scale, output)))


PRECONDITIONS: Final = {"noise": precondition, "residual": precondition_residual}
"""By the name of the prediction."""
