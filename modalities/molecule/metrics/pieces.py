"""The words that MolT5 counts: WordPiece tokens of SciBERT's uncased vocabulary.

`scibert_uncased_vocab.txt.gz` is that vocabulary: 31,090 tokens, one a line (Beltagy et al., arXiv:1903.10676;
github.com/allenai/scibert, Apache-2.0). Another vocabulary gives other figures (BERT's own: BLEU-4 of the same
captions .511 for .502), so none is ever downloaded in its place.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import BertWordPieceTokenizer

VOCABULARY = Path(__file__).with_name("scibert_uncased_vocab.txt.gz")
LONGEST = 512
UNCOUNTED = frozenset({"[PAD]", "[CLS]", "[SEP]"})


def pieces(texts: Sequence[str]) -> list[list[str]]:
    """Lower-case word pieces of each text, at most 512; the marks [PAD], [CLS] and [SEP] are left out.

    Raises:
        ModuleNotFoundError: the package tokenizers is missing; `pip install 'unitok-lm[molecule]'` brings it.
    """
    encoded = _tokenizer().encode_batch(list(texts), add_special_tokens=False)
    return [[token for token in one.tokens if token not in UNCOUNTED] for one in encoded]


@cache
def _tokenizer() -> BertWordPieceTokenizer:
    from tokenizers import BertWordPieceTokenizer

    lines = gzip.decompress(VOCABULARY.read_bytes()).decode("utf-8").splitlines()
    tokenizer = BertWordPieceTokenizer({piece: at for at, piece in enumerate(lines)}, lowercase=True)
    tokenizer.enable_truncation(LONGEST)
    return tokenizer
