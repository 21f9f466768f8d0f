"""A hand in every call of an operator of PyTorch, whichever Python or C++ code makes it."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

Handle = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
"""Given an operator and its arguments, returns what the caller gets in place of the result."""


def intercepting(handle: Handle) -> AbstractContextManager[Any]:
    """While open, torch asks ``handle`` for the result of each operator.

    Within ``handle`` itself it does not.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch is untyped here
        pass

    def dispatch(
        _mode: Any, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return handle(func, args, kwargs or {})

    if "torch._dynamo" in sys.modules:  # torch.compile may be at work: it must leave us alone
        dispatch = torch._dynamo.disable(dispatch)  # type: ignore[no-untyped-call]
    # Given with the class, it would be wrapped in just that, whose import takes 1.4 s of processor
    # time: more than to run most models.
    Mode.__torch_dispatch__ = dispatch  # type: ignore[method-assign]
    mode: AbstractContextManager[Any] = Mode()  # type: ignore[no-untyped-call]
    return mode
