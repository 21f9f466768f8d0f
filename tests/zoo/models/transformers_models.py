"""Builds a model of the transformers library from its class and its configuration."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import nn


def build(model: str, config: Mapping[str, Any]) -> nn.Module:
    """Returns a model with the weights of a fresh one.

    Args:
        model: name of a class.
        config: arguments of its configuration's class.
    """
    chosen = getattr(import_module("transformers"), model)
    made: nn.Module = chosen(chosen.config_class(**config))
    return made
