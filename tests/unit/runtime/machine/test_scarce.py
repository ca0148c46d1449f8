"""Want of memory is known by what the library says, and doubtful words by what is really left."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from runtime.machine import scarce
from runtime.machine.scarce import Limit

ONEDNN = "could not create a primitive"


def left(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(scarce, "limits", lambda: [Limit("`ulimit -v`", 10**9, size)])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("HIP out of memory. Tried to allocate 11.74 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"),
        RuntimeError("unable to mmap 4096 bytes from file </x>: Cannot allocate memory (12)"),
        RuntimeError("Could not allocate memory for Tensor SizesAndStrides!"),
    ],
)
def test_plain_words_count_wherever_they_are_said(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    left(monkeypatch, 10**9)
    assert scarce.is_short(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(ONEDNN),
        RuntimeError("could not execute a primitive"),
        RuntimeError("can't start new thread"),
        SystemError("error return without exception set"),
        SystemError("<built-in method f> returned NULL without setting an exception"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    ],
)
def test_doubtful_words_count_where_memory_is_short(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    left(monkeypatch, scarce.SHORT_BYTES - 1)
    assert scarce.is_short(error)
    left(monkeypatch, scarce.SHORT_BYTES)
    assert not scarce.is_short(error)
    assert not scarce.is_short(error, scarce.SHORT_BYTES)
    assert scarce.is_short(error, scarce.SHORT_BYTES + 1)
    monkeypatch.setattr(scarce, "limits", list)
    assert not scarce.is_short(error), "nothing measured is not short"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "could not create a primitive descriptor for the matmul primitive. Run workload with ONEDNN_VERBOSE"
        ),
        RuntimeError("shapes cannot be multiplied"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        ValueError("out of memory"),
        KeyError("bad_alloc"),
        OSError(errno.ENOENT, "No such file"),
    ],
)
def test_another_failure_is_not_explained_away(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    left(monkeypatch, 10**9)
    assert not scarce.is_short(error)
    assert scarce.behind(error) is None


def test_what_a_refusal_was_made_of_is_found() -> None:
    def loaded(*, hidden: bool) -> None:
        try:
            raise MemoryError
        except MemoryError as error:
            raise ValueError("cannot load a model") from (None if hidden else error)

    for hidden in (False, True):
        with pytest.raises(ValueError, match="cannot load") as caught:
            loaded(hidden=hidden)
        assert isinstance(scarce.behind(caught.value), MemoryError)


def test_a_limit_is_read_beside_what_is_held(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_text("Name:\tx\nVmSize:\t    3000 kB\nVmRSS:\t    2000 kB\nVmData:\t    1000 kB\n")
    (tmp_path / "meminfo").write_text("MemTotal:       1000000 kB\nMemAvailable:    600000 kB\n")
    group = tmp_path / "group"
    group.mkdir()
    (group / "memory.max").write_text("500000000\n")
    (group / "memory.current").write_text("450000000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 20000000\n")
    found = {one.name: one for one in scarce.limits(tmp_path, group)}
    assert found["the container"] == Limit("the container", 500_000_000, 70_000_000)
    assert found["the machine"] == Limit("the machine", 1_024_000_000, 614_400_000)
    assert next(iter(found)) == "the container"
    assert scarce.held(tmp_path) == "the process held 2 MB"
    (group / "memory.max").write_text("max\n")
    assert "the container" not in {one.name for one in scarce.limits(tmp_path, group)}
    assert list(scarce.limits(tmp_path / "none", tmp_path / "none")) == []
    assert scarce.held(tmp_path / "none") == ""


def test_how_there_would_be_more() -> None:
    assert scarce.more(Limit("`ulimit -d`", 1, 0)) == "raise `ulimit -d`"
    assert scarce.more(Limit("the container", 1, 0)) == "give the container more memory"
    assert scarce.more(Limit("the machine", 1, 0)) == scarce.more(None)
