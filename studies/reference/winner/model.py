"""An image classifier of 7,156 parameters for mnist.

Target
    At most 8,000 parameters; training on mnist for at most 15 epochs; the search maximised accuracy
    on the test set.

Result
    7,156 parameters; 99.59% on the test set after epoch 15, the last, seed 2966270643. Selected on
    test: the search chose by these same images, so expect a little less on new ones.

Analysis
    One image takes 527,654 multiply-adds (MACs). The largest maps that exist at once take 34.5 KiB
    in float32, 8.6 KiB in int8. The receptive field (RF) is 20 pixels square before the head and 30
    at the logits, of images of 28x28. Parameters by part: stage1 1%, stage2 92%, head 6%; the
    largest layer is stage2.block5 with 2,499. In the last epoch 99.48% of the training images were
    right, augmented and while the weights moved, and 99.59% of the test set after it: a gap of
    -0.10 points.

layer          kind                   output  RF  parameters     MACs
stage1.block1  conv 3x3              9x28x28   3          99   63,504
stage1.pool    max pool 2x2          9x14x14   4           0        0
stage2.block1  conv 1x1             13x14x14   4         143   22,932
stage2.block2  conv 3x3              7x12x12   8         833  117,936
stage2.block3  conv 3x3             17x10x10  12       1,105  107,100
stage2.block4  conv 3x3               13x8x8  16       2,015  127,296
stage2.block5  conv 3x3               21x6x6  20       2,499   88,452
head.gap       global average pool    21x1x1  30           0        0
head.hidden1   conv 1x1               14x1x1  30         322      294
head.conv      conv 1x1               10x1x1  30         140      140
total                                                  7,156  527,654
"""

from pathlib import Path

import torch
from torch import Tensor, nn

CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
INPUT_SHAPE = (1, 28, 28)  # channels, height, width
# Per channel, of the training images scaled to [0, 1].
MEAN = (0.1306604762738429,)
STD = (0.3081078038564627,)
WEIGHTS = Path(__file__).with_name("weights.pt")


class Net(nn.Module):
    """Images (N, 1, 28, 28), as `preprocess` returns them, to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            nn.Conv2d(1, 9, 3, padding=1, bias=False),  # 9x28x28
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(9),
            nn.MaxPool2d(2),  # 9x14x14
        )
        self.stage2 = nn.Sequential(
            nn.Conv2d(9, 13, 1, bias=False),  # 13x14x14
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(13),
            nn.Conv2d(13, 7, 3, bias=False),  # 7x12x12
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(7),
            nn.Dropout(p=0.018599042411334112),
            nn.Conv2d(7, 17, 3, bias=False),  # 17x10x10
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(17),
            nn.Dropout(p=0.018599042411334112),
            nn.Conv2d(17, 13, 3, bias=False),  # 13x8x8
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(13),
            nn.Dropout(p=0.018599042411334112),
            nn.Conv2d(13, 21, 3, bias=False),  # 21x6x6
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(21),
            nn.Dropout(p=0.018599042411334112),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),  # 21x1x1
            nn.Conv2d(21, 14, 1, bias=False),  # 14x1x1
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(14),
            nn.Dropout(p=0.018599042411334112),
            nn.Conv2d(14, 10, 1, bias=False),  # 10x1x1
            nn.Flatten(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (N, 1, 28, 28) to (N, 10)."""
        x = self.stage1(x)
        x = self.stage2(x)
        return self.head(x)


def preprocess(images: Tensor) -> Tensor:
    """Turn uint8 images (N, C, H, W) into what the network was trained on: normalised float32."""
    if images.dtype != torch.uint8 or images.shape[1:] != INPUT_SHAPE:
        found = f"{images.dtype} of shape {tuple(images.shape)}"
        raise ValueError(f"images must be torch.uint8 of shape (N, *{INPUT_SHAPE}), got {found}")
    mean = torch.tensor(MEAN, device=images.device).view(-1, 1, 1)
    std = torch.tensor(STD, device=images.device).view(-1, 1, 1)
    return (images.float().div(255) - mean) / std


def load(path: str | Path = WEIGHTS) -> Net:
    """Return the trained network on the CPU, in evaluation mode."""
    net = Net()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval()


@torch.inference_mode()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 1000) -> float:
    """Share of right answers on uint8 images (N, C, H, W) with labels (N,), in [0, 1]."""
    n_correct = 0
    for batch, answers in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        n_correct += (net(preprocess(batch)).argmax(1) == answers).sum().item()
    return n_correct / len(labels)


def main() -> None:
    """Say what this file is good for."""
    n_params = sum(parameter.numel() for parameter in Net().parameters())
    print(f"{n_params:,} parameters, {len(CLASSES)} classes")
    print("import model; logits = model.load()(model.preprocess(images))  # uint8 (N, C, H, W)")


if __name__ == "__main__":
    main()
