"""What codes and reconstructions keep of an object's class: a linear probe, and a small PointNet trained on originals.

The probe sees the quantised latents of all codes; it is ridge regression to one-hot classes. The classifier never
sees a reconstruction in training; its accuracy on originals, sampled anew, stands beside that on reconstructions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ..network import PointNet
from ..sample import gather, turns, unit_sphere

POINTS = 512
WIDTH = 128
BATCH = 32


def probe(train: Tensor, labels: Tensor, test: Tensor, wanted: Tensor, ridge: float = 1e-2) -> float:
    """Accuracy of a linear classifier of features [n, F], fitted to `labels` [n], on `test` [m, F].

    Args:
        ridge: penalty as a share of the mean variance of the features.
    """
    classes = int(max(labels.max(), wanted.max())) + 1
    middle = train.double().mean(0)
    given, asked = train.double() - middle, test.double() - middle
    target = F.one_hot(labels, classes).double()
    offset = target.mean(0)
    gram = given @ given.t()  # as many rows as clouds, which are fewer than features
    gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    dual = torch.linalg.solve(gram, target - offset)
    guess = (asked @ given.t() @ dual + offset).argmax(1)
    return float((guess == wanted).double().mean())


def latents(tokenizer: Any, codes: Tensor) -> Tensor:
    """Quantised latents [n, K * D] of codes [n, K(, P)]."""
    with torch.no_grad():
        found: Tensor = tokenizer.net.quantizer.lookup(codes).flatten(1)
    return found


class Classifier(nn.Module):
    """Clouds [B, N, 3] in the unit sphere -> logits [B, classes]: one PointNet over all points."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.points = PointNet(WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, clouds: Tensor) -> Tensor:
        """Logits; the order of the points does not matter."""
        out: Tensor = self.head(self.points(clouds[:, None])[:, 0])
        return out

    def accuracy(self, clouds: Tensor, labels: Tensor) -> float:
        """Share of clouds [n, N, 3] that are told rightly, from their first points."""
        with torch.no_grad():
            guess = [
                self(unit_sphere(some[:, :POINTS].float()).points).argmax(1) for some in clouds.split(128)
            ]
        return float((torch.cat(guess) == labels).double().mean())


def trained(clouds: Tensor, labels: Tensor, steps: int, seed: int = 0) -> Classifier:
    """A classifier after `steps` steps on clouds [n, N, 3] and labels [n], turned a little and sampled anew."""
    generator = Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Classifier(int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    for _ in range(steps):
        which = torch.randint(len(clouds), (BATCH,), generator=generator)
        some = clouds[which].float()
        order = torch.rand(some.shape[:2], generator=generator).argsort(1)[:, :POINTS]
        angle = 0.15 * torch.randn(BATCH, generator=generator)
        points = unit_sphere(gather(some, order) @ turns(angle)).points
        loss = F.cross_entropy(net(points), labels[which])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rate.step()
    return net.eval()
