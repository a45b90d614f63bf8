"""Measure an epoch of the separable network of `python search.py bench` in Keras, on JAX or TensorFlow.

In an environment of its own, because this project needs neither:

    python3 -m venv keras && keras/bin/pip install keras==3.15.1 jax==0.10.2 tensorflow-cpu==2.21.0
    KERAS_BACKEND=jax keras/bin/python -m benchmarks.training.keras_loop [--images 6000] [--epochs 4]
    KERAS_BACKEND=tensorflow keras/bin/python -m benchmarks.training.keras_loop

The images are noise of MNIST's shape in memory. An epoch is one pass over the training images with rotation, and one
over a sixth as many test images, compiled by the backend and on all cores. Prints the median of the epochs after the
first one, which compiles. Compare it with `python search.py bench --network separable`, run right before or after.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from typing import Any

N_PARAMETERS = 7888  # as SEPARABLE of search.engine.benchmark has
BATCH = 128


def make_model() -> Any:
    """Return the network, compiled for training with the recipe of the benchmark."""
    import keras
    from keras import layers

    def block(kind: type, channels: int, padding: str) -> list[Any]:
        return [
            kind(channels, 3, padding=padding, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]

    separable = layers.SeparableConv2D
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.RandomRotation(7 / 360, fill_mode="constant"),
            layers.Rescaling(1 / 0.29, -0.5 / 0.29),
            *block(layers.Conv2D, 16, "valid"),
            *block(separable, 20, "valid"),
            *block(separable, 28, "valid"),
            layers.MaxPooling2D(2),
            *block(separable, 36, "same"),
            *block(separable, 44, "valid"),
            *block(separable, 48, "valid"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, use_bias=False),
        ]
    )
    n_parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    if n_parameters != N_PARAMETERS:
        raise SystemExit(f"the network has {n_parameters} parameters, not {N_PARAMETERS}")
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def main() -> None:
    """Measure the epochs and print their median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()

    import keras
    import numpy

    generator = numpy.random.default_rng(0)

    def split(n: int) -> tuple[Any, Any]:
        return generator.integers(0, 256, (n, 28, 28, 1), dtype=numpy.uint8), generator.integers(0, 10, n)

    images, labels = split(args.images)
    test = split(max(1, args.images // 6))
    model, seconds = make_model(), []
    for _ in range(args.epochs):
        started = time.perf_counter()
        model.fit(images, labels, batch_size=BATCH, verbose=0)
        model.evaluate(*test, batch_size=1000, verbose=0)
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds[1:])
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, {os.cpu_count()} cores")
    print(f"{median:.2f} s an epoch of {args.images:,} images; the first one, with the compilation, {seconds[0]:.2f} s")


if __name__ == "__main__":
    main()
