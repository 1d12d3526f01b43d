"""On which machine, with which versions, and how busy: what a figure means nothing without."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

_LIBRARIES = ("bioprobe", "torch", "open_clip_torch", "faiss-cpu", "numpy", "scikit-learn",
              "onnxruntime", "openvino", "pybioclip", "pandas", "pyarrow")  # fmt: skip
# What decides how fast products can be.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8",
          "asimd", "bf16", "i8mm")  # fmt: skip


def find_processor() -> str:
    """Return what the system calls the processor."""
    said = _read_cpuinfo("model name")
    return said or platform.processor() or "unknown processor"


def describe_machine() -> list[str]:
    """Return a line for each thing that is known of the machine."""
    import torch

    held = set((_read_cpuinfo("flags") or _read_cpuinfo("Features")).split())
    family = f"family {_read_cpuinfo('cpu family')}, model {_read_cpuinfo('model')}"
    flags = [one for one in _FLAGS if one in held]
    lines = [
        f"processor: {find_processor()} ({family}), {os.cpu_count()} cores",
        f"instructions: {', '.join(flags) or 'not known'}",
        f"caches: {_describe_caches()}",
        f"threads: {torch.get_num_threads()}",
        f"memory: {_find_memory_gb()}",
        f"system: {platform.system()} {platform.release()}, Python {platform.python_version()}",
    ]
    lines += [f"accelerator: {one}" for one in find_accelerators()]
    return lines


def find_accelerators() -> list[str]:
    """Return the names of accelerators that PyTorch can use."""
    import torch

    n_found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.cuda.get_device_name(number) for number in range(n_found)]


def list_versions() -> list[str]:
    """Return the libraries that are installed, with their versions."""
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def find_load() -> float:
    """Return how many processes wanted a processor in the last minute, this run among them."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def find_revision() -> str:
    """Return the commit that was measured, with a mark where files were changed since."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parent)  # fmt: skip
    return done.stdout.strip() or "unknown"


def _read_cpuinfo(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = (line.partition(":") for line in lines)
    return next((said.strip() for key, _, said in found if key.strip() == name), "")


def _describe_caches() -> str:
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        said = {one: (folder / one).read_text().strip() for one in ("level", "type", "size")}
        if said["type"] != "Instruction":
            found.append(f"L{said['level']} {said['size']}")
    return ", ".join(found) or "not known"


def _find_memory_gb() -> str:
    try:
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "not known"
    return f"{n_bytes / 1e9:.0f} GB"
