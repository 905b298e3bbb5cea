"""Recognise errors by their text: out of memory, a machine fault, or another error.

A configuration that runs out of memory cannot be trained on this machine. A machine fault says
nothing about the configuration, so the training must be tried again in a new process. In the old
process, every later CUDA call fails with the same error.
"""

from __future__ import annotations

import torch

# Phrases in lower case. CUDA's libraries raise RuntimeErrors; only their text shows the cause.
OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate",
    "cuda_error_out_of_memory",
    "cublas_status_alloc_failed",
    "cusolver_status_alloc_failed",
    "cusparse_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cufft_alloc_failed",
)
MACHINE_FAULT = (
    "ecc error",
    "illegal memory access",
    "illegal instruction",
    "illegal address",
    "misaligned address",
    "unspecified launch failure",
    "launch failure",
    "launch timed out",
    "hardware stack error",
    "unknown error",
    "device not ready",
    "fallen off the bus",
    "no cuda-capable device",
    "driver shutting down",
    "cuda driver initialization failed",
    "cublas_status_execution_failed",
    "cublas_status_not_initialized",
    "cudnn_status_execution_failed",
    "cudnn_status_not_initialized",
    "unhandled cuda error",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that the memory of a device or of the machine is full."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _says(error, OUT_OF_MEMORY)


def is_machine_fault(error: BaseException) -> bool:
    """Return whether `error` says that a device failed or cannot be used.

    Examples are ECC errors and illegal addresses. Running out of memory is not a machine fault.
    """
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    # PyTorch 2.8 and later have a class for device errors.
    accelerator_error = getattr(torch, "AcceleratorError", None)
    if accelerator_error is not None and isinstance(error, accelerator_error):
        return True
    return _says(error, MACHINE_FAULT) and _says(error, ("cuda", "cudnn", "cublas", "nccl", "gpu"))


def _says(error: BaseException, phrases: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(phrase in text for phrase in phrases)
