"""An image classifier of 7,696 parameters for mnist.

Target
    At most 8,000 parameters; training on mnist for at most 15 epochs; the search maximised accuracy
    on the test set.

Result
    7,696 parameters; 99.64% on the test set after epoch 15, the last, seed 422374663. Selected on
    test: the search chose by these same images, so expect a little less on new ones.

Analysis
    One image takes 781,292 multiply-adds (MACs). The largest maps that exist at once take 34.3 KiB
    in float32, 8.6 KiB in int8. The receptive field (RF) is 18 pixels square before the head and 30
    at the logits, of images of 28x28. Parameters by part: stage1 6%, stage2 88%, head 6%; the
    largest layer is stage2.block3 with 2,877. In the last epoch 99.51% of the training images were
    right, augmented and while the weights moved, and 99.64% of the test set after it: a gap of
    -0.13 points.

layer          kind                   output  RF  parameters     MACs
stage1.block1  conv 3x3              8x26x26   3          88   48,672
stage1.block2  conv 3x3              5x26x26   5         370  243,360
stage1.pool    max pool 2x2          5x13x13   6           0        0
stage2.block1  conv 1x1              7x13x13   6          35    5,915
stage2.block2  conv 3x3             15x11x11  10         975  114,345
stage2.block3  conv 3x3               21x9x9  14       2,877  229,635
stage2.block4  conv 3x3               15x7x7  18       2,865  138,915
head.gap       global average pool    15x1x1  30           0        0
head.hidden1   conv 1x1               18x1x1  30         306      270
head.conv      conv 1x1               10x1x1  30         180      180
total                                                  7,696  781,292
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
            nn.Conv2d(1, 8, 3, bias=False),  # 8x26x26
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Dropout(p=0.0008829349412008726),
            nn.Conv2d(8, 5, 3, padding=1, bias=False),  # 5x26x26
            nn.BatchNorm2d(5),
            nn.ReLU(inplace=True),
            nn.Dropout(p=0.0008829349412008726),
            nn.MaxPool2d(2),  # 5x13x13
        )
        self.stage2 = nn.Sequential(
            nn.Conv2d(5, 7, 1, bias=False),  # 7x13x13
            nn.Conv2d(7, 15, 3, bias=False),  # 15x11x11
            nn.BatchNorm2d(15),
            nn.ReLU(inplace=True),
            nn.Dropout(p=0.0008829349412008726),
            nn.Conv2d(15, 21, 3, bias=False),  # 21x9x9
            nn.BatchNorm2d(21),
            nn.ReLU(inplace=True),
            nn.Dropout(p=0.0008829349412008726),
            nn.Conv2d(21, 15, 3, bias=False),  # 15x7x7
            nn.BatchNorm2d(15),
            nn.ReLU(inplace=True),
            nn.Dropout(p=0.0008829349412008726),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),  # 15x1x1
            nn.Conv2d(15, 18, 1, bias=False),  # 18x1x1
            nn.BatchNorm2d(18),
            nn.ReLU(inplace=True),
            nn.Conv2d(18, 10, 1, bias=False),  # 10x1x1
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
