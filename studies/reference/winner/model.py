"""An image classifier of 7,565 parameters for mnist.

Target
    At most 8,000 parameters; training on mnist for at most 15 epochs; the search maximised accuracy
    on the test set.

Result
    7,565 parameters; 99.56% on the test set after epoch 15, the last, seed 3331851161. Trained from
    5 fresh seeds the network reaches 99.56% in the mean (95 % interval 99.51 to 99.61), from 99.50%
    to 99.61%; this is the training with the median accuracy. Selected on test: the search chose by
    these same images, so expect a little less on new ones.

Analysis
    One image takes 782,196 multiply-adds (MACs). The largest maps that exist at once take 63.4 KiB
    in float32, 15.8 KiB in int8. The receptive field (RF) is 44 pixels square before the head and
    64 at the logits, of images of 28x28. Parameters by part: stage1 4%, stage2 38%, stage3 54%,
    head 4%; the largest layer is stage3.block2.pointwise with 1,224. In the last epoch 99.59% of
    the training images were right, augmented and while the weights moved, and 99.56% of the test
    set after it: a gap of +0.03 points.

layer                    kind                   output  RF  parameters     MACs
stage1.block1            conv 3x3              8x26x26   3          88   48,672
stage1.block2.depthwise  depthwise 3x3         8x26x26   5          72   48,672
stage1.block2.pointwise  conv 1x1             16x26x26   5         160   86,528
stage1.pool              max pool 2x2         16x13x13   6           0        0
stage2.block1.depthwise  depthwise 3x3        16x13x13  10         144   24,336
stage2.block1.pointwise  conv 1x1             32x13x13  10         576   86,528
stage2.block2.depthwise  depthwise 3x3        32x13x13  14         288   48,672
stage2.block2.pointwise  conv 1x1             26x13x13  14         884  140,608
stage2.block3.depthwise  depthwise 3x3        26x13x13  18         234   39,546
stage2.block3.pointwise  conv 1x1             27x13x13  18         756  118,638
stage2.pool              max pool 2x2           27x6x6  20           0        0
stage3.block1.depthwise  depthwise 3x3          27x6x6  28         243    8,748
stage3.block1.pointwise  conv 1x1               34x6x6  28         986   33,048
stage3.block2.depthwise  depthwise 3x3          34x6x6  36         306   11,016
stage3.block2.pointwise  conv 1x1               34x6x6  36       1,224   41,616
stage3.block3.depthwise  depthwise 3x3          34x6x6  44         306   11,016
stage3.block3.pointwise  conv 1x1               28x6x6  44       1,008   34,272
head.gap                 global average pool    28x1x1  64           0        0
head.linear              linear                 10x1x1  64         290      280
total                                                            7,565  782,196
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
            nn.SiLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),  # 8x26x26
            nn.Conv2d(8, 16, 1, bias=False),  # 16x26x26
            nn.BatchNorm2d(16),
            nn.SiLU(),
            nn.MaxPool2d(2),  # 16x13x13
        )
        self.stage2 = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),  # 16x13x13
            nn.Conv2d(16, 32, 1, bias=False),  # 32x13x13
            nn.BatchNorm2d(32),
            nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),  # 32x13x13
            nn.Conv2d(32, 26, 1, bias=False),  # 26x13x13
            nn.BatchNorm2d(26),
            nn.SiLU(),
            nn.Conv2d(26, 26, 3, padding=1, groups=26, bias=False),  # 26x13x13
            nn.Conv2d(26, 27, 1, bias=False),  # 27x13x13
            nn.BatchNorm2d(27),
            nn.SiLU(),
            nn.MaxPool2d(2),  # 27x6x6
        )
        self.stage3 = nn.Sequential(
            nn.Conv2d(27, 27, 3, padding=1, groups=27, bias=False),  # 27x6x6
            nn.Conv2d(27, 34, 1, bias=False),  # 34x6x6
            nn.BatchNorm2d(34),
            nn.SiLU(),
            nn.Conv2d(34, 34, 3, padding=1, groups=34, bias=False),  # 34x6x6
            nn.Conv2d(34, 34, 1, bias=False),  # 34x6x6
            nn.BatchNorm2d(34),
            nn.SiLU(),
            nn.Conv2d(34, 34, 3, padding=1, groups=34, bias=False),  # 34x6x6
            nn.Conv2d(34, 28, 1, bias=False),  # 28x6x6
            nn.BatchNorm2d(28),
            nn.SiLU(),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),  # 28x1x1
            nn.Flatten(),
            nn.Linear(28, 10),  # 10
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (N, 1, 28, 28) to (N, 10)."""
        x = self.stage1(x)
        x = self.stage2(x)
        x = self.stage3(x)
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
