"""What training leaves beside the weights, recognised by the names that frameworks give it."""

from fnmatch import fnmatchcase

_ROLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "moving average of the weights",
        ("ema", "ema_*", "*_ema", "swa_*", "averaged_*", "averaging_*", "shadow_*"),
    ),
    ("weights before they were averaged", ("current_model_state",)),
    (
        "optimizer state",
        (
            *("optim", "optimizer*", "optim_*", "*_optim", "*_optimizer", "*_optimizers", "opt"),
            "*_optimizer_state*",
        ),
    ),
    ("scheduler state", ("*scheduler*", "lr_sched*", "sched")),
    ("random number state", ("*rng_state*", "*random_state*", "rng", "seeds")),
    ("gradient scaler", ("*scaler*", "amp", "amp_state*")),
    (
        "training state",
        (
            *("callbacks", "loops", "hyper_parameters", "hparams", "datamodule*", "args", "config"),
            *("extra_state", "message_hub"),
        ),
    ),
)
"""Patterns of lower-case names. Lightning, timm, YOLO, Megatron, DeepSpeed, fairseq, MMEngine and
plain scripts."""


USUAL = frozenset(
    (
        *("state_dict", "model", "model_state_dict", "model_state", "module", "net", "network"),
        *("weights", "params", "parameters", "state", "generator", "encoder"),
    )
)
"""Names under which the model itself is usually kept."""


def role(name: str) -> str:
    """Returns what the entry ``name`` of a checkpoint is for; empty if it can be the model."""
    lower = name.lower()
    return next(
        (text for text, known in _ROLES if any(fnmatchcase(lower, p) for p in known)),
        "",
    )
