"""Call libbpf through ctypes: load and pin object files, read and write pinned maps.

Every function raises OSError with the path or name if the call fails.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping
from functools import cache
from types import TracebackType
from typing import Any

LIBRARY = "libbpf.so.1"
LOCKED = 4  # BPF_F_LOCK: the kernel copies the value under its spin lock

_POINTERS = (
    *("bpf_object__open_file", "bpf_object__next_program", "bpf_object__next_map"),
    "bpf_program__attach",
)
_NAMES = ("bpf_program__name", "bpf_map__name")


@cache
def libbpf() -> Any:
    """Return the library. Raises OSError if it is not installed."""
    library = ctypes.CDLL(LIBRARY, use_errno=True)
    for name in _POINTERS:
        getattr(library, name).restype = ctypes.c_void_p
    for name in _NAMES:
        getattr(library, name).restype = ctypes.c_char_p
    # By default the library prints errors to standard error; the exception has them.
    library.libbpf_set_print(None)
    return library


def _checked(result: int | None, about: str) -> int:
    """Return the result of a call, or raise OSError if it is a NULL pointer or negative."""
    if result is None or result < 0:
        number = ctypes.get_errno() or -(result or 0)
        raise OSError(number, os.strerror(number), about)
    return result


class Object:
    """An object file with eBPF programs and maps, for loading into the kernel. A context manager
    that closes it.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        opened = libbpf().bpf_object__open_file(os.fsencode(file), None)
        self._object = ctypes.c_void_p(_checked(opened, file))

    def __enter__(self) -> Object:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None
    ) -> None:
        # Pinned objects stay in the kernel.
        libbpf().bpf_object__close(self._object)

    def load(self, sizes: Mapping[str, int]) -> None:
        """Load the object; the kernel verifies its programs. `sizes`: the number of entries,
        for each map that gets another number than the object says.
        """
        for name, one in self._maps():
            if name in sizes:
                _checked(
                    libbpf().bpf_map__set_max_entries(one, sizes[name]), f"{self.file}: {name}"
                )
        _checked(libbpf().bpf_object__load(self._object), self.file)

    def pin_maps(self, folder: str) -> None:
        """Pin each map in `folder`, as a file with the map's name."""
        for name, one in self._maps():
            file = os.path.join(folder, name)
            _checked(libbpf().bpf_map__pin(one, os.fsencode(file)), file)

    def attach(self, folder: str) -> None:
        """Attach all programs to their hooks, and pin each link in `folder` under the name of its
        program.
        """
        for name, program in self._each("bpf_object__next_program", "bpf_program__name"):
            file = os.path.join(folder, name)
            attached = libbpf().bpf_program__attach(program)
            link = ctypes.c_void_p(_checked(attached, f"{self.file}: {name}"))
            try:
                _checked(libbpf().bpf_link__pin(link, os.fsencode(file)), file)
            finally:
                libbpf().bpf_link__destroy(link)

    def _maps(self) -> Iterator[tuple[str, ctypes.c_void_p]]:
        """Yield the maps of the source code, without those that the compiler adds."""
        for name, one in self._each("bpf_object__next_map", "bpf_map__name"):
            if "." not in name:
                yield name, one

    def _each(self, following: str, name_of: str) -> Iterator[tuple[str, ctypes.c_void_p]]:
        found = getattr(libbpf(), following)(self._object, None)
        while found:
            one = ctypes.c_void_p(found)
            yield getattr(libbpf(), name_of)(one).decode(), one
            found = getattr(libbpf(), following)(self._object, one)


def program_of(link: int, file: str) -> int:
    """Return the id of the program that a link attaches. `link`: its descriptor. `file`: for the
    error.
    """
    info = (ctypes.c_uint32 * 64)()  # struct bpf_link_info: type, id, prog_id, …
    size = ctypes.c_uint32(ctypes.sizeof(info))
    _checked(libbpf().bpf_obj_get_info_by_fd(link, info, ctypes.byref(size)), file)
    return int(info[2])


def pin_object(descriptor: int, file: str) -> None:
    """Pin an open object as a file in a bpf file system."""
    _checked(libbpf().bpf_obj_pin(descriptor, os.fsencode(file)), file)


def unpin_object(file: str) -> None:
    """Remove a pin. The kernel then frees the object, unless a process or another pin uses it."""
    os.unlink(file)


def is_loaded(program: int) -> bool:
    """Return whether the kernel still has the program with this id."""
    descriptor = libbpf().bpf_prog_get_fd_by_id(ctypes.c_uint32(program))
    if descriptor >= 0:
        os.close(descriptor)
    return bool(descriptor >= 0)


@contextlib.contextmanager
def pinned(file: str) -> Iterator[int]:
    """Open the object that is pinned at a file for the block; yields its descriptor."""
    descriptor = _checked(libbpf().bpf_obj_get(os.fsencode(file)), file)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Map:
    """A pinned map. `size`: bytes of a value. `flags`: LOCKED if the values have a spin lock."""

    def __init__(self, file: str, size: int, flags: int = 0) -> None:
        self.file, self._size, self._flags = file, size, flags

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key; None if the map does not have it."""
        value = ctypes.create_string_buffer(self._size)
        with pinned(self.file) as descriptor:
            try:
                done = libbpf().bpf_map_lookup_elem_flags(
                    descriptor, key, value, ctypes.c_uint64(self._flags)
                )
                _checked(done, self.file)
            except FileNotFoundError:
                return None
        return value.raw

    def set(self, key: bytes, value: bytes) -> None:
        """Set the value of a key. Raises OSError (E2BIG) if the map is full."""
        with pinned(self.file) as descriptor:
            done = libbpf().bpf_map_update_elem(
                descriptor, key, value, ctypes.c_uint64(self._flags)
            )
            _checked(done, self.file)

    def forget(self, key: bytes) -> None:
        """Remove a key and its value, if the map has it."""
        with pinned(self.file) as descriptor, contextlib.suppress(FileNotFoundError):
            _checked(libbpf().bpf_map_delete_elem(descriptor, key), self.file)

    def keys(self, size: int) -> list[bytes]:
        """Return all keys of the map. `size`: bytes of a key."""
        found: list[bytes] = []
        with pinned(self.file) as descriptor:
            while True:
                following = ctypes.create_string_buffer(size)
                before = found[-1] if found else None
                if libbpf().bpf_map_get_next_key(descriptor, before, following):
                    return found
                found.append(following.raw)
