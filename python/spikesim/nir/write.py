"""Writing a network as a NIR file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np

from spikesim.network import Network
from spikesim.nir import exact
from spikesim.nir.form import Form
from spikesim.nir.hdf5 import library

VERSION = "1.0.8"
"""The version of NIR whose words are used."""

_numbers = count()


def save(net: Network, path: str) -> None:
    """Writes `net` to `path`: into a new file beside it, brought to the disk, then renamed.

    The same network gives the same bytes. Arrays stand in the file as they are: constant ones
    would be packed so well that a reader with limits had to doubt them.

    Raises:
        GraphError: The network is not valid.
        MissingExtraError: h5py is not installed.
        OSError: The file can't be written; `path` is then what it was.
        UnsupportedError: NIR has no words for a node; the message names it.
    """
    h5py = library()
    net = net.fold()
    form = Form(net)
    # A link stays a link: what it points to is replaced.
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:40]}.{os.getpid()}-{next(_numbers)}.tmp")
    try:
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "w+b") as file:
            with h5py.File(file, "w", libver="earliest", track_order=False) as h5:
                _fill(h5, net, form)
            file.flush()
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, os.stat(target).st_mode & 0o7777)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
    with contextlib.suppress(OSError):
        _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    handle = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fill(h5: Any, net: Network, form: Form) -> None:
    _text(h5, "version", VERSION)
    root = h5.create_group("node")
    _text(root, "type", "NIRGraph")
    edges = np.array(form.edges, dtype=object)
    root.create_dataset("edges", data=edges, dtype=library().string_dtype(), track_times=False)
    _text(root.create_group("metadata"), exact.KEY, exact.text(net, form))
    nodes = root.create_group("nodes")
    for node in form.nodes():
        group = nodes.create_group(node.name)
        _text(group, "type", node.type)
        _arrays(group, node.fields)
        if node.exact:
            _arrays(group.create_group("metadata"), node.exact)


def _text(group: Any, name: str, text: str) -> None:
    group.create_dataset(name, data=text, dtype=library().string_dtype(), track_times=False)


def _arrays(group: Any, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, str):
            _text(group, name, value)
        else:
            group.create_dataset(name, data=value, track_times=False)
