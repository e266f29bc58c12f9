"""The ANN that a spiking network replaces, in the runtimes that people run it in.

The same layers and weights with ReLU in the neurons' place, once.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from row import ROUNDING, Contestant, Row, close, same_predictions
from snn_libraries import Torch


class Ann(Torch):
    """torch, eager: what the others of this file are held against."""

    name = "torch ANN (one pass)"
    spiking = False

    def neuron(self) -> nn.Module:
        return nn.ReLU()

    def reset(self) -> None:
        pass

    @torch.inference_mode()
    def run(self) -> NDArray[Any]:
        return np.asarray(self.model(self.x).numpy())

    def verify(self, reference: Contestant) -> bool | None:
        return None


class Compiled(Ann):
    """torch.compile, weights frozen into the code."""

    name = "torch.compile ANN"

    def settle(self) -> None:
        super().settle()
        self.model = torch.compile(self.model, options={"freezing": True}, dynamic=False)
        self.run()
        self.run()

    @torch.no_grad()
    def run(self) -> NDArray[Any]:
        return np.asarray(self.model(self.x).numpy())

    def verify(self, reference: Contestant) -> bool | None:
        return close(self.run(), self.row.ann_output, ROUNDING)


class Exported(Contestant):
    """A runtime that reads ONNX."""

    spiking = False
    needs: ClassVar[tuple[str, ...]] = ("onnx",)

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.x = row.x.numpy()

    def verify(self, reference: Contestant) -> bool | None:
        if self.precision != "f32":
            return None
        return close(self.run(), self.row.ann_output, ROUNDING)

    def agreement(self, reference: Contestant) -> float | None:
        if self.precision == "f32":
            return None
        return same_predictions(self.run(), self.row.ann_output)

    def files(self, folder: str) -> Path:
        """The network in float32, or in 8 bits."""
        return int8(self.row, Path(folder)) if self.precision == "int8" else fp32(self.row, folder)


class OnnxRuntime(Exported):
    """ONNX Runtime."""

    name, package = "onnxruntime ANN", "onnxruntime"

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = row.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Its threads spin within a call, not between calls, when it is the others' turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        with tempfile.TemporaryDirectory() as folder:
            self.session = onnxruntime.InferenceSession(
                str(self.files(folder)), options, providers=["CPUExecutionProvider"]
            )

    def run(self) -> NDArray[Any]:
        return np.asarray(self.session.run(None, {"x": self.x})[0])


class OnnxRuntimeInt8(OnnxRuntime):
    """ONNX Runtime, static 8-bit, a scale for each output channel."""

    name, precision = "onnxruntime int8 ANN", "int8"
    needs: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")


class OpenVino(Exported):
    """OpenVINO, the latency hint: one request on all threads."""

    name, package = "openvino ANN", "openvino"

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        import openvino

        wanted = "bf16" if self.precision == "bf16" else "f32"
        settings = {
            "INFERENCE_NUM_THREADS": row.threads,
            "INFERENCE_PRECISION_HINT": wanted,
            "PERFORMANCE_HINT": "LATENCY",
        }
        core = openvino.Core()
        with tempfile.TemporaryDirectory() as folder:
            model = core.compile_model(core.read_model(str(self.files(folder))), "CPU", settings)
        self.request = model.create_infer_request()
        self.request.set_input_tensor(openvino.Tensor(self.x, shared_memory=True))

    def run(self) -> NDArray[Any]:
        self.request.infer()
        return np.array(self.request.get_output_tensor().data)


class OpenVinoBf16(OpenVino):
    """OpenVINO in bfloat16."""

    name, precision = "openvino bf16 ANN", "bf16"


class OpenVinoInt8(OpenVino):
    """OpenVINO on the 8-bit network that ONNX Runtime's quantiser made."""

    name, precision = "openvino int8 ANN", "int8"
    needs: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")


def fp32(row: Row, folder: str) -> Path:
    """The ANN as an ONNX file."""
    path = Path(folder, "ann.onnx")
    with warnings.catch_warnings():
        # The exporter without further dependencies is called legacy.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            row.ann, (row.x,), str(path), dynamo=False, input_names=["x"], output_names=["y"]
        )
    return path


def int8(row: Row, folder: Path) -> Path:
    """The ANN in 8 bits: weights per output channel, activations by their extremes on images."""
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        """The images that the weights were calibrated on."""

        def __init__(self) -> None:
            whole = len(row.calibration) // row.batch * row.batch
            parts = row.calibration[:whole].split(row.batch)
            self.parts: Iterator[Any] = iter(parts)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            part = next(self.parts, None)
            return None if part is None else {"x": part.numpy()}

    plain, out = fp32(row, str(folder)), folder / "int8.onnx"
    prepared = folder / "prepared.onnx"
    quantization.quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(out),
        Images(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return out
