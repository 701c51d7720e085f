"""`image.detailflow`: the contract, pictures of few codes, what training sees, corrected codes, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from modalities.image.detailflow import DetailFlow
from modalities.image.detailflow_config import DetailFlowConfig
from modalities.image.detailflow_net import DetailFlowNet
from modalities.image.fidelity import psnr
from modalities.image.io import write_image
from modalities.image.prefixes import Prefixes
from unitok.modality import Codes
from unitok.testing import conforms

HALF = {"width": 48, "layers": 2, "heads": 2}
TINY: dict[str, Any] = {
    "size": 32,
    "tokens": 16,
    "group": 4,
    "patch": 8,
    "encoder": HALF,
    "decoder": HALF,
    "quantizer": {"kind": "vq", "codes": 64, "dim": 4, "l2": True, "learn": "gradient"},
    "nearest": 5,
}


def tiny(**options: Any) -> DetailFlow:
    return DetailFlow(**{**TINY, **options})


def net(**options: Any) -> DetailFlowNet:
    torch.manual_seed(0)
    config = DetailFlowConfig.model_validate({**TINY, "hidden": 0, "start": 0.5, **options})
    return DetailFlowNet(config).train()


@pytest.mark.parametrize("options", [{}, {"quantizer": {"kind": "fsq"}, "corrected": False}])
def test_it_keeps_the_contract(options: dict[str, Any], drawn: Image.Image) -> None:
    conforms(
        tiny(**options), [drawn, drawn.rotate(90), Image.new("L", (5, 9))], rebuild=lambda: tiny(**options)
    )


def test_few_codes_are_small_pictures(drawn: Image.Image) -> None:
    tokenizer = tiny()
    assert tokenizer.spec.nested == (1, 2, 3, 4, 8, 12, 16)
    (codes,) = tokenizer.encode([drawn])
    detail = tokenizer.config.detail
    shorter = [tokenizer.shorten(codes, n) for n in tokenizer.spec.nested]
    sizes = [made.size for made in tokenizer.decode(shorter)]
    assert sizes == [(detail.side(n),) * 2 for n in tokenizer.spec.nested]
    assert len(set(sizes)) > 2
    assert tokenizer.decode_tensor(shorter, side=24).shape == (7, 3, 24, 24)
    with pytest.raises(ValueError, match=r"pictures of \d sizes make no tensor"):
        tokenizer.decode_tensor(shorter)
    with pytest.raises(ValueError, match="a picture of side 20: give a multiple of the patch, 8"):
        tokenizer.decode([codes], side=20)
    with pytest.raises(TypeError, match="decode takes side, and no steps"):
        tokenizer.decode([codes], steps=3)
    with pytest.raises(Exception, match="a first 1 to 12 of them"):
        tokenizer.decode([Codes(codes.ids[:5])])


def test_the_first_codes_are_the_same_without_the_rest(drawn: Image.Image) -> None:
    (codes,) = tiny().encode([drawn])
    for budget in (1, 3, 8):
        (few,) = tiny(budget=budget).encode([drawn])
        assert few.ids.equal(codes.ids[:budget])


def test_later_groups_change_no_earlier_latent_and_patches_see_no_latent() -> None:
    module = net().eval()
    pictures = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        before = module.encode(pictures)
        module.encoder.latents[8:] += torch.randn(8, 48)
        after = module.encode(pictures)
    assert before[:, :8].equal(after[:, :8])
    assert not before[:, 8:12].isclose(after[:, 8:12]).all()
    with torch.no_grad():
        module.encoder.latents[6] += torch.randn(
            48
        )  # inside a later group codes see each other, in the first they do not
        last = module.encode(pictures)
    assert not last[:, 4].isclose(after[:, 4]).all()
    assert last[:, :4].equal(after[:, :4])


def test_what_is_read_once_is_what_one_masked_pass_gives() -> None:
    """The published form: one pass over patches and latents, patches blind to latents."""
    module = net().eval()
    pictures = torch.rand(2, 3, 32, 32)
    encoder = module.encoder
    seen = encoder.see(pictures)
    count, patches = 16, seen.patches.shape[1]
    side = encoder.config.patch
    cut = pictures.unfold(2, side, side).unfold(3, side, side)  # [B, 3, h, w, p, q]
    x = encoder.embed(cut.permute(0, 2, 3, 4, 5, 1).reshape(2, patches, -1)) + encoder.place
    x = torch.cat([x, (encoder.latents + encoder.latent_place).expand(2, -1, -1)], dim=1)
    mask = torch.zeros(patches + count, patches + count, dtype=torch.bool)
    mask[:, :patches] = True
    for row in range(count):
        last = row if row < 4 else row // 4 * 4 + 3
        mask[patches + row, patches : patches + last + 1] = True
    for block in encoder.blocks:
        x = block(x, mask=mask)
    torch.testing.assert_close(encoder.read(seen), encoder.norm_out(x)[:, patches:], atol=1e-5, rtol=1e-5)


def test_training_degrades_corrects_and_reaches_every_parameter() -> None:
    module = net(semantic=6, degraded=0.5)
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    sides = set()
    for seed in range(12):
        torch.manual_seed(seed)
        made = module(pictures)
        sides.add(made.pictures.shape[-1])
        assert made.wanted is not None
        assert made.pictures.shape == made.wanted.shape
        assert len(made.pictures) in (2, 4)
        assert made.quantized.ids.shape == (2, 16)
        assert made.features["semantic"].shape == (2, 1, 6)
        assert set(made.quantized.losses) == {"commitment", "codebook"}
        loss = (made.pictures - made.wanted).square().mean() + made.quantized.loss
        (loss + made.features["semantic"].mean()).backward()
    assert 32 in sides
    assert len(sides) > 1
    without = [name for name, p in module.named_parameters() if p.grad is None]
    assert not without
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_without_degrading_and_correcting_it_is_a_plain_tokenizer() -> None:
    made = net(degraded=0.0, corrected=False)(torch.rand(2, 3, 32, 32))
    assert made.pictures.shape == (2, 3, 32, 32)
    evaluated = net().eval()(torch.rand(2, 3, 32, 32))
    assert evaluated.pictures.shape == evaluated.wanted.shape == (2, 3, 32, 32)


def test_a_wrong_piece_is_near_and_what_follows_is_written_anew() -> None:
    module = net().eval()
    pictures = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        seen = module.encoder.see(pictures)
        z = module.to_code(module.encoder.read(seen))
        quantized = module.quantizer(z)
        torch.manual_seed(1)
        made = module.correct(seen, z, quantized, slice(4, 8))
        near = module.quantizer.nearest(z[:, 4:8], 5)
    assert near[..., 0].equal(quantized.ids[:, 4:8])
    assert (near == made.input[:, 4:8, None]).any(-1).all()
    assert not made.input[:, 4:8].equal(quantized.ids[:, 4:8])
    assert made.input[:, :4].equal(quantized.ids[:, :4])
    assert made.label[:, :8].equal(quantized.ids[:, :8])
    assert made.label[:, 8:].equal(made.input[:, 8:])
    torch.testing.assert_close(made.z_q, module.quantizer.lookup(made.input))


def test_pieces_are_single_codes_of_the_first_group_and_whole_later_groups() -> None:
    module = net()
    torch.manual_seed(0)
    pieces = {(p.start, p.stop) for p in (module._piece(16) for _ in range(300))}
    assert pieces == {(0, 1), (1, 2), (2, 3), (3, 4), (4, 8), (8, 12)}
    assert {(p.start, p.stop) for p in (module._piece(3) for _ in range(60))} == {(0, 1), (1, 2), (2, 3)}
    assert {module._fewer() for _ in range(300)} == {1, 2, 3, 4, 8, 12}


def test_corrected_codes_for_a_generator(drawn: Image.Image) -> None:
    tokenizer = tiny()
    items = [drawn, drawn.rotate(90), drawn.rotate(180)]
    first, again, other = (tokenizer.corrected(items, seed) for seed in (0, 0, 1))
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not all(a.equal(b) for a, b in zip(first, other, strict=True))
    for codes, triple in zip(tokenizer.encode(items), first, strict=True):
        assert triple.shape == (16, 3)
        assert triple[:, 0].equal(codes.ids)
        wrong = (triple[:, 1] != triple[:, 2]).nonzero()[:, 0]
        assert len(set((wrong // 4).tolist())) <= 1  # one code, or codes of one group


def test_it_trains_through_the_task(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    draw = torch.Generator().manual_seed(0)
    for n in range(40):
        colour = tuple(torch.randint(256, (3,), generator=draw).tolist())
        image = Image.new("RGB", (32, 32), colour)
        image.paste("white", (n % 16, n % 16, n % 16 + 12, n % 16 + 12))
        (tmp_path / "pictures" / f"{n:03}.png").write_bytes(write_image(image, ".png"))
    torch.manual_seed(0)
    model = {**TINY, "hidden": 0, "start": 0.5, "resize": "cover"}
    task = DetailFlow.training_task(model, {"train": ["pictures"], "kmeans": 3}, tmp_path, {"l2": 1.0})
    task.start()
    optimizer = torch.optim.AdamW(task.parameter_groups(3e-3))
    task.model.train()
    losses = []
    for step in range(70):
        out = task.judge(*task.batch(torch.arange(24), torch.Generator().manual_seed(step)), step=step)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        losses.append(float(out.figures["l2"]))
    assert sum(losses[-8:]) < 0.65 * sum(losses[:8])
    task.model.eval()
    assert set(task.fidelity()) == {"psnr", "ssim"}


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="group 5 does not divide 16"):
        tiny(group=5)
    with pytest.raises(ValueError, match="patch 7 does not divide 32"):
        tiny(patch=7)
    with pytest.raises(ValueError, match="corrected = true needs one codebook for all codes"):
        tiny(quantizer={"kind": "fsq"})
    with pytest.raises(ValueError, match=r"\[3, 64, 64\]: this network was built for \[3, 32, 32\]"):
        tiny().net.encode(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="no DetailFlow is called '64': there are 128, 256, 512, small64"):
        DetailFlow(preset="64")


def test_presets_are_built() -> None:
    assert DetailFlow().config == DetailFlow.preset("small64")
    assert sum(p.numel() for p in DetailFlow().net.parameters()) < 3e6  # type: ignore[attr-defined]
    with torch.device("meta"):
        for name, tokens in (("128", 128), ("256", 256), ("512", 512)):
            config = DetailFlow.preset(name)
            assert len(config.lengths) == {128: 23, 256: 39, 512: 71}[tokens]
            assert config.encoder.width == 1152


def test_few_codes_are_judged_by_what_they_are_to_show(drawn: Image.Image) -> None:
    tokenizer = tiny()
    wanted = torch.stack([tokenizer._tensor(0, drawn)])
    judge = Prefixes(tokenizer, [1, 8, 16])
    judge.add(tokenizer.encode([drawn]), wanted)
    found = judge.report()
    assert set(found) == {"1", "8", "16"}
    (codes,) = tokenizer.encode([drawn])
    for count in (1, 8, 16):
        made = tokenizer.decode_tensor([tokenizer.shorten(codes, count)]).clamp(0, 1)
        shown = tokenizer.config.detail.degraded(wanted, count).clamp(0, 1)
        assert found[str(count)]["psnr_degraded"] == pytest.approx(float(psnr(made, shown)), abs=1e-4)
    assert found["1"]["psnr_degraded"] != pytest.approx(found["1"]["psnr"], abs=1e-3)
