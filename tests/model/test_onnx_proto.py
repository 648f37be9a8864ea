"""The ONNX files that are written here, read by the package onnx."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ucdir.model import onnx_proto
from ucdir.model.onnx_folder import make_onnx
from ucdir.model.pretrained import list_models, model_folder


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**63)])
def test_whole_numbers(value):
    found = onnx.AttributeProto.FromString(onnx_proto.attribute("name", value))
    assert found == helper.make_attribute("name", value)


@pytest.mark.parametrize(
    "value", [0.0, 1e-6, -2.5, float("inf"), "text", "", "größer", [1, -1, 2**40], (3, 3)]
)
def test_attributes(value):
    found = onnx.AttributeProto.FromString(onnx_proto.attribute("name", value))
    assert found == helper.make_attribute("name", value)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 3), (0,)])
def test_tensors(dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    found = onnx.TensorProto.FromString(onnx_proto.tensor("name", array))
    assert found.name == "name"
    np.testing.assert_array_equal(numpy_helper.to_array(found), array)
    assert numpy_helper.to_array(found).dtype == dtype


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_networks_are_valid(name, precision):
    model = make_onnx(model_folder(name), precision)
    for network in (model.predictor, model.diffusion_model):
        found = onnx.load_from_string(network)
        onnx.checker.check_model(found, full_check=True)  # infers every shape, too
        assert len(found.SerializeToString()) == len(network), (
            "nothing is in it that the package does not know"
        )
        assert found.ir_version == onnx_proto.IR_VERSION
        assert [(one.domain, one.version) for one in found.opset_import] == [("", onnx_proto.OPSET)]
        (output,) = found.graph.output
        assert output == helper.make_tensor_value_info(
            "output", onnx.TensorProto.FLOAT, ("batch", 3, "height", "width")
        )


def test_control_a_damaged_network_is_not_valid():
    model = make_onnx(model_folder("low_light"))
    found = onnx.load_from_string(model.predictor)
    found.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(Exception, match="NoSuchOperator"):
        onnx.checker.check_model(found, full_check=True)
