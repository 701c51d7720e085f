"""Names of tensors in the published checkpoints and here.

to_ours("language").ours(state)         # a released state dict, of either tree of this source, under our names
to_published("language").ours(state)    # and back, under those of its ModelNet tree
"""

from __future__ import annotations

import re

from ...common.keys import KeyMap, Rename

SHARED = (
    ("front.embed.{}", "patch_embed.EncP.raw_point_embed.net.{}"),
    ("front.stages.{}.{}.down.{}", "patch_embed.EncP.LGA_list.{}.linear2.{}.net1.{}"),
    ("front.stages.{}.{}.up.{}", "patch_embed.EncP.LGA_list.{}.linear2.{}.net2.{}"),
    ("views.attention.{}", "attn1.{}"),
    ("views.norms.{}", "norm3.{}"),
    ("head.{}", "cls_head_finetune.{}"),
)
"""Ours and theirs; {} stands for a number."""
LANGUAGE = (
    ("layers.{}.norm_1", "resblocks.{}.ln_1"),
    ("layers.{}.norm_2", "resblocks.{}.ln_2"),
    ("layers.{}.attn.qkv.", "resblocks.{}.attn.in_proj_"),
    ("layers.{}.attn.out.", "resblocks.{}.attn.out_proj."),
    ("layers.{}.mlp.up", "resblocks.{}.mlp.c_fc"),
    ("layers.{}.mlp.down", "resblocks.{}.mlp.c_proj"),
    ("layers.{}.scale_1", "resblocks.{}.ls1"),
    ("layers.{}.scale_2", "resblocks.{}.ls2"),
    ("guides.{}.adapter.down", "resblocks.{}.adapter.ln1"),
    ("guides.{}.adapter.up", "resblocks.{}.adapter.ln2"),
    ("guides.{}.space", "resblocks.{}.out_transform_3d.0"),
    ("guides.{}.views.{}", "resblocks.{}.out_transform_1d.{}.0"),
)
PLANE = (
    ("layers.{}.norm_1", "blocks.{}.norm1"),
    ("layers.{}.norm_2", "blocks.{}.norm2"),
    ("layers.{}.attn.qkv", "blocks.{}.attn.qkv"),
    ("layers.{}.attn.out", "blocks.{}.attn.proj"),
    ("layers.{}.mlp.up", "blocks.{}.mlp.fc1"),
    ("layers.{}.mlp.down", "blocks.{}.mlp.fc2"),
    ("layers.{}.scale_1", "blocks.{}.ls1"),
    ("layers.{}.scale_2", "blocks.{}.ls2"),
    ("guides.{}.adapter.down", "blocks.{}.adapter.ln1"),
    ("guides.{}.adapter.up", "blocks.{}.adapter.ln2"),
    ("guides.{}.space", "blocks.{}.out_transform_3d.0"),
    ("guides.{}.views.{}", "blocks.{}.out_transform_2d.{}.0"),
)
SCAN = (
    Rename(r"^encoder\.", ""),
    Rename(r"^prediction\.head\.0\.([01])\.", r"cls_head_finetune.\1."),
    Rename(r"^prediction\.head\.2\.0\.", "cls_head_finetune.4."),
    Rename(r"^prediction\.head\.2\.1\.", "cls_head_finetune.5."),
    Rename(r"^prediction\.head\.4\.0\.", "cls_head_finetune.8."),
)
"""The ScanObjectNN trees' names -> those of the ModelNet tree of the same source."""


def to_ours(source: str) -> KeyMap:
    """Published names -> ours, for a kind of source. Names of its ScanObjectNN tree are known, too."""
    return KeyMap(*SCAN, *_map([(theirs, ours) for ours, theirs in _pairs(source)]))


def to_published(source: str) -> KeyMap:
    """Our names -> those of the published ModelNet tree of this kind of source."""
    return KeyMap(*_map(_pairs(source)))


def _pairs(source: str) -> list[tuple[str, str]]:
    return [*SHARED, *(LANGUAGE if source == "language" else PLANE)]


def _map(pairs: list[tuple[str, str]]) -> list[Rename]:
    """Rules that replace the beginning of a name."""
    rules = []
    for pattern, to in pairs:
        found = "^" + re.escape(pattern).replace(r"\{\}", r"(\d+)")
        if not pattern.endswith(("_", ".")):
            found += r"(?=\.|$)"  # a whole part of the name
        first, *others = to.split("{}")
        rules.append(
            Rename(found, first + "".join(rf"\g<{n}>{each}" for n, each in enumerate(others, start=1)))
        )
    return rules
