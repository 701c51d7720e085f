"""The loss: the released program's on noted numbers, the paper's, and what each option does."""

from __future__ import annotations

import pytest
import torch
from flow_toys import GOLDEN, tiny
from released import numbers
from torch import Tensor

from modalities.image.flow.config import FlowConfig
from modalities.image.flow.losses import Chance, FlowLoss, chance, flow_loss
from modalities.image.flow.net import FlowNet

NOTED = GOLDEN["tiny"]["released_loss"]


def wave(name: str, *shape: int) -> Tensor:
    return (2 * numbers(f"loss.{name}", shape) - 1).float()


def given() -> tuple[Tensor, Tensor, Chance]:
    drawn = Chance(wave("eps", 6, 9, 4), numbers("loss.time", (6,)).float(), torch.tensor(NOTED["null"]))
    return wave("text", 6, 9, 24), wave("image", 6, 9, 4), drawn


def test_the_released_loss_is_that_of_the_released_program() -> None:
    text, latents, drawn = given()
    parts = flow_loss(tiny(), text, latents, FlowLoss(loss="released"), drawn)
    assert float(parts["flow"]) == pytest.approx(sum(NOTED["flow"]) / 6, rel=1e-5)
    assert float(parts["contrast"]) == pytest.approx(NOTED["contrast"], rel=1e-5)
    assert float(parts["kl"]) == pytest.approx(NOTED["kl"], rel=1e-4)
    assert latents.equal(given()[1])  # swapped pictures are no business of the caller


def test_the_papers_divergence_does_not_grow_with_the_batch() -> None:
    text, latents, drawn = given()
    net = tiny()
    once = flow_loss(net, text, latents, FlowLoss(), drawn)
    doubled = Chance(*(torch.cat([each, each]) for each in drawn))
    twice = flow_loss(net, torch.cat([text, text]), torch.cat([latents, latents]), FlowLoss(), doubled)
    assert float(twice["kl"]) == pytest.approx(float(once["kl"]), rel=1e-5)
    summed = [
        float(flow_loss(net, *each, FlowLoss(loss="released", contrast=0), drawn=d)["kl"])
        for each, d in (
            ((text, latents), drawn),
            ((torch.cat([text, text]), torch.cat([latents, latents])), doubled),
        )
    ]
    assert summed[1] == pytest.approx(2 * summed[0], rel=1e-5)
    assert FlowLoss().weights == (1e-4, 1.0)
    assert FlowLoss(kl=0.5, contrast=0).weights == (0.5, 0.0)


def test_null_rows_swap_their_pictures_among_each_other_alone() -> None:
    text, latents, drawn = given()
    net = tiny()
    plain = Chance(drawn.noise, drawn.times, torch.zeros(6, dtype=torch.bool))
    swapped = flow_loss(net, text, latents, FlowLoss(), drawn)["flow"]
    by_hand = latents.clone()
    by_hand[[1, 3, 4]] = latents[[3, 4, 1]]
    assert not torch.isclose(
        flow_loss(net, text, by_hand, FlowLoss(), plain)["flow"], swapped
    )  # the indicator tells
    seen = []
    net.velocity.register_forward_hook(lambda module, args, out: seen.append(args))
    flow_loss(net, text, latents, FlowLoss(), drawn)
    flow_loss(net, text, by_hand, FlowLoss(), plain)
    torch.testing.assert_close(seen[0][0], seen[1][0])
    assert seen[0][2].tolist() == NOTED["null"]


def test_chance_is_logit_normal_and_leaves_no_single_null_row() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = chance(torch.zeros(4000, 2, 2), 0.1, generator)
    assert float(drawn.null.float().mean()) == pytest.approx(0.1, abs=0.02)
    assert float(drawn.times.logit().std()) == pytest.approx(1, abs=0.05)
    counts = {int(chance(torch.zeros(4, 1, 1), 0.3, generator).null.sum()) for _ in range(50)}
    assert 1 not in counts
    assert len(counts) > 1


def test_writing_can_leave_the_text_latents_as_they_are() -> None:
    words = {"size": 20, "reads": 1, "writes": 1, "width": 16, "heads": 2}
    text = {"width": 16, "layers": 1, "heads": 2, "hidden": 16, "align": 8}
    net = FlowNet(FlowConfig(tokens=5, channels=3, width=16, layers=1, heads=2, text=text, words=words))  # type: ignore[arg-type]
    ids = torch.randint(20, (4, 5))
    latents = torch.randn(4, 5, 3)
    for joint in (True, False):
        net.zero_grad()
        parts = flow_loss(net, ids, latents, FlowLoss(joint=joint), chance(latents, 0.1), ids)
        parts["write"].backward()
        assert (net.projector.out.weight.grad is None) == (not joint)
        assert net.writer is not None
        assert net.writer.head.weight.grad is not None
