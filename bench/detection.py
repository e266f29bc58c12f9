"""mAP against T of a converted detector, run by the Rust core.

uv run --group dev spikesim train mnist-detection --out detector.safetensors
uv run --group dev python bench/detection.py detector.safetensors
"""

from __future__ import annotations

import argparse

import spikesim as ss
from spikesim.detection import Region
from spikesim.recipes import detection

VARIANTS = (
    ("channel_wise", {"v0": 0.5}),
    ("channel_wise", {}),
    ("percentile", {"v0": 0.5}),
    ("percentile", {}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--steps", default="8,16,32,64")
    parser.add_argument("--canvases", type=int, default=1000)
    given = parser.parse_args()
    module, meta = ss.models.load(given.model)
    region, data = Region.of(meta["region"]), meta["canvases"]
    test = detection.canvases(data, "test", given.canvases)
    calibration = detection.canvases(data, "train", 300, seed=1).images
    steps = [int(n) for n in given.steps.split(",")]
    ann = detection.evaluate(detection.module_predictor(module), test, region).mean
    print(f"ANN: mAP@0.5 {ann:.4f} on {given.canvases} canvases\n")
    print("| method | " + " | ".join(f"T={n}" for n in steps) + " |")
    print("|---|" + "---|" * len(steps))
    for method, options in VARIANTS:
        net, _ = ss.convert(
            module, calibration, method=method, steps=[1], validation=calibration[:8], **options
        )
        scores = [
            detection.evaluate(detection.network_predictor(net, n), test, region).mean
            for n in steps
        ]
        name = method + "".join(f":{k}={v}" for k, v in options.items())
        print(f"| {name} | " + " | ".join(f"{score:.4f}" for score in scores) + " |", flush=True)


if __name__ == "__main__":
    main()
