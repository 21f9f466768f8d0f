"""DeepCR (vision): small UNets that find cosmic rays in pictures of the Hubble telescope."""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

from torch import nn


def acs_wfc() -> nn.Module:
    """Batch normalisation after each convolution."""
    network: nn.Module = _import("unet_batchnorm").UNet2SigmoidBatchNorm(1, 1, 32)
    return network


def wfc3_uvis() -> nn.Module:
    """Weight normalisation instead: each kernel is stored as a direction and a length."""
    network: nn.Module = _import("unet").UNet2Sigmoid(1, 1, 32)
    return network


def _import(name: str) -> Any:
    """Imports one module past the package's ``__init__``, which wants plotting and training."""
    found = find_spec("deepCR")
    assert found is not None
    sys.modules.setdefault("deepCR", module_from_spec(found))
    return import_module(f"deepCR.{name}")
