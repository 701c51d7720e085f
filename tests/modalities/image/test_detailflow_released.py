"""Released DetailFlow tokenizers: the listing loads strictly, and outputs equal the official module's."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from released import agrees, filled, golden, listing, numbers

from modalities.common.checkpoint import Checkpoint
from modalities.common.quantize.config import VQConfig
from modalities.common.weights import WeightsMismatch, load_weights
from modalities.image.detail import Detail
from modalities.image.detailflow import DetailFlow, released
from modalities.image.detailflow_config import DetailFlowConfig
from modalities.image.detailflow_net import DetailFlowNet
from modalities.image.vit1d import ViTSize


def test_the_listing_loads_strictly_and_is_known_by_its_shapes():
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in listing("detailflow_128").items()}
        teacher = {"repa_model.x.weight": torch.empty(1), "global_token_proj.0.weight": torch.empty(1)}
        config, ours = released(Checkpoint({**state, **teacher}))
        assert config == DetailFlow.preset("128")
        own = DetailFlowNet(config).state_dict()
    assert {key: tuple(t.shape) for key, t in ours.items()} == {key: tuple(t.shape) for key, t in own.items()}
    ours.pop("refine.bias")
    with pytest.raises(WeightsMismatch, match=r"refine\.bias"), torch.device("meta"):
        load_weights(DetailFlowNet(config), ours)


@pytest.mark.parametrize("tokens", [128, 256, 512])
def test_the_map_of_resolutions_is_the_published_one(tokens):
    noted = golden("detailflow")[f"map_{tokens}"]
    detail = Detail(256, tokens, 8, 16)
    assert [str(n) for n in detail.lengths] == list(noted["token2res"])
    assert {str(n): detail.resolution(n) for n in detail.lengths} == noted["token2res"]
    assert {str(n): detail.side(n) for n in detail.lengths} == noted["token2dec_out_res"]
    assert {side: detail.count(int(side)) for side in noted["decres2besttoken"]} == noted["decres2besttoken"]


@pytest.mark.slow
def test_codes_and_pictures_are_those_of_the_official_module():
    noted = golden("detailflow")["detailflow_128"]
    config, ours = released(Checkpoint(filled(listing("detailflow_128"))))
    net = DetailFlowNet(config)
    load_weights(net, ours)
    del ours
    net.eval().requires_grad_(False)
    pictures = 2 * numbers("input.image", (1, 3, 256, 256)).float() - 1
    latents = net.encoder(pictures)
    agrees(latents, noted["latent"])
    z = net.to_code(latents)
    agrees(z, noted["z"])
    assert net.quantizer.encode(z).tolist() == [noted["tokens"]]
    z_q = net.quantizer(z).z_q
    agrees(net.decode(z_q), noted["y256"])
    agrees(net.decode(z_q[:, :40], 96), noted["y96_from_40"])
    torch.testing.assert_close(net.encode(pictures, 40), z[:, :40], atol=1e-4, rtol=1e-4)


def test_a_tiny_network_is_the_official_module_in_small():
    """Without the shared listings; what was noted comes from the official classes at this width."""
    noted = json.loads((Path(__file__).parents[2] / "golden" / "detailflow.json").read_text())
    state = filled({key: tuple(shape) for key, shape in noted["keys"].items()})
    config, ours = released(Checkpoint(state))
    net = DetailFlowNet(config)
    load_weights(net, ours)
    net.eval().requires_grad_(False)
    pictures = 2 * numbers("input.image", (2, 3, 256, 256)).float() - 1
    seen = net.encoder.see(pictures)
    latents = net.encoder.read(seen)
    agrees(latents, noted["latent"])
    z = net.to_code(latents)
    agrees(z, noted["z"])
    codes = net.quantizer.encode(z)
    assert codes.tolist() == noted["codes"]
    z_q = net.quantizer.lookup(codes)
    agrees(net.decode(z_q), noted["whole"])
    for count, side in ((1, 16), (5, 48), (16, 144)):
        agrees(net.decode(z_q[:, :count], side), noted[f"y{side}_from_{count}"])
    wrong = codes[:, :16].clone()
    wrong[:, 8:] = (wrong[:, 8:] + 1) % 64
    refined = net.to_code(net.encoder.read(seen, known=net.refine(net.quantizer.lookup(wrong))))
    agrees(refined, noted["refined"])
    assert net.quantizer.encode(refined).tolist() == noted["refined_codes"]


def theirs(net: DetailFlowNet) -> dict[str, torch.Tensor]:
    """The tensors of a small network under the released names, in the released shapes."""
    named: dict[str, torch.Tensor] = {"quantize.codebook_used": torch.zeros(16)}
    for name, tensor in net.state_dict().items():
        for ours, other in (
            ("quantizer.codebook", "quantize.embedding.weight"), ("to_code.", "quant_conv."),
            ("from_code.", "post_quant_conv."), ("refine.", "refine_conv."), (".to_pixels.", ".to_pixel.model."),
            (".latent_place", ".latent_pos_embed"), (".latents", ".latent_tokens"), (".refined", ".refined_tokens"),
            (".mask", ".mask_token"), (".embed.", ".visual_model.embeddings.patch_embedding."),
            ("coder.place", "coder.visual_model.embeddings.position_embedding.weight"),
            (".norm_out.", ".visual_model.post_layernorm."), (".blocks.", ".visual_model.encoder.layers."),
            (".attn.out.", ".self_attn.out_proj."), (".norm_1.", ".layer_norm1."), (".norm_2.", ".layer_norm2."),
            (".mlp.up.", ".mlp.fc1."), (".mlp.down.", ".mlp.fc2."),
        ):  # fmt: skip
            name = name.replace(ours, other)
        if name.endswith(("latent_pos_embed", "tokens", "mask_token")):
            tensor = tensor.unsqueeze(0)
        if ".attn.qkv." in name:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                named[name.replace(".attn.qkv.", f".self_attn.{part}_proj.")] = piece
        else:
            named[name] = tensor
    return named


def test_a_file_of_the_released_layout_through_the_tokenizer(tmp_path, drawn):
    torch.manual_seed(3)
    config = DetailFlowConfig(
        size=32,
        tokens=8,
        patch=8,
        group=4,
        encoder=ViTSize(width=128, layers=2, heads=2),
        decoder=ViTSize(width=64, layers=1, heads=1),
        hidden=96,
        quantizer=VQConfig(codes=64, dim=4, l2=True, learn="gradient"),
    )
    net = DetailFlowNet(config).eval()
    state = theirs(net) | {
        "repa_model.visual_model.x": torch.zeros(2),
        "global_token_proj.0.weight": torch.zeros(2),
    }
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").write_text('{"group_size": 4, "num_latent_tokens": 8}')
    file = tmp_path / "checkpoints" / "0001000.pt"
    torch.save({"model": state, "optimizer": {}, "steps": 3, "args": Namespace(vq_model="VQ-16")}, file)
    tokenizer = DetailFlow(file)
    assert tokenizer.config == config
    codes = tokenizer.encode([drawn, drawn.rotate(90)])
    pictures = torch.stack([2 * tokenizer._tensor(0, d) - 1 for d in (drawn, drawn.rotate(90))])
    with torch.no_grad():
        assert torch.stack([each.ids for each in codes]).equal(net.quantizer.encode(net.encode(pictures)))
    with pytest.raises(WeightsMismatch, match="is of another preset: size is 32, not 256"):
        DetailFlow(file, preset="128")
    del state["refine_conv.bias"]
    torch.save({"model": state}, file)
    with pytest.raises(WeightsMismatch, match=r"missing refine\.bias"):
        DetailFlow(file)
    torch.save({"conv.weight": torch.zeros(3)}, file)
    with pytest.raises(WeightsMismatch, match="has no tensor .*it is a file of another tokenizer"):
        DetailFlow(file)


def test_training_may_start_from_siglip():
    torch.manual_seed(0)
    config = DetailFlow.preset("small64")
    net, width = DetailFlowNet(config), config.encoder.width
    names = theirs(net)
    siglip = {
        name.replace("encoder.visual_model.", "vision_model.", 1): torch.full_like(tensor, 0.25)
        for name, tensor in names.items()
        if name.startswith("encoder.visual_model.")
    }
    more = {name.replace("layers.0.", "layers.9."): t for name, t in siglip.items() if ".layers.0." in name}
    found = net.ours(
        {**siglip, **more, "vision_model.head.probe": torch.zeros(1), "text_model.x": torch.zeros(1)}
    )
    assert "encoder.blocks.2.mlp.up.weight" in found
    assert not any("blocks.9" in name or "head" in name or "text" in name for name in found)
    own = net.state_dict()
    assert all(name in own and own[name].shape == tensor.shape for name, tensor in found.items())
    assert found["encoder.blocks.0.attn.qkv.weight"].shape == (3 * width, width)
    assert net.ours(own) is own
