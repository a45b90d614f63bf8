"""Hand-designed networks that a search has to beat, with their layers, recipes and published results.

Those for MNIST come from five public repositories, each with a write-up (README.md) and notebooks. Where the two
disagree, the layers and the recipe are those of the notebook that produced the published results, and the disagreement
is recorded.
"""

from __future__ import annotations

from models import baseline_networks as networks
from models import baseline_recipes as recipes
from models.baseline import Baseline, StatedResult
from models.baseline_resnet8 import RESNET8

__all__ = ["BASELINES", "MNIST_BASELINES", "Baseline", "StatedResult", "baselines_for"]

_S000 = (
    "pmgarg/ERAV4_Session5@9b50b9c3ac12276845fc6270140ae9a2b87c1172: README.md, Session5_model_training_SGD.ipynb, "
    "_SGD_no_scheduler.ipynb, _adam.ipynb, _adamw.ipynb"
)
_S001 = (
    "SXD390/ERA-V4-Session_6_MNIST_SUB_8K_Params@a1264c7d201b6e927d5d2641ee3e6d0caf3346af: README.md, "
    "MNIST_Sub_8K.ipynb"
)
_S002 = "pandurangpatil/erav4-backpropbay@67ac21cf079eef6bc46593a939b53988ab4040c4: session6-ass/README.md, train.py, "
_S003 = "ankited3/S5@08be5118f968c404c3d192aa8f5792b996dbc3d9: README.md, EVA4_S5_assignment.ipynb"
_S004 = "cr21/Mnist-experiments@d8ff0210f21e4f28ebb14d29c52c955f8dab8ea6: README.md, "

_S001_LOSS = "Test losses include label smoothing of 0.02 and cannot fall below about 0.130."
_S003_LOSS = "Printed test losses are about 127 times too small: sums of batch means, divided by the number of images."
_S003_FIELD = (
    "The stated field of 18 after the last convolution should be 22; none is given for the linear layer, which sees 38."
)
_S003_LR = "The learning rate is not stated; 0.002 is that of iteration 4, the only notebook kept."
_S003_COUNT = (
    "Neither 19,418 nor 19,300 fits the description: batch norm after all seven convolutions makes 19,434, and 19,402 "
    "without the one that the notebook's forward pass skips, which is what is built here."
)

_ALL = (
    Baseline(
        id="s000_net",
        title="Seven convolutions, four optimizer recipes",
        spec=networks.S000_NET,
        recipes=recipes.S000_NET,
        stated={
            "exp1_sgd_onecycle": StatedResult("document", 20, 0.9956, (20,), (0.9956,)),
            "exp2_sgd_constant": StatedResult("document", 20, 0.9910, (20,), (0.9910,)),
            "exp3_adam_onecycle": StatedResult("document", 20, 0.9961, (20,), (0.9961,)),
            "exp4_adamw_onecycle": StatedResult("document", 20, 0.9960, (20,), (0.9960,)),
        },
        n_params_stated="18,662",
        receptive_field_stated=48,
        source=_S000,
        discrepancies=(
            "Receptive fields from the first pool on are stated as 14 18 22 44 44 48; they are 8 12 16 18 26 34.",
            "The write-up does not mention the augmentation.",
            "exp1: weight decay is stated as 1e-6 and as 1e-4; 1e-4 is used. The log's best is 99.57 % at epoch 19.",
            "exp1: the optimizer is given no momentum, yet the one-cycle schedule moves it between 0.95 and 0.85.",
            "exp2: lr is stated as 0.06 and used as 0.006; the log's best is 99.24 % at epoch 19.",
            "exp3: lr is stated as 0.01 and given as 0.001; the schedule replaces both by 0.002 rising to 0.02.",
            "exp4: lr is stated as 0.02 and as 0.001 and given as 0.002; 99 % is passed at epoch 6, not 9.",
            "Test losses include label smoothing of 0.05 and cannot fall below about 0.282.",
        ),
    ),
    Baseline(
        id="s001_model1",
        title="Model 1 (baseline, over budget)",
        spec=networks.S001_MODEL1,
        recipes=recipes.S001,
        stated={"sgd_nesterov_onecycle": StatedResult("document", 15, 0.9958, (13,), (0.9958, 0.9955, 0.9950))},
        n_params_stated="13,808",
        receptive_field_stated=32,
        source=_S001,
        discrepancies=(
            "Model_1.py differs at the same count: batch norm before the activation, dropout of 0.05 in two places.",
            _S001_LOSS,
        ),
    ),
    Baseline(
        id="s001_model2",
        title="Model 2 (GAP + 1x1 transitions)",
        spec=networks.S001_MODEL2,
        recipes=recipes.S001,
        stated={"sgd_nesterov_onecycle": StatedResult("document", 15, 0.9927, (14, 15), (0.9925, 0.9927, 0.9927))},
        n_params_stated="9,382",
        receptive_field_stated=40,
        source=_S001,
        discrepancies=("Model_2.py has no biases and 9,264 parameters; 9,382 is the notebook's class.", _S001_LOSS),
    ),
    Baseline(
        id="s001_model3",
        title="Model 3 (final, sub-8k)",
        spec=networks.S001_MODEL3,
        recipes=recipes.S001,
        stated={"sgd_nesterov_onecycle": StatedResult("document", 15, 0.9947, (13, 14), (0.9947, 0.9947, 0.9944))},
        n_params_stated="7,784",
        receptive_field_stated=42,
        source=_S001,
        discrepancies=(
            "Model_3.py adds dropout of 0.05 before the pooling; the notebook's class has none.",
            _S001_LOSS,
        ),
    ),
    Baseline(
        id="s002_model1",
        title="Model 1 (baseline CNN)",
        spec=networks.S002_MODEL1,
        recipes=recipes.S002_MODEL1,
        stated={"sgd_constant": StatedResult("log", 20, 0.9906, (16, 20), (0.9891, 0.9890, 0.9906))},
        n_params_stated="7,108",
        receptive_field_stated=None,
        source=_S002 + "model1.py, train_model1.ipynb",
        discrepancies=(
            "The best of the first 15 epochs is 98.98 %, at epoch 12.",
            "The best training accuracy is stated as 99.63 % and logged as 99.66 %.",
        ),
    ),
    Baseline(
        id="s002_model2",
        title="Model 2 (GAP + dropout)",
        spec=networks.S002_MODEL2,
        recipes=recipes.S002_MODEL2,
        stated={"sgd_constant": StatedResult("log", 15, 0.9899, (15,), (0.9864, 0.9859, 0.9899))},
        n_params_stated="about 6,000",
        receptive_field_stated=None,
        source=_S002 + "model2.py, train_model2.ipynb",
        discrepancies=("The exact count is 6,280.", "The best epoch is the last, 0.40 points above the one before it."),
    ),
    Baseline(
        id="s002_model3",
        title="Model 3 (augmentation + OneCycleLR)",
        spec=networks.S002_MODEL3,
        recipes=recipes.S002_MODEL3,
        stated={"sgd_onecycle": StatedResult("log", 15, 0.9950, (15,), (0.9939, 0.9937, 0.9950))},
        n_params_stated="about 7,000",
        receptive_field_stated=None,
        source=_S002 + "model3.py, train_model3.ipynb",
        discrepancies=(
            "The exact count is 7,416.",
            "20 epochs are stated; the run ended after 15, its schedule laid out for 20 and at lr 0.0141.",
            "Only the last epoch reaches 99.4 %.",
        ),
    ),
    Baseline(
        id="s003_iter1",
        title="Iteration 1 (no BN, no dropout)",
        spec=networks.S003_ITER1,
        recipes=recipes.S003_ITER1,
        stated={"adam_constant": StatedResult("document", 19, last_accuracies=(0.9916,))},
        n_params_stated="19,146",
        receptive_field_stated=None,
        source=_S003,
        discrepancies=(_S003_LR, _S003_FIELD, _S003_LOSS),
    ),
    Baseline(
        id="s003_iter2",
        title="Iteration 2 (BN + dropout 0.1)",
        spec=networks.S003_NORMALISED,
        recipes=recipes.S003_ITER2,
        stated={"adam_constant": StatedResult("document", 19, 0.993, approximate=True)},
        n_params_stated="19,418 and 19,300",
        receptive_field_stated=None,
        source=_S003,
        discrepancies=(_S003_COUNT, _S003_LR, _S003_FIELD, _S003_LOSS),
    ),
    Baseline(
        id="s003_iter3",
        title="Iteration 3 (StepLR 10)",
        spec=networks.S003_NORMALISED,
        recipes=recipes.S003_ITER3,
        stated={"adam_steplr10": StatedResult("document", 19, 0.994, approximate=True)},
        n_params_stated="as iteration 2",
        receptive_field_stated=None,
        source=_S003,
        discrepancies=(_S003_COUNT, _S003_LR, _S003_FIELD, _S003_LOSS),
    ),
    Baseline(
        id="s003_iter4",
        title="Iteration 4 (StepLR 5)",
        spec=networks.S003_NORMALISED,
        recipes=recipes.S003_ITER4,
        stated={
            "adam_steplr5_source": StatedResult("log", 9, 0.9941, (6, 8), (0.9936, 0.9941, 0.9937)),
            "adam_steplr5_document": StatedResult("document", 6, 0.9941, (6,), (0.9889, 0.9915, 0.9941)),
        },
        n_params_stated="as iteration 2",
        receptive_field_stated=None,
        source=_S003,
        discrepancies=(
            _S003_COUNT,
            "The stated gamma is 0.5; the notebook that printed the quoted epochs has 0.25 and an unmentioned shift.",
            "19 epochs are stated; the three kept logs (best 99.41, 99.54 and 99.51 %) end after 7 to 9.",
            _S003_FIELD,
            _S003_LOSS,
        ),
    ),
    Baseline(
        id="s004_net1",
        title="Net1 (7x7 head)",
        spec=networks.S004_NET1,
        recipes=recipes.S004_NET1,
        stated={"sgd_constant": StatedResult("log", 15, 0.9924, (14,), (0.9922, 0.9924, 0.9896))},
        n_params_stated="10.9k",
        receptive_field_stated=28,
        source=_S004 + "ERA_4_S6_Exp1.ipynb",
        discrepancies=(
            "The best is stated as 99.22 % at epoch 15; the log has 98.96 % there and 99.24 % at epoch 14.",
        ),
    ),
    Baseline(
        id="s004_net2",
        title="Net2 (global average pooling)",
        spec=networks.S004_NET2,
        recipes=recipes.S004_NET2,
        stated={"sgd_constant": StatedResult("log", 15, 0.9920, (13,), (0.9920, 0.9913, 0.9917))},
        n_params_stated="7.45k",
        receptive_field_stated=28,
        source=_S004 + "ERA_4_S6_Exp4.ipynb",
        discrepancies=(
            "The linked notebook, which is followed here, builds 8,024; the widths of the 7.45k network are lost.",
            "The write-up's 98.99 % is of that lost network.",
            "The last 3x3 convolution keeps the map at 6x6, so it is padded: the field is 32 at the logits, not 28.",
        ),
    ),
    Baseline(
        id="s004_net3",
        title="Net3 (best, 99.43)",
        spec=networks.S004_NET3,
        recipes=recipes.S004_NET3,
        stated={"sgd_constant": StatedResult("document", 15, 0.9943, (12,), (0.9929, 0.9926, 0.9926))},
        n_params_stated="7,496",
        receptive_field_stated=28,
        source=_S004 + "exp6.ipynb",
        discrepancies=(
            "The write-up does not mention the ColorJitter, and its rotation of 5 % is 5 degrees.",
            "Only epochs 9 and 12 reach 99.4 %; the last three stay at 99.3 %.",
        ),
    ),
)

MNIST_BASELINES: dict[str, Baseline] = {baseline.id: baseline for baseline in _ALL}
BASELINES: dict[str, Baseline] = {**MNIST_BASELINES, RESNET8.id: RESNET8}


def baselines_for(input_shape: tuple[int, int, int], n_classes: int) -> dict[str, Baseline]:
    """Return the hand-designed networks that take images of a shape and tell that many classes apart, by id."""
    return {
        name: baseline
        for name, baseline in BASELINES.items()
        if (baseline.spec.input_shape, baseline.spec.n_classes) == (input_shape, n_classes)
    }
