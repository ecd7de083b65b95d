"""What a window's stored values become on a GPU, by torch, is what numpy makes of them on a processor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cube.layers import Layer
from cube.layers.inputs import INPUTS
from inference.data.channels import channels_of, decoded, decoded_by_torch

NUMBERS = Layer("series", "inputs/50m", "uint8", 255, "Series", "1", ("band", "quarter"), scale=0.004, offset=-0.02)
OTHERS = {
    "uint16": replace(NUMBERS, dtype="uint16", fill=65535),
    "int16": replace(NUMBERS, dtype="int16", fill=-32768),
    "int32": replace(NUMBERS, dtype="int32", fill=-(2**31)),  # its neighbours are no gaps, though float32 takes them for one
    "float32": replace(NUMBERS, dtype="float32", fill=np.nan, scale=1.0, offset=0.0),
    "a plain layer": replace(NUMBERS, dims=()),
    "classes": replace(INPUTS["igbp"], dims=()),
    "landcover": INPUTS["landcover"],
}


@pytest.mark.parametrize("layer", [NUMBERS, *OTHERS.values()], ids=["uint8", *OTHERS])
def test_a_gpu_decodes_as_a_processor_does(layer: Layer) -> None:
    rng = np.random.default_rng(0)
    lead = [len(layer.labels[dim]) if dim in layer.labels else 3 for dim in layer.dims]
    codes = rng.integers(0, 20, (*lead, 8, 12)).astype(layer.dtype)
    stored = np.where(rng.random(codes.shape) < 0.2, np.asarray(layer.fill, layer.dtype), codes).astype(layer.dtype)
    stored[..., 2:4, 5] = layer.fill
    if layer.dtype == "int32":
        stored[..., 6, 7] = layer.fill + 1
    values, has_value = decoded(layer, torch.from_numpy(stored))
    by_torch, has_value_by_torch = decoded_by_torch(layer, torch.from_numpy(stored))
    assert torch.equal(has_value, has_value_by_torch)
    assert not has_value[2:4, 5].any()
    assert has_value.any()
    assert by_torch.dtype == values.dtype == torch.float32
    torch.testing.assert_close(by_torch, values, atol=0, rtol=0, equal_nan=True)


def test_classes_have_channels_of_different_names_where_one_is_called_by_the_number_of_another() -> None:
    flags = ((1, "2", "#000000"), (2, "chalk", "#000000"), (3, "chalk", "#000000"))
    layer = replace(INPUTS["surface"], name="rock", flags=flags)
    assert [channel.name for channel in channels_of(layer)] == ["rock.1", "rock.2", "rock.3"]
