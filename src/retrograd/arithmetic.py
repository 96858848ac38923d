"""Same bits on every x86-64 machine: one thread, one instruction set, one device rule."""

import os
from typing import TYPE_CHECKING, Literal

from retrograd.errors import RetrogradError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]

# Libraries choose kernels by the processor they find, and kernels differ in the last
# bit. AVX2 (every x86-64 since about 2015) is what the choice is fixed to; elsewhere
# these names mean nothing and are ignored. What a person has set already stays.
FIXED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # else deterministic CUDA refuses to multiply
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


def fix_instruction_set() -> None:
    """Fix threads and kernels; call it before numpy, scipy or torch is imported."""
    for name, value in FIXED.items():
        os.environ.setdefault(name, value)


def wants_cuda(asked: Device, scale: str) -> bool:
    """Whether a training uses CUDA where there is one.

    `auto` does at the published scale; the smaller scales run on the CPU, which is
    faster for their batches and gives the same bits everywhere.
    """
    return asked == "cuda" or (asked == "auto" and scale == "published")


def torch_device(asked: Device, scale: str) -> "torch.device":
    """The device a training runs on, with torch set to deterministic arithmetic.

    Raises:
        RetrogradError: CUDA was asked for and there is none.
    """
    import torch

    torch.set_num_threads(1)
    # The flag of use_deterministic_algorithms, without a second of imports that it does.
    torch.set_deterministic_debug_mode("error")
    if asked == "cuda" and not torch.cuda.is_available():
        raise RetrogradError(
            "device: cuda was asked for, but torch finds no CUDA device here; "
            "use device: auto or cpu"
        )
    use_cuda = wants_cuda(asked, scale) and torch.cuda.is_available()
    return torch.device("cuda" if use_cuda else "cpu")
