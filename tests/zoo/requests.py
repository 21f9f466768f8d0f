"""What is asked for each public model: its file inside its package, its code, what it is fed."""

import json
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKPOINT_FORMS = ("safetensors", "onnx", "mindir")
GRAPH_FORMS = ("onnx", "mindir")


@dataclass(frozen=True)
class Request:
    """One migration; ``source`` begins with the name of the package that holds the file."""

    source: str
    model: str = ""
    inputs: tuple[str, ...] = ()
    to: tuple[str, ...] = CHECKPOINT_FORMS
    allow_unexpected: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    def write(self, name: str, folder: Path) -> Path:
        """Writes the specification, and beside it the model's code, as a user would."""
        lines = [
            f"name = {json.dumps(name)}",
            f"to = {json.dumps(self.to)}",
            f"inputs = {json.dumps(self.inputs)}",
            "[source]",
            f"path = {json.dumps(str(installed(self.source)))}",
            f"allow_unexpected = {json.dumps(self.allow_unexpected)}",
            f"drop = {json.dumps(self.drop)}",
        ]
        if self.model:
            lines += ["[model]", f"callable = {json.dumps(self.model)}"]
            shutil.copy(HERE / f"{self.model.partition(':')[0]}.py", folder)
        path = folder / "migration.toml"
        path.write_text("\n".join(lines))
        return path


def installed(path: str) -> Path:
    """Returns a file of an installed package, whose code is not run."""
    package, _, rest = path.partition("/")
    found = find_spec(package)
    assert found is not None, f"{package} is not installed; run make .venv/zoo"
    return Path((found.submodule_search_locations or [""])[0]) / rest


_ALBERT = "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k"
_VAD = "silero_vad/data"

PASSING = {
    "attacut-sc": Request(
        "attacut/artifacts/attacut-sc/model.pth",
        "attacut_models:syllables_and_characters",
        # The smaller of the two vocabularies fits both rows.
        ("x=int64[batch=1..8,2,time=16..64]:0..138",),
    ),
    "attacut-c": Request(
        "attacut/artifacts/attacut-c/model.pth",
        "attacut_models:characters",
        ("x=int64[batch=1..8,time=16..64]:0..138",),
    ),
    "deepcr-acs-wfc": Request(
        "learned_models/mask/ACS-WFC.pth",
        "deepcr_models:acs_wfc",
        # Counts of electrons. Height and width must be even, which a range cannot say.
        ("x=float32[batch=1..4,1,64,64]:0..200",),
    ),
    "deepcr-wfc3-uvis": Request(
        "learned_models/mask/WFC3-UVIS.pth",
        "deepcr_models:wfc3_uvis",
        # Standard deviations from the mean; cosmic rays are bright.
        ("x=float32[batch=1..4,1,64,64]:-2..20",),
    ),
    "rxnmapper": Request(
        f"{_ALBERT}/pytorch_model.bin",
        "rxnmapper_models:albert",
        (
            "input_ids=int64[batch=1..4,length=8..64]:5..590",
            "attention_mask=int64[batch,length]:0..1",
        ),
        allow_unexpected=("albert.pooler.*",),
    ),
    "silero-vad-script": Request(
        f"{_VAD}/silero_vad.jit",
        "silero_models:At16kHz",
        ("audio=float32[batch=1..4,576]:-1..1", "state=float32[2,batch,128]:-1..1"),
        drop=("_model_8k.*",),
    ),
    "silero-vad-onnx": Request(
        f"{_VAD}/silero_vad_16k_op15.onnx",
        # 64 samples of the last chunk, then 512 new ones, at 16 kHz.
        inputs=(
            "input=float32[batch=1..4,576]:-1..1",
            "state=float32[2,batch,128]:-1..1",
            "sr=int64[]:16000..16000",
        ),
        to=GRAPH_FORMS,
    ),
    "silero-vad-weights": Request(f"{_VAD}/silero_vad_16k.safetensors", to=("safetensors",)),
    "wordllama": Request(
        "wordllama/weights/l2_supercat_256.safetensors",
        "wordllama_models:MeanPool",
        ("ids=int64[batch=1..8,length=1..64]:0..31999",),
    ),
    "beatnet": Request(
        "BeatNet/models/model_1_weights.pt",
        "beatnet_models:StateAsInput",
        # The state of one listener fixes the batch; 50 frames are one second of music.
        (
            "features=float32[1,time=8..64,272]:0..3",
            "hidden=float32[2,1,150]:-1..1",
            "cell=float32[2,1,150]:-1..1",
        ),
    ),
}
"""Models that are proved equivalent and published."""

STATE_ON_SELF = Request(
    "BeatNet/models/model_1_weights.pt",
    "beatnet_models:state_on_self",
    ("data=float32[1,time=8..64,272]:0..3",),
)

_WHOLE_OBJECT = (
    "is a whole pickled model.BDA object",
    "save model.state_dict() and migrate that file",
)

REFUSED = {
    "beatnet pickled on cuda:0": (
        Request("BeatNet/models/model-1.pt", to=("safetensors",)),
        _WHOLE_OBJECT,
    ),
    "beatnet pickled on cuda:1": (
        Request("BeatNet/models/model-3.pt", to=("safetensors",)),
        _WHOLE_OBJECT,
    ),
    "silero-vad as TorchScript, whose program is not run": (
        Request(f"{_VAD}/silero_vad.jit", to=GRAPH_FORMS),
        ("model: is required for onnx, mindir",),
    ),
    "arguments of rxnmapper's training": (
        Request(f"{_ALBERT}/training_args.bin", to=("safetensors",)),
        ("holds a Python object 'argparse.Namespace'", "save model.state_dict()"),
    ),
    "rxnmapper with its pooler": (
        Request(f"{_ALBERT}/pytorch_model.bin", PASSING["rxnmapper"].model,
                PASSING["rxnmapper"].inputs),
        ("does not fit AlbertForMaskedLM", "unexpected albert.pooler.weight", "allow"),
    ),
    "deepcr at odd heights": (
        Request(
            "learned_models/mask/ACS-WFC.pth",
            PASSING["deepcr-acs-wfc"].model,
            ("x=float32[1,1,height=32..64,64]:0..200",),
        ),
        ("fails on inputs of the declared sizes", "narrow the ranges of the inputs"),
    ),
}  # fmt: skip
"""Requests that end with exit code 2, and what the error says."""
