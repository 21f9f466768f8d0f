"""Checkpoints of trainers: the model is taken, everything beside it is left out and said."""

import argparse
import datetime
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.checkpoint.reference import BASE, Runs, assert_equal, assert_refused, payload
from torch import nn

from ascend_migrate.pipeline.checkpoint import describe, open_checkpoint

MODEL = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
STATE = dict(MODEL.state_dict())


@dataclass
class Config:
    width: int = 3
    path: Any = Path("x/y")


def optimizer() -> dict[str, Any]:
    model = nn.Linear(3, 2)
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    adam.step()
    return adam.state_dict()


def scheduler() -> dict[str, Any]:
    adam = torch.optim.Adam(nn.Linear(1, 1).parameters())
    return dict(torch.optim.lr_scheduler.StepLR(adam, 3).state_dict())


def lightning(**more: Any) -> dict[str, Any]:
    """The layout of Lightning 2: trainer/connectors/checkpoint_connector.py."""
    return {
        "epoch": 3,
        "global_step": 400,
        "pytorch-lightning_version": "2.5.1",
        "state_dict": OrderedDict((f"net.{k}", v) for k, v in STATE.items()),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 3}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'val'}": {
                "best_model_score": torch.tensor(0.5),
                "best_model_path": "/x/y.ckpt",
            },
            "EMA": {"weights": {"net.0.weight": BASE}},
        },
        "optimizer_states": [optimizer()],
        "lr_schedulers": [scheduler()],
        "MixedPrecision": {"scale": torch.tensor(65536.0), "growth_factor": 2.0},
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "lr": 1e-3,
            "args": argparse.Namespace(a=1),
            "config": Config(),
            "loss": nn.CrossEntropyLoss(weight=torch.ones(3)),
            "when": datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
            "kind": np.float32(0.5),
            "act": nn.ReLU,
            "where": Path("/data"),
        },
        **more,
    }


NET = {f"net.{k}": v for k, v in STATE.items()}
RNG = {
    "rng_state": torch.get_rng_state(),
    "rng_states": {"torch": torch.get_rng_state(), "cuda": torch.get_rng_state()},
    "numpy_random_state": np.random.get_state(),  # noqa: NPY002
    "python_random_state": random.getstate(),
}
EMA = {k: v + 1 for k, v in STATE.items()}

TRAINED: dict[str, tuple[Callable[[], Any], str, dict[str, torch.Tensor]]] = {
    "lightning": (lightning, "state_dict", NET),
    "lightning with ema": (lambda: lightning(ema_state_dict=EMA), "state_dict", NET),
    "plain": (
        lambda: {"model": STATE, "optimizer": optimizer(), "lr_scheduler": scheduler(), **RNG},
        "model",
        STATE,
    ),
    "timm": (
        lambda: {"state_dict": STATE, "state_dict_ema": EMA, "args": argparse.Namespace(x=1)},
        "state_dict",
        STATE,
    ),
    "ema of another shape": (lambda: {"model": STATE, "model_ema": EMA}, "model", STATE),
    "nested ema": (
        lambda: {"model": STATE, "ema": {"model": EMA, "decay": 0.99}},
        "model",
        STATE,
    ),
    "only ema": (lambda: {"ema": EMA, "step": 5}, "ema", EMA),
    "scaler": (
        lambda: {"model": STATE, "scaler": {"scale": torch.ones(1), "n": torch.ones(1)}},
        "model",
        STATE,
    ),
    "instance beside": (lambda: {"model": STATE, "config": Config()}, "model", STATE),
    "instance inside": (lambda: {**STATE, "_config": Config()}, "", STATE),
    "compiled and parallel": (
        lambda: {"model": {f"module._orig_mod.{k}": v for k, v in STATE.items()}},
        "model",
        STATE,
    ),
}
# Where each library keeps its moving averages.
TRAINED |= {
    "lightning's averaging callback": (
        lambda: lightning(
            state_dict={f"net.{k}": v for k, v in EMA.items()},
            current_model_state=NET,
            averaging_state={"n_averaged": torch.tensor(3)},
        ),
        "state_dict",
        {f"net.{k}": v for k, v in EMA.items()},
    ),
    "k-diffusion": (
        lambda: {"model": STATE, "model_ema": EMA, "opt": optimizer(), "ema_sched": {"power": 1}},
        "model",
        STATE,
    ),
    "yolo": (
        lambda: {"model": STATE, "ema": EMA, "updates": 3, "optimizer": optimizer()},
        "model",
        STATE,
    ),
    "fairseq": (
        lambda: {
            "args": None,
            "model": STATE,
            "extra_state": {"epoch": 1, "ema": EMA},
            "last_optimizer_state": optimizer(),
        },
        "model",
        STATE,
    ),
    "stylegan": (
        lambda: {"generator": STATE, "g_ema": EMA, "g_optim": optimizer(), "d_optim": optimizer()},
        "generator",
        STATE,
    ),
}
# Compared with their own key, the moving averages are as good as the weights.
KEYS = {"timm": "state_dict_ema", "nested ema": "ema.model", "ema of another shape": "model_ema"}
KEYS |= {"k-diffusion": "model_ema", "yolo": "ema", "fairseq": "extra_state.ema"}
KEYS |= {"stylegan": "g_ema"}


@pytest.mark.parametrize(
    ("ema", "counter"),
    [
        (dict(torch.optim.swa_utils.AveragedModel(MODEL).state_dict()), "n_averaged"),
        ({"steps": torch.tensor(3), **{f"module.{k}": v for k, v in STATE.items()}}, "steps"),
    ],
    ids=["torch", "mmengine"],
)
def test_the_counter_of_an_averaging_wrapper_is_dropped(
    tmp_path: Path, ema: dict[str, torch.Tensor], counter: str
) -> None:
    """Its prefix goes once nothing but weights is left."""
    torch.save({"model": STATE, "ema": ema}, tmp_path / "a.pt")
    assert_equal(open_checkpoint(tmp_path / "a.pt", key="ema", drop=[counter]), STATE)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_the_model_is_found(tmp_path: Path, name: str, legacy: bool) -> None:
    make, key, state = TRAINED[name]
    path = tmp_path / "a.ckpt"
    torch.save(make(), path, _use_new_zipfile_serialization=not legacy)
    checkpoint = open_checkpoint(path)
    assert checkpoint.key == key
    assert_equal(checkpoint, state)
    assert describe(path)["problem"] == ""
    if name in KEYS:
        assert_equal(open_checkpoint(path, key=KEYS[name]), EMA)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    value = {"model": STATE, "model_ema": EMA, "optimizer": optimizer(), "lr_scheduler": {}, **RNG}
    torch.save(value, tmp_path / "a.pt")
    extra = "\n".join(open_checkpoint(tmp_path / "a.pt").extra)
    assert "model_ema: dict of 7 (moving average of the weights; --key model_ema takes it)" in extra
    assert "optimizer: dict of 2 (optimizer state), left out" in extra
    assert "lr_scheduler: dict of 0 (scheduler state), left out" in extra
    assert "rng_state: uint8 tensor [5056] (random number state), left out" in extra
    assert "rng_states: dict of 2 (random number state; --key rng_states takes it)" in extra


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "payload in the callbacks": (
        lambda p: lightning(callbacks={"x": payload(p)}),
        "posix.system",
    ),
    "payload in the hyper-parameters": (
        lambda p: lightning(hyper_parameters={"x": Runs(eval, f"open({str(p / 'canary')!r},'w')")}),
        "__builtin__.eval",
    ),
    "payload of another package": (
        lambda p: lightning(x=Runs(torch.hub.load, "a")),
        "torch.hub.load",
    ),
    "a reference is enough": (lambda p: lightning(x=exec), "__builtin__.exec"),
    "two models": (lambda p: {"generator": STATE, "critic": EMA}, "--key NAME"),
    "module inside": (lambda p: {"model": MODEL, "epoch": 3}, "inside Python objects ('model': "),
    "module and statistics": (
        lambda p: {"model": MODEL, "stats": {"a": BASE}, "other": {"b": BASE}},
        "inside Python objects ('model': ",
    ),
    "nothing": (lambda p: {"epoch": 3, "optimizer": optimizer()}, "no dict of tensors"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    make, reason = REFUSED[name]
    torch.save(make(tmp_path), tmp_path / "a.ckpt")
    assert_refused(tmp_path / "a.ckpt", reason)


def test_weights_inside_an_object_are_not_passed_over(tmp_path: Path) -> None:
    torch.save({"model": MODEL, "statistics": {"mean": BASE}}, tmp_path / "a.pt")
    assert_refused(tmp_path / "a.pt", "inside Python objects ('model': ")
    assert_equal(open_checkpoint(tmp_path / "a.pt", key="statistics"), {"mean": BASE})
