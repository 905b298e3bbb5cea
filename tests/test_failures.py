"""Errors of a training: memory, the machine's fault, or the configuration's."""

from __future__ import annotations

import pytest
import torch

from fastgan_ray.train.failures import is_machine_fault, is_out_of_memory

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
]
MACHINE_FAULTS = [
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("NCCL error in: ProcessGroupNCCL.cpp, unhandled cuda error"),
    RuntimeError("No CUDA GPUs are available: no CUDA-capable device is detected"),
]
OTHERS = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    RuntimeError("unknown error in a parser"),
    ValueError("CUDA error: uncorrectable ECC error"),
    KeyError("out of memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_out_of_memory(error):
    assert is_out_of_memory(error) and not is_machine_fault(error)


@pytest.mark.parametrize("error", MACHINE_FAULTS, ids=str)
def test_machine_faults(error):
    assert is_machine_fault(error) and not is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_errors_of_neither_kind(error):
    assert not is_machine_fault(error) and not is_out_of_memory(error)


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="PyTorch before 2.8")
def test_errors_of_devices_have_a_class():
    assert is_machine_fault(torch.AcceleratorError("CUDA error: device-side assert triggered"))
    assert is_out_of_memory(torch.AcceleratorError("CUDA error: out of memory"))
