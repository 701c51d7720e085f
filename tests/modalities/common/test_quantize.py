"""Quantizers: inverses, straight-through gradients, start from data, revival, margins."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalities.common.quantize import FSQ, VQ, Binary, Quantizer
from modalities.common.usage import Usage

levels = st.lists(st.integers(1, 9), min_size=1, max_size=5).filter(lambda row: max(row) > 1)
quantizers = st.one_of(
    st.builds(FSQ, levels),
    st.just(FSQ([(16, 16), (8, 8, 4), (4,) * 4, (2,) * 8])),
    st.builds(VQ, st.integers(2, 40), st.integers(1, 6), books=st.sampled_from([1, 4]), l2=st.just(False)),
    st.builds(VQ, st.integers(2, 40), st.integers(2, 6), books=st.just(1), l2=st.just(True)),
    st.builds(Binary, st.integers(1, 20)),
)


def draw_ids(quantizer: Quantizer, batch: int, positions: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    columns = [
        torch.randint(part, (batch, positions), generator=generator)
        for part in quantizer.parts or (quantizer.size,)
    ]
    return torch.stack(columns, -1) if quantizer.parts else columns[0]


@settings(max_examples=60, deadline=None)
@given(quantizers, st.integers(1, 4), st.integers(0, 999))
def test_ids_to_latents_and_back(quantizer: Quantizer, positions: int, seed: int) -> None:
    quantizer.eval()
    ids = draw_ids(quantizer, 3, positions, seed)
    z_q = quantizer.lookup(ids)
    assert z_q.shape == (3, positions, quantizer.dim)
    z = quantizer.inverse(ids)
    # Two codes of a random codebook may lie within rounding of one another; those of a grid never do.
    apart = quantizer.margin(z) > 2e-2
    assert isinstance(quantizer, VQ) or bool(apart.all())
    assert torch.equal(quantizer.encode(z)[apart], ids[apart])
    assert torch.allclose(quantizer(z).z_q, z_q, atol=1e-2)
    assert torch.allclose(quantizer(z).z_q[apart], z_q[apart], atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(quantizers, st.integers(0, 999))
def test_any_latents_give_legal_codes_that_look_up_to_z_q(quantizer: Quantizer, seed: int) -> None:
    quantizer.eval()
    z = 2 * torch.randn(3, 4, quantizer.dim, generator=torch.Generator().manual_seed(seed))
    out = quantizer(z)
    parts = torch.tensor(quantizer.parts or (quantizer.size,))
    columns = out.ids.reshape(3, 4, -1)
    assert columns.dtype == torch.int64
    assert bool(((columns >= 0) & (columns < parts)).all())
    assert torch.allclose(quantizer.lookup(out.ids), out.z_q, atol=1e-5)
    assert quantizer.size == (sum(quantizer.parts) if quantizer.parts else int(parts[0]))


@settings(max_examples=30, deadline=None)
@given(quantizers, st.integers(0, 999))
def test_a_change_smaller_than_the_margin_keeps_the_codes(quantizer: Quantizer, seed: int) -> None:
    quantizer.eval()
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, 4, quantizer.dim, generator=generator)
    nudged = z + 1e-6 * torch.randn(z.shape, generator=generator)
    sure = quantizer.margin(z) > 2e-2
    a, b = quantizer.encode(z), quantizer.encode(nudged)
    assert torch.equal(a[sure], b[sure])


def test_fsq_order_of_digits_is_as_stated() -> None:
    fsq = FSQ((4, 3, 2))
    ids = torch.tensor([[0, 1, 4, 12, 23]])  # nothing; first channel; second; third; all at the top
    values = fsq.lookup(ids)[0]
    assert torch.allclose(values[0], torch.tensor([-1.0, -1, -1]))
    assert torch.allclose(values[1], torch.tensor([-1 / 3, -1, -1]))
    assert torch.allclose(values[2], torch.tensor([-1.0, 0, -1]))
    assert torch.allclose(values[3], torch.tensor([-1.0, -1, 1]))
    assert torch.allclose(values[4], torch.tensor([1.0, 1, 1]))


def test_binary_bit_order_is_as_stated() -> None:
    binary = Binary(20)
    assert binary.parts == (256, 256, 16)
    z = -torch.ones(1, 1, 20)
    z[..., 0] = z[..., 9] = z[..., 19] = 1  # bit 0 of part 0, bit 1 of part 1, bit 3 of part 2
    assert binary.encode(z).tolist() == [[[1, 2, 8]]]


@pytest.mark.parametrize("quantizer", [FSQ((8, 6, 5)), VQ(16, 3), VQ(16, 3, books=5), Binary(3)])
def test_gradient_passes_straight_through(quantizer: Quantizer) -> None:
    z = (0.1 * torch.randn(2, 5, 3)).requires_grad_()
    quantizer(z).z_q.sum().backward()
    assert z.grad is not None
    assert bool((z.grad > 0.5).all())


@pytest.mark.parametrize("books", [1, 6])
def test_vq_starts_from_the_first_batch_and_revives_dead_codes(books: int) -> None:
    torch.manual_seed(0)
    vq = VQ(32, 4, books=books, decay=0.95).train()
    vq(10 + torch.randn(16, 6, 4))
    assert float(vq.codebook.min()) > 5  # codes lie where the data are
    for _ in range(200):  # the data move away: without revival few codes would follow
        used = vq(-10 + torch.randn(16, 6, 4)).ids
    assert float(vq.codebook.max()) < -5
    flat = used if books == 1 else used + 32 * torch.arange(6)
    assert len(flat.unique()) > 0.5 * min(32 * books, used.numel())


def test_kmeans_start_lowers_the_error() -> None:
    torch.manual_seed(0)
    z = torch.randn(500, 3, 2)
    errors = []
    for rounds in (0, 10):
        vq = VQ(16, 2, books=3).eval()
        vq.start(z, rounds=rounds)
        errors.append(float((vq(z).z_q - z).square().mean()))
    assert errors[1] < 0.9 * errors[0]


def test_a_price_on_nats_lowers_the_entropy_and_raises_the_error() -> None:
    torch.manual_seed(0)
    z = torch.randn(2000, 2, 2)
    found = []
    for rate in (0.0, 0.1):
        vq = VQ(32, 2, books=2, rate=rate).eval()
        vq.start(z, rounds=15)
        usage = Usage.of(vq)
        out = vq(z)
        usage.add(out.ids)
        found.append((usage.summary()["entropy"], float((out.z_q - z).square().mean())))
    assert found[1][0] < found[0][0] - 0.1
    assert found[1][1] < 1.5 * found[0][1]


def test_l2_codes_lie_on_the_unit_sphere() -> None:
    vq = VQ(8, 3, l2=True).train()
    out = vq(5 * torch.randn(4, 6, 3))
    assert torch.allclose(out.z_q.norm(dim=-1), torch.ones(4, 6), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FSQ((8, 0)), "at least 1"),
        (lambda: FSQ([(4, 4), (8, 4)]), "one product"),
        (lambda: VQ(1, 3), "at least"),
        (lambda: Binary(0), "at least 1"),
        (lambda: FSQ([(4,), (2, 2)])(torch.zeros(1, 3, 2)), "3 positions"),
        (lambda: VQ(4, 2, books=2)(torch.zeros(1, 3, 2)), "3 positions"),
    ],
)
def test_impossible_quantizers_are_refused_in_one_sentence(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]
