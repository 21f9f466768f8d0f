"""A piece of code for each rule about code, and what is to be said of it; written by hand."""

from typing import NamedTuple


class Case(NamedTuple):
    """A piece of code.

    Attributes:
        rule: id of the rule that it meets, in its last line.
        code: without ``import torch``, which is its first line.
        becomes: what the rule puts in its place; empty where it cannot be said in a word.
    """

    rule: str
    code: str
    becomes: str = ""


CASES = (
    Case("unsafe-load", "torch.load('x.pt', weights_only=False)"),
    Case("torch-load", "torch.load('x.pt')"),
    Case("jit-load", "from torch import jit\njit.load('x.pt')"),
    Case("transfer-to-npu", "from torch_npu.contrib import transfer_to_npu"),
    Case("cuda-amp", "scaler = torch.cuda.amp.GradScaler()", "torch.npu.amp.GradScaler"),
    Case("cuda-amp", "from torch.cuda import amp\namp.autocast()", "torch.npu.amp.autocast"),
    Case("cuda-amp", "from torch.cuda.amp import custom_fwd", "torch.npu.amp.custom_fwd"),
    Case(
        "autocast-cuda",
        "with torch.autocast('cuda', dtype=torch.float16): pass",
        "torch.autocast('npu', dtype=torch.float16)",
    ),
    Case(
        "autocast-cuda",
        "with torch.amp.autocast(device_type='cuda', enabled=on): pass",
        "torch.amp.autocast(device_type='npu', enabled=...)",
    ),
    Case("autocast-cuda", "torch.amp.GradScaler('cuda')", "torch.amp.GradScaler('npu')"),
    Case(
        "autocast-cuda",
        "@torch.amp.custom_fwd(device_type='cuda')\ndef f(x): pass",
        "torch.amp.custom_fwd(device_type='npu')",
    ),
    Case("cuda-availability", "if torch.cuda.is_available(): pass", "torch.npu.is_available"),
    Case("cuda-availability", "n = torch.cuda.device_count()", "torch.npu.device_count"),
    Case("cuda-double-tensor", "torch.cuda.DoubleTensor(3)", "torch.FloatTensor"),
    Case("cuda-graph", "g = torch.cuda.CUDAGraph()", "torch.npu.NPUGraph"),
    Case("cuda-only", "torch.cuda.nvtx.range_push('a')"),
    Case("torch-cuda", "torch.cuda.synchronize()", "torch.npu.synchronize"),
    Case("torch-cuda", "import torch.cuda", "torch.npu"),
    Case("torch-cuda", "import torch as t\nt.cuda.empty_cache()", "torch.npu.empty_cache"),
    Case("torch-cuda", "torch.cuda.FloatTensor(3)", "torch.npu.FloatTensor"),
    Case(
        "tf32-matmul",
        "torch.backends.cuda.matmul.allow_tf32 = True",
        "torch.npu.matmul.allow_hf32",
    ),
    Case("tf32-conv", "torch.backends.cudnn.allow_tf32 = True", "torch.npu.conv.allow_hf32"),
    Case("float32-matmul-precision", "torch.set_float32_matmul_precision('high')"),
    Case(
        "deterministic",
        "torch.backends.cudnn.deterministic = True",
        "torch.use_deterministic_algorithms",
    ),
    Case("cuda-backend-flag", "torch.backends.cudnn.benchmark = True"),
    Case("cuda-backend-flag", "from torch.nn.attention import sdpa_kernel"),
    Case("jit-script", "@torch.jit.script\ndef f(x): return x"),
    Case("jit-trace", "torch.jit.trace(net, x)"),
    Case("compile", "net = torch.compile(net)"),
    Case("compile", "net = optimise(net, backend='inductor')"),
    Case("cpp-extension", "from torch.utils.cpp_extension import load_inline"),
    Case("cpp-extension", "from torch.utils import cpp_extension as c\nc.load(name='a')"),
    Case(
        "flash-attention",
        "from flash_attn import flash_attn_func",
        "torch.nn.functional.scaled_dot_product_attention",
    ),
    Case(
        "flash-attention",
        "import xformers.ops as xops",
        "torch.nn.functional.scaled_dot_product_attention",
    ),
    Case(
        "flash-attention-asked",
        "net = load('x', attn_implementation='flash_attention_2')",
        "attn_implementation='sdpa'",
    ),
    Case("triton", "import triton.language as tl"),
    Case("triton", "from torch.library import triton_op"),
    Case("apex", "from apex.normalization import FusedLayerNorm"),
    Case("bitsandbytes", "import bitsandbytes as bnb"),
    Case("bitsandbytes", "net = Net.from_pretrained('x', load_in_8bit=True)"),
    Case("mmcv-ops", "from mmcv.ops import DeformConv2d"),
    Case("torchvision-ops", "import torchvision\ntorchvision.ops.nms(b, s, 0.5)"),
    Case("cuda-package", "from mamba_ssm.ops import selective_scan"),
    Case("cuda-package", "import transformer_engine.pytorch as te"),
    Case("cuda-package", "from numba import cuda"),
    Case("custom-operator", "y = torch.ops.mylib.go(x)"),
    Case("custom-operator", "torch.ops.load_library('x.so')"),
    Case("custom-operator", "@torch.library.custom_op('a::b', mutates_args=())\ndef b(x): pass"),
    Case(
        "visible-devices",
        "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '0'",
        "ASCEND_RT_VISIBLE_DEVICES",
    ),
    Case(
        "launch-blocking",
        "import os\nos.environ['CUDA_LAUNCH_BLOCKING'] = '1'",
        "ASCEND_LAUNCH_BLOCKING",
    ),
    Case(
        "allocator-variable",
        "import os\nos.environ['PYTORCH_CUDA_ALLOC_CONF'] = 'a:1'",
        "PYTORCH_NPU_ALLOC_CONF",
    ),
    Case("nvidia-tools", "import pynvml"),
    Case("nvidia-tools", "import os\nos.system('nvidia-smi -L')"),
    Case("device-string", "d = torch.device('cuda')", "npu"),
    Case("device-string", "x = x.to('cuda:3')", "npu:3"),
    Case("device-string", "x = torch.ones(3, device=f'cuda:{i}')", "npu:{}"),
    Case("device-string", "d = 'cuda:' + str(i)", "npu:"),
    Case("device-string", "if x.device.type == 'cuda': pass", "npu"),
    Case("cuda-method", "net.to(d).cuda()", ".npu()"),
    Case("cuda-method", "x = x.cuda(0, non_blocking=True)", ".npu(0, non_blocking=True)"),
    Case("is-cuda", "if x.is_cuda: pass", ".is_npu"),
    Case("pin-memory", "DataLoader(data, pin_memory=True)"),
    Case("pin-memory", "x = x.pin_memory()"),
    Case(
        "profiler",
        "from torch.profiler import ProfilerActivity as A\na = A.CUDA",
        "torch_npu.profiler.ProfilerActivity.NPU",
    ),
    Case("nccl", "torch.distributed.init_process_group('nccl')", "hccl"),
    Case(
        "nccl-class",
        "torch.distributed.ProcessGroupNCCL",
        "torch_npu._C._distributed_c10d.ProcessGroupHCCL",
    ),
    Case(
        "nccl-available",
        "torch.distributed.is_nccl_available()",
        "torch.distributed.is_hccl_available",
    ),
    Case("float64", "x = torch.ones(3, dtype=torch.float64)"),
    Case("float64", "x = x.double()"),
    Case("float64", "torch.set_default_dtype(torch.double)"),
    Case("complex", "f = torch.polar(a, b)"),
    Case("complex", "x = torch.view_as_complex(x)"),
    Case("complex", "x = x.to(torch.complex64)"),
    Case("fourier", "y = torch.fft.rfft(x)"),
    Case("float8-fnuz", "t = torch.float8_e4m3fnuz"),
    Case("float8", "t = torch.float8_e4m3fn"),
    Case("bfloat16", "net = net.bfloat16()"),
    Case("bfloat16", "from torch import bfloat16"),
    Case("bfloat16", "parser(choices=['float32', 'bf16'])"),
    Case("gelu-tanh", "a = torch.nn.GELU(approximate='tanh')"),
    Case("gelu", "a = torch.nn.GELU()"),
    Case("gelu", "from torch.nn import functional as F\ny = F.gelu(x)"),
    Case("gelu", "config = {'hidden_act': 'gelu'}"),
    Case("infinity", "m = x.masked_fill(k, float('-inf'))"),
    Case("infinity", "import math\nm = x.masked_fill(k, -math.inf)"),
    Case("nan-test", "if torch.isnan(x).any(): pass"),
    Case("nan-test", "if x.isinf().any(): pass"),
    Case("lstm-options", "r = torch.nn.LSTM(3, 4, proj_size=2)"),
    Case("gru-options", "r = torch.nn.GRU(3, 4, dropout=0.1)"),
    Case(
        "interpolate-scale",
        "import torch.nn.functional as F\ny = F.interpolate(x, scale_factor=2)",
    ),
    Case("interpolate-scale", "u = torch.nn.Upsample(scale_factor=2, mode='nearest')"),
    Case("topk-unsorted", "v, i = x.topk(5, sorted=False)"),
    Case("fast-path", "e = torch.nn.TransformerEncoder(layer, 3)"),
    Case("fast-path", "from torch.nn.utils.rnn import pack_padded_sequence"),
    Case("isin", "m = torch.isin(x, y)"),
)

SILENT = {
    "comment": "x = 1  # x.cuda() on cuda:0",
    "docstring": 'def f():\n    """Runs on cuda:0."""\n    "cuda"',
    "longer text": "print('no cuda here')",
    "another name": "device = 'cudart'",
    "cpu": "x = x.to('cpu').float()",
    "numpy": "import numpy as np\ny = np.double(3) + np.isnan(3)",
    "set attribute": "class A:\n    def __init__(self):\n        self.is_cuda = False",
    "flag of a command": "args.cuda",
    "own operator": "def isin(a, b): return a\nisin(1, 2)",
    "standard operators": "torch.ops.aten.add(x, x)",
    "gelu's kin": "config = {'hidden_act': 'gelu_new'}",
    "plain lstm": "r = torch.nn.LSTM(3, 4, dropout=0)",
    "only for type checkers": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import flash_attn"
    ),
}
"""Code that nothing is to be said of."""
