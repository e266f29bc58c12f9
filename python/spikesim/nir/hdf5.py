"""Reading HDF5 files that nobody vouches for.

h5py believes a file: it follows links and external storage to any file of the host, and takes the
memory that a header asks for. Here a file is walked once, its links, types, filters and sizes held
against what may be and against the bytes that are there, before any of its data is read.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from spikesim.errors import FormatError, MissingExtraError, SpikesimError

MAX_DEPTH = 2 * 32 + 4
"""Deepest nesting of groups: two to each of 32 nested graphs ("nodes" and its name), then a node
and its metadata."""

MAX_ENTRIES = 16_384
"""Most entries of a group: there is none with more in a graph within its limits."""

MAX_METADATA = 512
"""Most entries of a metadata group and the groups in it."""

MAX_OBJECTS = 1 << 18
"""Most groups and datasets in all: 16 to each of as many nodes."""

MAX_NAME = 256
"""Longest name of a group or dataset, in bytes."""

MAX_AXES = 8
FREE_BYTES = 16 << 20
"""What one compressed array, or all of them that are kept, may unpack to, however small the file
is."""
FREE_WORK = 512 << 20
"""What all of them may unpack to, one after the other."""
FREE_EACH = 1 << 20
WHOLE_RATIO = 100
"""How many times the size of the file its compressed data may unpack to beyond that."""
EACH_RATIO = 1000
"""How many times its stored size one compressed array may unpack to."""

# What h5py raises for a file that is broken.
_DAMAGE = (
    *(OSError, KeyError, RuntimeError, ValueError, TypeError, UnicodeError, OverflowError),
    *(EOFError, AttributeError, IndexError, MemoryError, NotImplementedError),
)


def library() -> Any:
    """h5py.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("nir: reading NIR needs h5py; install spikesim[nir]") from error
    return h5py


class _Bytes:
    """The file as HDF5 sees it: bytes that are not there are an error, never what memory held."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size, self._at = file, size, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        self._file.seek(self._at)
        done = 0
        while done < len(view):
            n = self._file.readinto(view[done:])  # type: ignore[attr-defined]
            if not n:
                raise OSError(f"{len(view)} bytes at {self._at} are not all there")
            done += n
        self._at += done
        return done

    def read(self, size: int = -1) -> bytes:
        size = max(0, self.size - self._at) if size < 0 else size
        data = bytearray(size)
        self.readinto(data)
        return bytes(data)

    def write(self, _: Any) -> int:
        raise io.UnsupportedOperation("write")

    def truncate(self, _: int | None = None) -> int:
        raise io.UnsupportedOperation("truncate")

    def flush(self) -> None:
        pass


@dataclass(slots=True)
class Dataset:
    """An array or string of the file, checked but not read."""

    where: str
    """Its path in the file, for messages."""
    shape: tuple[int, ...] | None
    """None: there is nothing in it (HDF5's null space)."""
    kind: str
    """"f", "i", "u", "b" as NumPy's, or "S" for strings."""
    itemsize: int
    _tree: Tree = field(repr=False)
    _problem: str | None = field(repr=False)
    """Why it can't be read; said when it is."""
    longest: int = 0
    """Bytes of its longest string."""
    _packed: int = field(default=0, repr=False)
    """Bytes that it unpacks to, if it is compressed."""

    @property
    def size(self) -> int:
        return math.prod(self.shape or ())

    def keep(self) -> None:
        """Counts it among what is kept of the file.

        Raises:
            FormatError: That is too much for what compressed data there is.
        """
        self._tree.keep(self.where, self._packed)

    def array(self, dtype: DTypeLike, kept: bool = True) -> NDArray[Any]:
        """Its numbers as `dtype`, converted by HDF5 on the way; `kept` as `keep`.

        Raises:
            FormatError: It holds strings or nothing, or can't be read.
        """
        if kept:
            self.keep()
        with self._tree.damage(self.where):
            found = self._open()
            if self.kind == "S" or self.shape is None:
                raise FormatError(f"{self.where} is no array of numbers, expected one")
            from h5py import h5s

            values = np.empty(self.shape, found.dtype if self.kind == "b" else dtype)
            if values.size:
                found.read(h5s.ALL, h5s.ALL, values)
            return values.astype(dtype, copy=False)

    def strings(self, most: int) -> list[str]:
        """Its strings of at most `most` bytes, in C order.

        Raises:
            FormatError: It holds something else, longer ones, no UTF-8, or can't be read.
        """
        with self._tree.damage(self.where):
            found = self._open()
            if self.kind != "S" or self.shape is None:
                raise FormatError(f"{self.where} is no text, expected some")
            if self.longest > most:
                raise FormatError(
                    f"{self.where} has a string of {self.longest} bytes, expected at most {most}"
                )
            h5py = library()
            values = np.asarray(h5py.Dataset(found)[()], dtype=object).reshape(-1).tolist()
            return [v if isinstance(v, str) else bytes(v).decode("utf-8") for v in values]

    def text(self, most: int) -> str:
        """The one string of at most `most` bytes that it holds."""
        if self.shape != ():
            raise FormatError(f"{self._tree.path}: {self.where} is no single string, expected one")
        return self.strings(most)[0]

    def _open(self) -> Any:
        """HDF5's own object; not kept, since a file may have very many."""
        if self._problem is not None:
            raise FormatError(f"{self.where} {self._problem}")
        return self._tree.find(self.where)


@dataclass(frozen=True)
class Later:
    """A metadata group that is not walked unless somebody asks for it."""

    where: str
    """Its path in the file."""


Group = dict[str, Any]
"""Groups as dictionaries of groups and datasets; metadata as `Later`."""


class Tree:
    """One open file.

    Attributes:
        path: Where it is, for messages.
        root: Its groups and datasets.
    """

    def __init__(self, path: str, file: BinaryIO, size: int) -> None:
        self.path = path
        self._bytes = _Bytes(file, size)
        self._objects = 0
        self._unpacked = self._expanded = self._kept = 0
        self._seen: set[Any] = set()
        h5py = library()
        with self.damage("the file"):
            self._file = h5py.File(self._bytes, "r")
        try:
            with self.damage("the file"):
                self._seen.add(_address(self._file.id))
                self.root = self._group(self._file.id, "", 0)
        except BaseException:
            self.close()
            raise

    def find(self, where: str) -> Any:
        """The dataset at a path whose links were all checked."""
        from h5py import h5o

        return h5o.open(self._file.id, where.encode())

    def walk(self, later: Later) -> Group:
        """A metadata group."""
        with self.damage(later.where):
            depth = later.where.count("/") + 1
            return self._group(self.find(later.where), later.where, depth, MAX_METADATA)

    def keep(self, where: str, size: int) -> None:
        """Counts what unpacked data is kept."""
        self._kept += size
        if size and self._kept > FREE_BYTES + WHOLE_RATIO * self._bytes.size:
            raise FormatError(
                f"{self.path}: {where} and those before it would unpack to {self._kept} bytes "
                f"that differ, expected at most {WHOLE_RATIO} times the size of the file"
            )

    def expand(self, what: str, size: int) -> None:
        """Counts `size` bytes that the reader makes of fewer in the file, and refuses too many."""
        self._expanded += size
        most = FREE_BYTES + self._bytes.size
        if self._expanded > most:
            raise FormatError(
                f"{self.path}: {what} and those before it would be spread to {self._expanded} "
                f"bytes, expected at most {most}"
            )

    def close(self) -> None:
        with contextlib.suppress(*_DAMAGE):
            self._file.close()

    @contextlib.contextmanager
    def damage(self, where: str) -> Iterator[None]:
        """What h5py says of a broken file becomes a FormatError that begins with the path."""
        try:
            yield
        except FormatError as error:
            text = str(error)
            if text.startswith(f"{self.path}: "):
                raise
            raise FormatError(f"{self.path}: {text}") from error
        except SpikesimError:
            raise
        except _DAMAGE as error:
            text = " ".join(str(error).split())[:200] or type(error).__name__
            raise FormatError(
                f"{self.path}: {where} is broken ({text}), expected a whole NIR file"
            ) from error

    def _group(self, group: Any, where: str, depth: int, most: int = MAX_ENTRIES) -> Group:
        from h5py import h5d, h5g, h5l, h5o

        if depth > MAX_DEPTH:
            raise FormatError(f"{where} nests too deep, expected at most {MAX_DEPTH} levels")
        n = group.get_num_objs()
        self._count(n, where, most)
        names: list[tuple[bytes, int, int]] = []

        def link(name: bytes, info: Any) -> None:
            names.append((name, info.type, info.u))

        group.links.iterate(link, info=True)
        entries: Group = {}
        for raw, kind, address in names:
            if len(raw) > MAX_NAME:
                raise FormatError(
                    f"{where or 'the file'} has a node's name of {len(raw)} bytes, expected at "
                    f"most {MAX_NAME}"
                )
            name = raw.decode("utf-8")
            path = f"{where}/{name}" if where else name
            if kind != h5l.TYPE_HARD:
                what = {h5l.TYPE_SOFT: "a soft", h5l.TYPE_EXTERNAL: "an external"}
                raise FormatError(
                    f"{path} is {what.get(kind, 'an unknown kind of')} link, expected data"
                )
            if address in self._seen:
                raise FormatError(f"{path} is linked twice, expected everything once")
            self._seen.add(address)
            found = h5o.open(group, raw)
            if isinstance(found, h5g.GroupID):
                if most < MAX_ENTRIES:
                    entries[name] = self._group(found, path, depth + 1, most - n)
                elif name == "metadata" and depth % 2:
                    entries[name] = Later(path)
                else:
                    entries[name] = self._group(found, path, depth + 1)
            elif isinstance(found, h5d.DatasetID):
                entries[name] = self._dataset(found, path)
            else:
                raise FormatError(f"{path} is a named type, expected data")
        return entries

    def _count(self, more: int, where: str, most: int) -> None:
        self._objects += more
        if more > most:
            raise FormatError(f"{where or 'the file'} has {more} entries, expected at most {most}")
        if self._objects > MAX_OBJECTS:
            raise FormatError(
                f"{where or 'the file'} has {self._objects} entries, expected at most {MAX_OBJECTS}"
            )

    def _dataset(self, found: Any, where: str) -> Dataset:
        from h5py import h5d, h5s

        layout = found.get_create_plist()
        # Before the shape is asked for: HDF5 opens a virtual dataset's sources to tell it.
        if layout.get_layout() == h5d.VIRTUAL:
            raise FormatError(f"{where} is a virtual dataset, expected data in the file")
        if layout.get_external_count():
            raise FormatError(f"{where} has external storage, expected data in the file")
        space = found.get_space()
        if space.get_simple_extent_type() == h5s.NULL:
            return Dataset(where, None, "f", 0, self, None)
        shape = tuple(map(int, space.get_simple_extent_dims()))
        if len(shape) > MAX_AXES:
            raise FormatError(f"{where} has {len(shape)} axes, expected at most {MAX_AXES}")
        kind, itemsize, problem = _type(found.get_type())
        dataset = Dataset(where, shape, kind, itemsize, self, problem)
        if problem is None:
            self._sizes(found, layout, dataset, itemsize)
        return dataset

    def _sizes(self, found: Any, layout: Any, dataset: Dataset, itemsize: int) -> None:
        """Holds what a dataset says it has against what is there."""
        from h5py import h5d

        where, declared = dataset.where, dataset.size * itemsize
        if declared == 0:
            return
        stored = int(found.get_storage_size())
        if layout.get_layout() != h5d.CHUNKED:
            if stored != declared or stored > self._bytes.size:
                raise FormatError(
                    f"{where} should have {declared} bytes, found {min(stored, self._bytes.size)}"
                )
        else:
            for i in range(layout.get_nfilters()):
                code = int(layout.get_filter(i)[0])
                if code not in _FILTERS:
                    raise FormatError(
                        f"{where} is packed with filter {code}, expected gzip and shuffle only"
                    )
            # HDF5 takes a chunk at a time, whatever part of it belongs to the array.
            chunk = math.prod(map(int, layout.get_chunk())) * itemsize
            declared = max(declared, chunk)
            if stored > self._bytes.size or declared > FREE_EACH + EACH_RATIO * stored:
                raise FormatError(
                    f"{where} would unpack {stored} bytes to {declared}, expected at "
                    f"most {EACH_RATIO} times"
                )
            self._unpacked += declared
            most = WHOLE_RATIO * self._bytes.size
            if declared > FREE_BYTES + most or self._unpacked > FREE_WORK + most:
                raise FormatError(
                    f"{where} and those before it would unpack to {self._unpacked} bytes, "
                    f"expected at most {WHOLE_RATIO} times the size of the file"
                )
            dataset._packed = declared
        if dataset.kind == "S":
            dataset.longest = itemsize
            if found.get_type().is_variable_str():
                self._lengths(found, dataset)

    def _lengths(self, found: Any, dataset: Dataset) -> None:
        """Strings stand in the file's heap, and many references may name one of them: what they
        make together is held against the size of the file, where each stands once."""
        offset, n = found.get_offset(), dataset.size
        dataset.longest = 0
        if offset is None:
            if n * self._bytes.size > FREE_BYTES:
                raise FormatError(
                    f"{dataset.where} has strings in chunks, expected them in one piece"
                )
            return
        self._bytes.seek(offset)
        raw = self._bytes.read(n * _REFERENCE)
        references = np.frombuffer(raw, np.uint8).reshape(n, _REFERENCE)
        lengths = np.ascontiguousarray(references[:, :4]).view("<u4")
        dataset.longest = int(lengths.max())
        if int(lengths.sum(dtype=np.uint64)) > self._bytes.size:
            raise FormatError(
                f"{dataset.where} has strings of {int(lengths.sum(dtype=np.uint64))} bytes, "
                f"expected no more than the file's {self._bytes.size}"
            )


_REFERENCE = 16
"""Bytes of a reference to a string; a file made for 32 bits has fewer and is refused."""

_FILTERS = (1, 2)
"""HDF5's numbers of gzip and shuffle."""


def _address(group: Any) -> int:
    from h5py import h5o

    return int(h5o.get_info(group).addr)


def _type(stored: Any) -> tuple[str, int, str | None]:
    """(kind, bytes an item, what is wrong with it)."""
    from h5py import h5t

    kind, size = stored.get_class(), int(stored.get_size())
    if kind == h5t.STRING:
        # Of strings of any length the file holds a length and where in its heap they are.
        return "S", _REFERENCE if stored.is_variable_str() else size, None
    if kind == h5t.INTEGER:
        if size in (1, 2, 4, 8) and stored.get_precision() == 8 * size:
            return ("u" if stored.get_sign() == h5t.SGN_NONE else "i"), size, None
    elif kind == h5t.FLOAT:
        plain = (
            *(h5t.IEEE_F16LE, h5t.IEEE_F16BE, h5t.IEEE_F32LE, h5t.IEEE_F32BE),
            *(h5t.IEEE_F64LE, h5t.IEEE_F64BE),
        )
        if any(stored.equal(t) for t in plain):
            return "f", size, None
    elif kind == h5t.ENUM and size == 1 and stored.dtype == np.dtype(bool):
        return "b", size, None
    return "?", size, "has a type of its own, expected numbers of 8 to 64 bits, bool or text"


@contextlib.contextmanager
def opened(path: str) -> Iterator[Tree]:
    """The file `path`, walked and checked.

    Raises:
        FormatError: It is no HDF5 file, a damaged one, or one that asks for what is refused.
        MissingExtraError: h5py is not installed.
        OSError: It can't be opened.
    """
    library()
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FormatError(f"{path}: found no regular file, expected a NIR file")
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        tree = Tree(path, file, size)
        try:
            yield tree
        finally:
            tree.close()
