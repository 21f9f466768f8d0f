"""A program that keeps to the documented contract of ATC, for tests alone: it compiles nothing.

It takes the documented options, knows some chips, says the documented lines, ends with the
documented exit codes, and writes a file with the digest of what it was given. That our command
line, our reading of what ATC says and our scripts fit that contract is all that it can show.
"""

import stat
from pathlib import Path

PROGRAM = r'''#!/usr/bin/env python3
"""Emulates the contract of ATC for a test. This is not a compiler."""
import hashlib, os, pathlib, sys, time

KNOWN = {"Ascend310P3", "Ascend910B3", "Ascend910_9391"}
OPTIONS = set("""framework model output soc_version input_shape input_format precision_mode_v2
    deterministic log keep_dtype op_precision_mode modify_mixlist insert_op_conf
    output_type host_env_os host_env_cpu external_weight dynamic_batch_size
    dynamic_image_size dynamic_dims""".split())
FAILED = ("ATC run failed, Please check the detail log, "
          "Try 'atc --help' for more information")


def fail(message):
    print(FAILED)
    print(message)
    sys.exit(255)


print("ATC start working now, please wait for a moment.", flush=True)
given = dict(option.lstrip("-").split("=", 1) for option in sys.argv[1:])
behaviour = os.environ.get("EMULATED_ATC", "")
unknown = sorted(set(given) - OPTIONS)
if unknown:
    fail(f"E10003: Value [{given[unknown[0]]}] for parameter [--{unknown[0]}] is invalid.")
if given["soc_version"] not in KNOWN:
    fail(f"E10001: Value [{given['soc_version']}] for parameter [--soc_version] is invalid.")
if behaviour == "old message":
    fail("E19010: No parser is registered for Op [conv_1, optype [ai.onnx::22::Conv]].")
if behaviour == "new message":
    fail("E13010: No parser is registered for Op: conv_1, optype: ai.onnx::22::Conv.")
if behaviour == "no code":
    print("Segmentation fault")
    sys.exit(139)
if behaviour == "hangs":
    pathlib.Path("pid").write_text(str(os.getpid()))
    time.sleep(600)
for option in ("keep_dtype", "op_precision_mode", "modify_mixlist", "insert_op_conf"):
    if option in given and not pathlib.Path(given[option]).is_file():
        fail(f"E10001: Value [{given[option]}] for parameter [--{option}] is invalid.")
graph = pathlib.Path(given["model"]).read_bytes()
print("...")
host = "_linux_" + given["host_env_cpu"] if "host_env_cpu" in given else ""
if behaviour != "writes nothing":
    om = pathlib.Path(given["output"] + host + ".om")
    om.write_text("emulated " + hashlib.sha256(graph).hexdigest())
    if given.get("external_weight") == "1" or behaviour == "weights beside":
        (om.parent / "weight").mkdir()
        (om.parent / "weight" / "0").write_text("emulated weights")
if behaviour == "fails after writing":
    fail("E20001: the compilation failed.")
if behaviour != "says nothing":
    print("ATC run success, welcome to the next use.")
'''


def install(folder: Path) -> Path:
    """Writes the program where an installed toolkit has it; returns the toolkit's root."""
    program = folder / "toolkit" / "bin" / "atc"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    arch = folder / "toolkit" / "x86_64-linux"
    arch.mkdir()
    (arch / "ascend_toolkit_install.info").write_text(
        "package_name=Ascend-cann-toolkit\nversion=8.1.RC1\narch=x86_64\n"
    )
    return folder / "toolkit"
