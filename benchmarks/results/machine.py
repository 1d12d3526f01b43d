"""On which machine, with which versions, and how busy: what a figure means nothing without."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
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


class Look(NamedTuple):
    """How long the cores have worked since the system began, for all and for this run, in seconds.

    Its own is that of this process and of those that it waited for. What a hypervisor gave to
    others counts as work.
    """

    worked_s: float
    passed_s: float
    own_s: float


def look_at_cores() -> Look | None:
    """Return how long the cores have worked; None where the system does not say."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
    except OSError:
        return None
    # User, nice, system, idle, waiting for disks, interrupts twice, stolen; guests are in user.
    spent_s = [int(one) / os.sysconf("SC_CLK_TCK") for one in first[1:9]]
    return Look(sum(spent_s) - spent_s[3] - spent_s[4], sum(spent_s), sum(os.times()[:4]))


def find_others(before: Look | None, after: Look | None) -> float | None:
    """Return the share of the cores that other work than this run's took between two looks.

    Examples
    --------
    Of two cores in 10 seconds, which worked for 12, of which 8 for this run:

    >>> find_others(Look(100, 1000, 5), Look(112, 1020, 13))
    0.2
    """
    if before is None or after is None or after.passed_s <= before.passed_s:
        return None
    worked_s, passed_s, own_s = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, worked_s - own_s) / passed_s


def find_revision() -> str:
    """Return the commit that is measured, with a digest of what was changed since.

    What the bench itself writes is no change of what it measures.
    """
    changed = _ask_git("diff", "HEAD", "--", "bioprobe", "benchmarks", ":!benchmarks/*.md")
    mark = f"-changed-{hashlib.sha256(changed.encode()).hexdigest()[:8]}" if changed else ""
    return (_ask_git("rev-parse", "--short", "HEAD") or "unknown") + mark


def _ask_git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False,
                          cwd=ROOT)  # fmt: skip
    return done.stdout.strip()


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
