"""The forms of quantizers that papers differ in, each against its formula."""

from __future__ import annotations

import inspect
import math
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from modalities.common.quantize import FSQ, KL, VQ, Binary
from modalities.common.quantize.config import BinaryConfig, FSQConfig, KLConfig, VQConfig
from modalities.common.quantize.gradient import rotated, straight
from modalities.common.quantize.restart import restart


def latents(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -------------------------------------------------------------------- gradients


def test_both_ways_give_the_codes_and_the_gradient_of_their_formula():
    z, z_q, pull = latents(5, 8).requires_grad_(), latents(5, 8, seed=1), latents(5, 8, seed=2)
    torch.testing.assert_close(straight(z, z_q), z_q)
    (grad,) = torch.autograd.grad((straight(z, z_q) * pull).sum(), z)
    assert grad.equal(pull)
    torch.testing.assert_close(rotated(z, z_q), z_q, atol=1e-5, rtol=1e-5)
    (grad,) = torch.autograd.grad((rotated(z, z_q) * pull).sum(), z)
    for row, start, end, wanted in zip(grad, z.detach(), z_q, pull, strict=True):
        a, b = start / start.norm(), end / end.norm()
        middle = (a + b) / (a + b).norm()
        turn = torch.eye(8) - 2 * torch.outer(middle, middle) + 2 * torch.outer(b, a)
        torch.testing.assert_close(turn @ turn.t(), torch.eye(8), atol=1e-5, rtol=0)  # a rotation
        torch.testing.assert_close(row, turn.t() @ wanted * end.norm() / start.norm(), atol=1e-5, rtol=1e-4)


def test_opposite_vectors_do_not_break_the_rotation():
    z = torch.tensor([[1.0, 0.0]]).requires_grad_()
    out = rotated(z, torch.tensor([[-1.0, 0.0]]))
    out.sum().backward()
    assert out.isfinite().all()
    assert z.grad is not None
    assert z.grad.isfinite().all()


# -------------------------------------------------------------------- VQ


@pytest.mark.parametrize("l2", [False, True])
def test_a_learnt_codebook_takes_the_nearest_code_and_both_losses(l2):
    quantizer = VQ(16, 4, l2=l2, learn="gradient").eval()
    with torch.no_grad():
        quantizer.codebook.copy_(latents(16, 4, seed=3))
    z = latents(3, 5, 4).requires_grad_()
    a, b = (F.normalize(x, dim=-1) if l2 else x for x in (z, quantizer.codebook))
    out = quantizer(z)
    distance = (a.unsqueeze(2) - b).square().sum(-1)
    assert out.ids is not None
    assert out.ids.equal(distance.argmin(-1))
    torch.testing.assert_close(out.losses["commitment"], 0.25 * F.mse_loss(a, b[out.ids].detach()))
    torch.testing.assert_close(out.losses["codebook"], F.mse_loss(b[out.ids], a.detach()))
    torch.testing.assert_close(out.z_q, b[out.ids])
    out.loss.backward()
    assert z.grad is not None
    assert quantizer.codebook.grad is not None
    used = torch.bincount(out.ids.reshape(-1), minlength=16) > 0
    assert ((quantizer.codebook.grad.abs().sum(-1) > 0) == used).all()
    assert set(quantizer.state_dict()) == {"codebook"}  # a released codebook loads under one name


def test_the_weights_of_the_two_pulls_can_be_exchanged():
    quantizer = VQ(4, 2, learn="gradient", commitment=1.0, pull=0.25)
    out = quantizer(latents(2, 3, 2))
    torch.testing.assert_close(out.losses["codebook"], 0.25 * out.losses["commitment"])


def test_the_entropy_loss_is_that_of_the_soft_assignments():
    quantizer = VQ(6, 3, learn="gradient", entropy=0.5, softness=0.2).eval()
    with torch.no_grad():
        quantizer.codebook.copy_(latents(6, 3, seed=1))
    z = latents(2, 4, 3)
    share = (-torch.cdist(z.reshape(-1, 3), quantizer.codebook).square() / 0.2).softmax(-1)
    sure = -(share * share.log()).sum(-1).mean()
    even = -(share.mean(0) * share.mean(0).log()).sum()
    assert float(quantizer(z).losses["entropy"].detach()) == pytest.approx(
        0.5 * float((sure - even).detach()), abs=1e-4
    )


def test_cvq_moves_dead_codes_onto_latents_and_leaves_those_in_use():
    codes, share = torch.tensor([[0.0, 0.0], [50.0, 50.0]]), torch.tensor([0.5, 0.0])
    cloud = torch.tensor([[0.1, 0.0], [3.0, 4.0], [0.0, 0.1]])
    added = restart(codes, share, cloud, torch.zeros(3, dtype=torch.long))
    assert added[0].abs().max() < 1e-6
    torch.testing.assert_close((codes + added)[1], torch.tensor([3.0, 4.0]), atol=0.1, rtol=0)
    assert share.tolist() == pytest.approx([0.505, 0.0])


@pytest.mark.parametrize("l2", [False, True])
def test_cvq_follows_its_formula_step_by_step(l2):
    quantizer = VQ(8, 3, l2=l2, learn="gradient", cvq=True)
    z = 3 * latents(4, 5, 3)
    with torch.no_grad():
        quantizer.codebook.copy_(latents(8, 3, seed=5))  # well apart: no ties
    rows, codes, share = z.reshape(-1, 3), quantizer.codebook.detach().clone(), torch.zeros(8)
    for _ in range(5):
        a, b = (F.normalize(x, dim=-1) if l2 else x for x in (rows, codes))
        distance = torch.cdist(a.double(), b.double()).square()
        ids = distance.argmin(1)
        share = 0.99 * share + 0.01 * torch.bincount(ids, minlength=8) / len(ids)
        alpha = torch.exp(-10 * 8 * share / 0.01 - 1e-3).unsqueeze(1)
        codes = (1 - alpha) * codes + alpha * rows[distance.argmin(0)]  # latents as they are, not normalised
        assert quantizer(z).ids.reshape(-1).equal(ids)
        torch.testing.assert_close(quantizer.codebook + quantizer.moved, codes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(quantizer.share, share)


def test_cvq_leaves_the_gradient_of_the_step_and_the_parameter_alone():
    """An optimizer that keeps its own copy of the parameters, as ZeRO's do, undoes nothing."""
    grads = []
    for cvq in (False, True):
        torch.manual_seed(0)
        quantizer = VQ(8, 3, l2=True, learn="gradient", cvq=cvq, entropy=0.1, softness=0.5)
        before = quantizer.codebook.detach().clone()
        quantizer(latents(4, 5, 3)).loss.backward()
        assert quantizer.codebook.equal(before)
        grads.append(quantizer.codebook.grad)
    torch.testing.assert_close(*grads)
    assert quantizer.moved.abs().max() > 0.1


def test_cvq_in_training_brings_a_lost_codebook_back():
    torch.manual_seed(0)
    z = latents(64, 4, 2)
    kept = {}
    for cvq in (False, True):
        quantizer = VQ(32, 2, learn="gradient", cvq=cvq)
        with torch.no_grad():
            quantizer.codebook.copy_(20 * latents(32, 2, seed=4))  # few codes are near any latent
        for _ in range(3):
            quantizer(z)
        kept[cvq] = len(quantizer.eval()(z).ids.unique())
    assert kept[False] < 8
    assert kept[True] > kept[False] + 8


@pytest.mark.parametrize(
    "options",
    [{"cvq": True}, {"cvq": True, "books": 4, "learn": "gradient"}, {"rate": 0.1, "learn": "gradient"}],
)
def test_options_that_do_not_go_together(options):
    with pytest.raises(ValueError, match="learn ="):
        VQ(8, 2, **options)


@pytest.mark.parametrize("learn", ["ema", "gradient"])
def test_codes_can_be_taken_in_training_without_moving_anything(learn):
    quantizer = VQ(8, 2, learn=learn, cvq=learn == "gradient").train()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    ids = quantizer.encode(latents(3, 4, 2))
    assert all(value.equal(before[name]) for name, value in quantizer.state_dict().items())
    assert ids.equal(quantizer.eval()(latents(3, 4, 2)).ids)


def test_the_rotation_trick_and_half_precision_keep_the_codes():
    quantizer = VQ(32, 4, l2=True, learn="gradient", rotation=True)
    z = latents(2, 6, 4).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = quantizer(z)
    assert out.z_q.dtype == z.dtype
    torch.testing.assert_close(out.z_q, quantizer.lookup(out.ids), atol=1e-5, rtol=1e-5)


# -------------------------------------------------------------------- FSQ


def test_published_fsq_has_the_noted_codes():
    quantizer = FSQ((8, 8, 8, 5, 5, 5), "published")
    assert quantizer.size == 64000
    ids = torch.tensor([[0, 63999]])
    assert quantizer.lookup(ids)[0].tolist() == [[-1.0] * 6, [0.75, 0.75, 0.75, 1, 1, 1]]
    assert quantizer.encode(torch.zeros(1, 1, 6)).tolist() == [[32036]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=5), st.integers(0, 999))
def test_published_fsq_round_trip(levels, seed):
    quantizer = FSQ(levels, "published")
    ids = torch.randint(quantizer.size, (3, 4), generator=torch.Generator().manual_seed(seed))
    assert quantizer.encode(quantizer.inverse(ids)).equal(ids)
    z = 3 * latents(3, 4, len(levels), seed=seed)
    out = quantizer(z)
    torch.testing.assert_close(out.z_q, quantizer.lookup(out.ids), atol=1e-5, rtol=1e-5)


def test_fsq_training_options():
    z = latents(400, 2, 3)
    some = FSQ((8, 8, 8), "published", unrounded=0.5).train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exact = (some(z).z_q == some.lookup(some.encode(z))).flatten(1).all(1).float().mean()
        assert 0.4 < float(exact) < 0.6
        noisy = FSQ((8, 8, 8), "published", corrupt=0.3).train()
        changed = (noisy(z).ids != noisy.eval().encode(z)).float().mean()
    assert 0.2 < float(changed) < 0.4
    with pytest.raises(ValueError, match="every level at least 2"):
        FSQ((1, 4), "published")


# -------------------------------------------------------------------- bits


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.sampled_from(["sign", "sphere", "bernoulli"]), st.integers(0, 999))
def test_bits_pack_least_significant_first_and_come_back(bits, form, seed):
    quantizer = Binary(bits, form).eval()
    drawn = torch.rand(2, 3, bits, generator=torch.Generator().manual_seed(seed)) < 0.5
    ids = quantizer.pack(drawn)
    assert quantizer.unpack(ids).equal(drawn)
    assert quantizer.encode(quantizer.inverse(ids)).equal(ids)
    first = (ids[..., 0] if quantizer.parts else ids)[0, 0]
    assert int(first) == sum(int(b) << j for j, b in enumerate(drawn[0, 0, :8]))
    assert quantizer.size == sum(quantizer.parts or (2**bits,))


def test_values_of_the_three_forms():
    z = torch.tensor([[[3.0, -1.0, 0.5, -0.1]]])
    assert Binary(4).eval()(z).z_q.tolist() == [[[1, -1, 1, -1]]]
    assert Binary(4, "sphere").eval()(z).z_q.tolist() == [[[0.5, -0.5, 0.5, -0.5]]]
    assert Binary(4, "bernoulli").eval()(z).z_q.tolist() == [[[1, 0, 1, 0]]]


def test_bernoulli_bits_are_drawn_by_the_tempered_sigmoid_and_learn_through_the_plain_one():
    torch.manual_seed(0)
    quantizer = Binary(2, "bernoulli", confidence=2.0, temperature=0.5).train()
    z = torch.tensor([0.3, -0.6]).expand(1, 4000, 2).clone().requires_grad_()
    out = quantizer(z)
    assert out.z_q.mean((0, 1)).tolist() == pytest.approx(torch.sigmoid(z[0, 0] / 0.5).tolist(), abs=0.03)
    (grad,) = torch.autograd.grad(out.z_q.sum(), z, retain_graph=True)
    p = torch.sigmoid(z)
    torch.testing.assert_close(grad, p * (1 - p))
    torch.testing.assert_close(out.losses["confidence"], 2 * (p * (1 - p)).mean())


def test_the_entropy_of_bits_wants_each_sure_and_all_even():
    quantizer = Binary(3, "sphere", entropy=1.0, softness=0.1)
    even = F.normalize(torch.tensor([[[1.0, 1, 1], [-1, -1, -1]]]), dim=-1)
    same = even.abs()
    assert float(quantizer(even).losses["entropy"]) == pytest.approx(-3 * math.log(2), abs=0.01)
    assert float(quantizer(same).losses["entropy"]) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("form", ["sign", "sphere"])
def test_the_entropy_of_each_latent_is_that_over_all_codes(form):
    """Bits are independent given a latent, so the sum over bits is exact; that of the mean is by bits."""
    z, softness = latents(2, 5, 4), 0.7
    quantizer = Binary(4, form, entropy=0.5, evenness=0.25, softness=softness, commitment=0.1)
    u = F.normalize(z, dim=-1) if form == "sphere" else z
    codes = quantizer.lookup(torch.arange(16).view(1, 16))[0]
    share = (-torch.cdist(u.reshape(-1, 4), codes).square() / softness).softmax(-1)  # [10, 16]
    sure = -(share * share.log()).sum(-1).mean()
    ones = (share @ (codes > 0).float()).mean(0)
    even = -(ones * ones.log() + (1 - ones) * (1 - ones).log()).sum()
    losses = quantizer(z).losses
    torch.testing.assert_close(losses["entropy"], 0.5 * (sure - 0.25 * even))
    wanted = u.sign() / (2 if form == "sphere" else 1)
    torch.testing.assert_close(losses["commitment"], 0.1 * F.mse_loss(u, wanted))


# -------------------------------------------------------------------- KL


def test_kl_is_the_divergence_and_samples_only_in_training():
    z = latents(3, 5, 8)
    mean, log = z.chunk(2, dim=-1)
    quantizer = KL(4, weight=0.5)
    out = quantizer.eval()(z)
    assert out.ids is None
    assert out.z_q.equal(mean)
    wanted = kl_divergence(Normal(mean, (0.5 * log).exp()), Normal(0.0, 1.0)).sum((1, 2)).mean()
    torch.testing.assert_close(out.losses["kl"], 0.5 * wanted)
    assert not quantizer.train()(z).z_q.equal(mean)
    drawn = torch.stack([quantizer(z).z_q for _ in range(800)])
    torch.testing.assert_close(drawn.std(0), (0.5 * log).exp(), rtol=0.15, atol=0.02)
    assert (quantizer.inputs, quantizer.dim, quantizer.size, quantizer.bits) == (8, 4, 0, 0)
    with pytest.raises(TypeError, match="continuous and have no codes"):
        quantizer.encode(z)
    with pytest.raises(TypeError, match="continuous and have no codes"):
        quantizer.lookup(torch.zeros(1, 1, dtype=torch.long))


def test_the_form_of_flowtok_leaves_moderate_means_free():
    z = latents(3, 5, 8)
    mean, log = z.chunk(2, dim=-1)
    wanted = -0.5 * (1 + log - (0.3 * mean) ** 6 - log.exp()).mean()
    torch.testing.assert_close(KL(4, weight=2.0, form="flowtok")(z).losses["kl"], 2 * wanted)


# -------------------------------------------------------------------- tables of a configuration


@pytest.mark.parametrize(
    ("table", "made"), [(VQConfig, VQ), (FSQConfig, FSQ), (BinaryConfig, Binary), (KLConfig, KL)]
)
def test_a_table_has_every_option_of_its_quantizer_with_the_same_default(table, made):
    fields = {name: field.default for name, field in table.model_fields.items()}
    options = inspect.signature(made).parameters
    renamed = {"size": "codes", "books": "own"}
    assert set(fields) - {"kind"} == {renamed.get(name, name) for name in options}
    for name, option in options.items():
        if option.default is not option.empty and name not in renamed:
            assert fields[name] == option.default
    assert type(table().build(4)) is made


def test_tables_build_what_they_say():
    assert VQConfig(codes=32, dim=3, own=True).build(5).codebook.shape == (5, 32, 3)
    assert BinaryConfig(bits=64, form="bernoulli").build(5).parts == (256,) * 8
    with pytest.raises(ValidationError, match="softnes"):
        VQConfig(softnes=1.0)


# -------------------------------------------------------------------- ranks


def both_books():
    torch.manual_seed(0)
    return (
        VQ(16, 3, decay=0.9, revive_below=0.0).train(),
        VQ(16, 3, l2=True, learn="gradient", cvq=True).train(),
    )


def moved_books(cloud):
    found = []
    for quantizer in both_books():
        quantizer.ready.fill_(True)  # the start draws at random, by rank 0 alone
        for batch in cloud:
            quantizer(batch)
        found.append((quantizer.moved if quantizer.cvq else quantizer.codebook).tolist())
    return found


def rank_of_two(rank, port, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    results.put((rank, moved_books(latents(3, 8, 4, 3)[:, 4 * rank : 4 * rank + 4])))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_ranks_move_the_codebooks_as_one_batch_does():
    context = processes.get_context("spawn")
    results = context.Queue()
    port = 29900 + os.getpid() % 400
    ranks = [context.Process(target=rank_of_two, args=(rank, port, results)) for rank in range(2)]
    for each in ranks:
        each.start()
    found = [results.get(timeout=120)[1] for _ in ranks]
    for each in ranks:
        each.join(60)
    whole = moved_books(latents(3, 8, 4, 3))
    for books in found:
        for book, wanted in zip(books, whole, strict=True):
            torch.testing.assert_close(torch.tensor(book), torch.tensor(wanted), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("own", [False, True])
def test_the_nearest_codes_come_in_their_order(own: bool) -> None:
    torch.manual_seed(0)
    quantizer = VQ(9, 3, books=4 if own else 1, learn="gradient")
    quantizer.start(torch.randn(50, 4, 3))
    z = torch.randn(2, 4, 3)
    near = quantizer.nearest(z, 5)
    assert near.shape == (2, 4, 5)
    assert near[..., 0].equal(quantizer.encode(z))
    far = torch.stack([(quantizer.lookup(near[..., n]) - z).square().sum(-1) for n in range(5)], dim=-1)
    assert bool((far.diff(dim=-1) >= 0).all())
    assert quantizer.nearest(z, 50).sort(-1).values.equal(torch.arange(9).expand(2, 4, 9))
