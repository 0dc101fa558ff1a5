"""The few machine instructions for what Python itself cannot do: x86-64 only.

Python code that counted allocations would allocate; and valgrind is controlled by a sequence of
instructions that do nothing outside it (valgrind.h, "client requests").
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct

IS_AVAILABLE = platform.machine() == "x86_64"


class Memory:
    """Writable and executable memory, with its address, until the process ends."""

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, size, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        # The interpreter allocates even while it shuts down.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._map))

    def put(self, offset: int, data: bytes) -> None:
        """Write ``data`` at ``offset``."""
        self._map[offset : offset + len(data)] = data

    def number_at(self, offset: int) -> int:
        """Return the unsigned 8-byte number at ``offset``."""
        return int.from_bytes(self._map[offset : offset + 8], "little")


class _Allocator(ctypes.Structure):
    """``PyMemAllocatorEx`` (Python/C API, "Memory Management")."""

    _fields_ = [
        ("ctx", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    ]


class Allocations:
    """A counter of the calls of Python's allocator for objects and memory, from its creation on.

    A call of ``malloc``, ``calloc`` or ``realloc`` adds one and goes on to the original function.
    """

    # From PyMemAllocatorDomain. Not the raw one: the others get large blocks from it, which would
    # be counted twice.
    _DOMAINS = {"mem": 1, "object": 2}  # noqa: RUF012
    _COUNTED = ("malloc", "calloc", "realloc")
    # On separate pages: a processor is slow where data is written next to code.
    _COUNTER, _TARGETS, _CODE = 0, 8, mmap.PAGESIZE
    _STRIDE = 16

    def __init__(self) -> None:
        self._memory = Memory(2 * mmap.PAGESIZE)
        number = 0
        for domain in self._DOMAINS.values():
            allocator = _Allocator()
            ctypes.pythonapi.PyMem_GetAllocator(domain, ctypes.byref(allocator))
            for name in self._COUNTED:
                setattr(allocator, name, self._counting(number, getattr(allocator, name)))
                number += 1
            ctypes.pythonapi.PyMem_SetAllocator(domain, ctypes.byref(allocator))

    def _counting(self, number: int, function: int) -> int:
        target = self._TARGETS + 8 * number
        code = self._CODE + self._STRIDE * number
        self._memory.put(target, struct.pack("<Q", function))
        # lock inc qword [rip + …]; jmp qword [rip + …]. The arguments stay where they are.
        increment = b"\xf0\x48\xff\x05" + struct.pack("<i", self._COUNTER - (code + 8))
        self._memory.put(code, increment + b"\xff\x25" + struct.pack("<i", target - (code + 14)))
        return self._memory.address + code

    def so_far(self) -> int:
        """Return the number of calls so far."""
        return self._memory.number_at(self._COUNTER)


class Callgrind:
    """The interface to callgrind, in whose process this runs (callgrind.h)."""

    _TOOL = ord("C") << 24 | ord("T") << 16
    _DUMP_AT, _START, _STOP = _TOOL + 3, _TOOL + 4, _TOOL + 5
    # mov rax, rsi; mov rdx, rdi; four rotations of rdi, of 128 bits together; xchg rbx, rbx;
    # mov rax, rdx; ret.
    _REQUEST = bytes.fromhex("4889f0 4889fa 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")

    def __init__(self) -> None:
        self._memory = Memory(mmap.PAGESIZE)
        self._memory.put(0, self._REQUEST)
        kind = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, ctypes.c_void_p)
        self._function = kind(self._memory.address)

    def _request(self, code: int, argument: int = 0) -> None:
        words = (ctypes.c_long * 6)(code, argument, 0, 0, 0, 0)
        self._function(0, ctypes.addressof(words))

    def start(self) -> None:
        """Count instructions from here on."""
        self._request(self._START)

    def stop(self, name: str) -> None:
        """Stop counting, and make callgrind write the count to a file, under ``name``."""
        self._request(self._STOP)
        text = ctypes.create_string_buffer(name.encode())
        self._request(self._DUMP_AT, ctypes.addressof(text))
