"""The original model in PyTorch, built anew: in its own precision, or widened to float64."""

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, redirect_stdout
from typing import TYPE_CHECKING

import numpy as np

from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.checkpoint.state_dict import common_prefix
from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import ModelError
from ascend_migrate.pipeline.model_call import called_by_name, named_outputs
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.printable import in_one_line
from ascend_migrate.validators.cases import Array, Feeds, widened_array
from ascend_migrate.validators.ledger.weights import Weight, weights_of_checkpoint
from ascend_migrate.validators.original import REDUCED, Original, Outputs, Session, Traced, Visit
from ascend_migrate.validators.torch_constants import Constants
from ascend_migrate.validators.torch_reads import recorded_reads
from ascend_migrate.validators.torch_settings import autocasts, reduced, settings, strict, types_of

if TYPE_CHECKING:
    import torch

_REASON = 300
"""Characters of a foreign error message that are passed on."""


class TorchOriginal(Original):
    """The model that ``build`` returns, a new one for each session.

    Args:
        build: makes the model with the checkpoint's weights, in eval mode.
        checkpoint: where the weights come from, for the ledger.
        device: where it runs, such as ``cuda``. Only the CPU was at hand: not verified on others.
    """

    def __init__(
        self,
        build: Callable[[], "torch.nn.Module"],
        checkpoint: Checkpoint,
        device: str = "cpu",
    ) -> None:
        self._build = build if device == "cpu" else lambda: _placed(build(), device)
        self._device = device
        self._checkpoint = checkpoint
        self._types = ""
        self._autocasts: set[str] = set()

    def session(self) -> Session:
        """Returns the model as it was trained; what it keeps in itself lives as long."""
        model = self._build()
        return lambda feeds: _call(model, feeds)

    def exact(self) -> Session:
        """Returns the model with every float widened to float64."""
        from ascend_migrate.validators.torch_float64 import widened, widening

        model = widened(self._build())

        def call(feeds: Feeds) -> Outputs:
            # Layers compare their input's type with their weights' before any operator runs.
            with widening():
                return _call(model, {name: widened_array(array) for name, array in feeds.items()})

        return call

    def lowered(self, precision: Precision, overflows: dict[str, float]) -> Session:
        """Returns the model with the policy's rounding after each operator."""
        from ascend_migrate.validators.torch_lowered import Lowering

        model = self._build()
        lowering = Lowering(model, precision, overflows)

        def call(feeds: Feeds) -> Outputs:
            with lowering.rounding():
                return _call(model, feeds)

        return call

    def weights(
        self,
        feeds: Feeds,
        precision: Precision | None = None,
        constants: set[str] | None = None,
    ) -> Mapping[str, Weight]:
        """Returns every tensor of the checkpoint, and whether a call's results depend on it."""
        # The model is gone before the file is read: its weights are the same pages once more.
        used = self._used(feeds, precision, constants)
        return weights_of_checkpoint(self._checkpoint, used, precision)

    def _used(
        self, feeds: Feeds, precision: Precision | None, constants: set[str] | None
    ) -> set[str]:
        """Returns the names of the tensors that the results of a call depend on."""
        model = self._build()
        noted = Constants(set() if constants is None else constants, precision)
        noted.held_by(model)
        state = model.state_dict(keep_vars=True)
        places = {name: tensor.untyped_storage().data_ptr() for name, tensor in state.items()}
        with autocasts() as self._autocasts, recorded_reads(noted.add) as reads:
            results = _results(model, feeds)
        self._types = types_of(state)
        reached = reads.reached(results.values(), places.values())
        prefix = common_prefix(state)
        return {
            spelling
            for name, place in places.items()
            if place in reached
            for spelling in (name, name.removeprefix(prefix))
        }

    def trace(
        self,
        feeds: Feeds,
        visit: Visit,
        *,
        exact: bool = False,
        precision: Precision | None = None,
    ) -> None:
        """Shows what every operator makes, named by its module."""
        from contextlib import nullcontext

        from ascend_migrate.validators.torch_float64 import widened, widening
        from ascend_migrate.validators.torch_lowered import Lowering
        from ascend_migrate.validators.torch_trace import shown

        model = widened(self._build()) if exact else self._build()
        given = {n: widened_array(a) for n, a in feeds.items()} if exact else feeds
        changing: AbstractContextManager[None] = widening() if exact else nullcontext()
        if precision is not None and not exact:
            changing = Lowering(model, precision, {}).rounding()

        def show(name: str, module: str, tensor: "torch.Tensor") -> None:
            visit(Traced(name, module, to_numpy(tensor)))

        # The innermost mode sees an operator first, the way that the model asked for it.
        with changing, shown(model, show):
            _call(model, given)

    def about(self) -> Mapping[str, str]:
        """Returns the types, the device, the library, and its settings during `weights`."""
        import torch

        device = torch.device(self._device)
        about = {"types": self._types, **settings(device, self._autocasts)}
        found = reduced(device, self._autocasts)
        return about | {REDUCED: found} if found else about


def _placed(model: "torch.nn.Module", device: str) -> "torch.nn.Module":
    """Moves a model to a device, where TF32, which is on by default, would hide its noise."""
    strict()
    try:
        return model.to(device)
    # torch has an error of its own for each way in which a device can be missing.
    except Exception as error:
        reason = in_one_line(error)[:_REASON]
        raise ModelError(
            f"validation.device: {device} cannot be used ({reason}); record the golden file on a "
            "machine that has it"
        ) from error


def _call(model: "torch.nn.Module", feeds: Feeds) -> Outputs:
    return {name: to_numpy(tensor) for name, tensor in _results(model, feeds).items()}


def _results(model: "torch.nn.Module", feeds: Feeds) -> Mapping[str, "torch.Tensor"]:
    import torch

    held = next(model.parameters(), None)
    device = "cpu" if held is None else held.device
    tensors = {name: to_torch(array).to(device) for name, array in feeds.items()}
    # User code may print, and may raise anything; this is the seam where it meets ours.
    with torch.no_grad(), redirect_stdout(sys.stderr):
        try:
            if called_by_name(model, list(feeds)):
                result = model(**tensors)
            else:
                result = model(*tensors.values())
        except Exception as error:
            reason = in_one_line(error)[:_REASON]
            raise ModelError(
                f"{type(model).__name__} fails on inputs of the declared sizes and values "
                f"({type(error).__name__}: {reason}); narrow the ranges of the inputs"
            ) from error
    return named_outputs(result, feeds)


def to_torch(array: Array) -> "torch.Tensor":
    """Returns a copy of ``array`` as a tensor of the same type and bits."""
    import torch

    if array.dtype == numpy_dtype("bfloat16"):
        # NumPy and torch share no such type: the bits travel as integers.
        return torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def to_numpy(tensor: "torch.Tensor") -> Array:
    """Returns a copy of ``tensor`` as a C-contiguous array of the same type and bits."""
    import torch

    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().clone()
    if plain.dtype == torch.bfloat16:
        bits: Array = plain.view(torch.uint16).numpy()
        return bits.view(numpy_dtype("bfloat16"))
    found: Array = plain.numpy()
    return found
