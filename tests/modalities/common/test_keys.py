"""Key maps move tensors and lose none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modalities.common.attention import Attention, Cache, CrossAttention
from modalities.common.keys import Drop, Fuse, KeyMap, Rearrange, Rename, Split, Squeeze, numbered


def ones(*shape: int, value: float = 1.0) -> torch.Tensor:
    return torch.full(shape, value)


def test_rename_keeps_what_no_rule_names():
    state = KeyMap(Rename(r"transformer\.(\d+)\.ln_([12])", r"blocks.\1.norm_\2")).ours(
        {"encoder.transformer.3.ln_2.weight": ones(4), "latent_tokens": ones(2, 4)}
    )
    assert set(state) == {"encoder.blocks.3.norm_2.weight", "latent_tokens"}


def test_two_tensors_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two tensors would be called 'x'"):
        KeyMap(Rename("a|b", "x")).ours({"a": ones(1), "b": ones(1)})


def test_fuse_stacks_in_the_order_of_the_names_whatever_the_order_of_the_file():
    state = {
        f"layers.1.attn.{n}_proj.weight": ones(2, 3, value=v) for n, v in (("v", 3.0), ("q", 1.0), ("k", 2.0))
    }
    state["layers.1.attn.o_proj.weight"] = ones(2, 2)
    fused = KeyMap(Fuse(r"attn\.{}_proj", ("q", "k", "v"), "attn.qkv")).ours(state)
    assert set(fused) == {"layers.1.attn.qkv.weight", "layers.1.attn.o_proj.weight"}
    assert fused["layers.1.attn.qkv.weight"][:, 0].tolist() == [1, 1, 2, 2, 3, 3]


def test_fuse_leaves_an_incomplete_set_for_the_strict_loading_to_name():
    state = {"attn.q_proj.weight": ones(2, 3), "attn.k_proj.weight": ones(2, 3)}
    assert set(KeyMap(Fuse(r"attn\.{}_proj", ("q", "k", "v"), "attn.qkv")).ours(state)) == set(state)


def test_fuse_expands_groups_and_may_keep_a_name_of_its_own():
    state = {
        "mlp.fc1.weight": ones(2, 3),
        "mlp.fc3.weight": ones(2, 3, value=2.0),
        "b.0.k": ones(1),
        "b.0.v": ones(1),
    }
    fused = KeyMap(
        Fuse(r"{}\.weight", ("fc1", "fc3"), "fc1.weight"), Fuse(r"b\.(\d)\.{}", ("k", "v"), r"b.\1.kv")
    ).ours(state)
    assert fused["mlp.fc1.weight"].shape == (4, 3)
    assert set(fused) == {"mlp.fc1.weight", "b.0.kv"}


def test_split_squeeze_and_drop():
    rules = KeyMap(
        Split(r"multihead_attn\.in_proj_weight", {"cross.q.weight": 1, "cross.kv.weight": 2}),
        Squeeze(r"conv_out\.weight"),
        Squeeze(r"class_embedding", (0,)),
        Drop(r"codebook_used"),
    )
    state = rules.ours(
        {
            "l.0.multihead_attn.in_proj_weight": torch.arange(9.0)[:, None].expand(9, 3),
            "conv_out.weight": ones(5, 4, 1, 1),
            "class_embedding": ones(1, 4),
            "quantize.codebook_used": ones(7),
        }
    )
    assert {key: tuple(t.shape) for key, t in state.items()} == {
        "l.0.cross.q.weight": (3, 3),
        "l.0.cross.kv.weight": (6, 3),
        "conv_out.weight": (5, 4),
        "class_embedding": (4,),
    }
    assert state["l.0.cross.kv.weight"][:, 0].tolist() == [3, 4, 5, 6, 7, 8]


def test_torchs_own_attention_loads_and_agrees():
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    x, memory, place = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(5, 16)
    names = KeyMap(Rename(r"^in_proj_", "qkv."), Rename(r"^out_proj", "out"))
    ours = Attention(16, 4)
    ours.load_state_dict(names.ours(theirs.state_dict()))
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])
    torch.testing.assert_close(ours(x, place=place), theirs(x + place, x + place, x)[0])
    cross = CrossAttention(16, 4)
    cut = KeyMap(
        Split("^in_proj_weight", {"q.weight": 1, "kv.weight": 2}),
        Split("^in_proj_bias", {"q.bias": 1, "kv.bias": 2}),
        Rename(r"^out_proj", "out"),
    )
    cross.load_state_dict(cut.ours(theirs.state_dict()))
    torch.testing.assert_close(cross(x, memory, place=place), theirs(x + place, memory, memory)[0])
    torch.testing.assert_close(
        cross(x, memory, place=place, memory_place=torch.ones(7, 16)),
        theirs(x + place, memory + 1, memory)[0],
    )


def test_a_cached_attention_equals_the_causal_one():
    torch.manual_seed(0)
    attention = Attention(16, 4)
    x = torch.randn(2, 6, 16)
    whole = attention(x, mask=torch.ones(6, 6, dtype=torch.bool).tril())
    cache = Cache(6)
    pieces = [attention(x[:, :2], mask=torch.ones(2, 2, dtype=torch.bool).tril(), cache=cache)]
    pieces += [attention(x[:, i : i + 1], cache=cache) for i in range(2, 6)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    with pytest.raises(ValueError, match="7 positions in a cache for 6"):
        attention(x[:, :1], cache=cache)


def test_rearrange_lays_axes_out_anew_and_leaves_tensors_of_other_axes():
    table = torch.arange(12.0).view(1, 3, 2, 2)
    rule = KeyMap(Rearrange(r"\.place$", "one w h v -> (one h v) w"))
    made = rule.ours({"a.place": table, "b.place": ones(4, 3), "c.weight": table})
    assert torch.equal(made["a.place"], table[0].flatten(1).T)
    assert made["b.place"].shape == (4, 3)
    assert made["c.weight"] is table


def test_numbers_of_layers_are_counted_from_the_beginning_of_keys():
    state = dict.fromkeys(
        ["blocks.0.a", "blocks.0.b", "blocks.11.a", "more.blocks.5.a", "blocks.x.a"], torch.zeros(1)
    )
    assert numbered(state, r"blocks\.(\d+)\.") == 2
    assert numbered(state, r"none\.(\d+)\.") == 0
