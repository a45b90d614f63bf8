"""ResNet-8, the reference network of image classification in MLPerf Tiny (Banbury et al., arXiv 2106.07597).

The source is benchmark/training/image_classification of https://github.com/mlcommons/tiny: keras_model.py, with 16
filters in the first stage, and train.py. The quality target of the benchmark is 85 % top-1 accuracy on CIFAR-10.
"""

from __future__ import annotations

from models.baseline import Baseline, StatedResult
from models.recipe import Augmentation, RecipeConfig, Schedule
from models.spec import ArchSpec, Block, Head, Stage


def _residual(width: int, stride: int) -> Block:
    return Block(width, kind="residual", padding="same", bias=True, stride=stride)


_SPEC = ArchSpec(
    input_shape=(3, 32, 32),
    n_classes=10,
    stages=(
        Stage((Block(16, padding="same", bias=True), _residual(16, 1))),
        Stage((_residual(32, 2),)),
        Stage((_residual(64, 2),)),
    ),
    head=Head("gap_linear", bias=True),
)

_RECIPE = RecipeConfig(
    epochs=500,
    batch_size=32,
    optimizer="adam",
    lr=0.001,
    momentum=0.9,
    nesterov=False,
    # The source adds 1e-4 times the squared kernels to the loss, whose gradient is 2e-4 times the kernels.
    weight_decay=2e-4,
    label_smoothing=0.0,
    ema_decay=0.0,
    schedule=Schedule(kind="step", step_size=1, gamma=0.99),
    augmentation=Augmentation(rotation=15.0, shift=0.1, mirror_p=0.5),
)

RESNET8 = Baseline(
    id="resnet8",
    title="ResNet-8 of MLPerf Tiny, image classification",
    spec=_SPEC,
    recipes={"adam_decay": _RECIPE},
    stated={"adam_decay": StatedResult("document", 500)},
    n_params_stated="",
    receptive_field_stated=None,
    source="mlcommons/tiny: benchmark/training/image_classification: keras_model.py, train.py@863c77a",
    discrepancies=(
        "The source's 1x1 shortcuts have biases, 96 parameters that add nothing to the bias of batch norm; here none.",
        "At stride 2 the source pads below and to the right alone, here all four sides are padded.",
        "The source decays kernels alone, here all parameters; it fills with the nearest pixel, here with black.",
        "The quality target of the benchmark is 85 % on CIFAR-10; it is no result of this recipe.",
    ),
)
