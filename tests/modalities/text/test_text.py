"""Both text modalities keep the same laws; they are tested together."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalities.text.pieces import Pieces
from modalities.text.raw import Bytes
from modalities.text.utf8 import LEADS, follow
from unitok.modality import BadCodes, BadItem, Codes
from unitok.testing import conforms

TEXTS = [Bytes(), Pieces()]
scalars = st.characters(exclude_categories=("Cs",))
strings = st.text(scalars, min_size=1)
odd = st.text(
    st.sampled_from(list(" \n\t\u2581<>/unk0xA41\u0000\ufeff\u0301\u200d\U0001f600é中")), min_size=1
)
text_modalities = pytest.mark.parametrize("text", TEXTS, ids=lambda text: type(text).__name__)


@text_modalities
def test_conforms(text) -> None:
    samples = ["A chair, 45 cm wide.", " two  spaces\n\n\ttab", "\u2581 naïve 😀"]
    conforms(text, samples, rebuild=type(text))
    assert not text.spec.framed
    assert text.spec.length == (1, None)


@text_modalities
@given(string=st.one_of(strings, odd))
def test_every_string_comes_back(text, string) -> None:
    [codes] = text.encode([string])
    assert text.decode([codes]) == [string]
    assert 0 <= int(codes.ids.min()) <= int(codes.ids.max()) < text.spec.size


@text_modalities
@given(a=st.one_of(strings, odd), b=st.one_of(strings, odd))
def test_codes_may_be_joined(text, a, b) -> None:
    one, two = text.encode([a, b])
    assert text.decode([Codes(torch.cat([one.ids, two.ids]))]) == [a + b]


@text_modalities
@given(string=st.one_of(strings, odd))
def test_what_is_encoded_is_legal(text, string) -> None:
    ids = text.encode([string])[0].ids.tolist()
    for at, new in enumerate(ids):
        assert any(new in r for r in text.legal(ids[:at]).ranges)
        assert text.legal(ids[:at]).end == (at > 0 and text.shortest_end(ids[:at]) == 0)
    assert text.legal(ids).end
    assert text.shortest_end(ids) == 0


@text_modalities
@given(data=st.data())
def test_what_is_legal_decodes(text, data) -> None:
    """Any walk through `legal` that ends where `end` is True is a string; `shortest_end` counts down to it."""
    ids: list[int] = []
    for _ in range(data.draw(st.integers(1, 12))):
        ranges = text.legal(ids).ranges
        r = data.draw(st.sampled_from(ranges))
        due = text.shortest_end(ids)
        ids.append(data.draw(st.integers(r.start, r.stop - 1)))
        assert due <= 1 or text.shortest_end(ids) == due - 1
    while not text.legal(ids).end:
        ids.append(text.legal(ids).ranges[0].start)
    [string] = text.decode([Codes(torch.tensor(ids))])
    assert string.encode()


def test_utf8_follows_the_standard() -> None:
    """Every walk of `follow` that completes one character is what Python decodes, and there are as many."""
    count = 0
    for lead in (byte for r in LEADS for byte in r):
        seconds, missing = follow([lead])
        if not missing:
            count += 1
            continue
        for second in (byte for r in seconds for byte in r):
            thirds, missing = follow([lead, second])
            if not missing:
                count += 1
                continue
            tail = [0x80] * missing
            bytes([lead, second, *tail]).decode()
            bytes([lead, second, *[0xBF] * missing]).decode()
            assert thirds == (range(0x80, 0xC0),)
            count += 64**missing
    assert count == 0x110000 - 0x800


@text_modalities
def test_lone_surrogates_empty_and_foreign_items_are_errors(text) -> None:
    with pytest.raises(BadItem, match=r"item 1: lone surrogate U\+D800 at character 2"):
        text.encode(["fine", "ab\ud800"])
    with pytest.raises(BadItem, match="the text is empty"):
        text.encode([""])
    with pytest.raises(BadItem, match="int is not text"):
        text.encode([7])


@text_modalities
def test_bad_codes_are_errors(text) -> None:
    [cut] = text.encode(["\U0001f9ff"])  # no piece: four bytes in both
    for ids, words in (
        (cut.ids[:-1], "not UTF-8"),
        (cut.ids[1:], "not UTF-8"),
        (torch.tensor([text.spec.size]), "out of range|is not a piece"),
        (torch.tensor([-1]), "out of range|is not a piece"),
        (torch.tensor([], dtype=torch.int64), "at least one"),
    ):
        with pytest.raises(BadCodes, match=words):
            text.decode([Codes(ids)])


@text_modalities
def test_files(text, tmp_path) -> None:
    path = tmp_path / "a.txt"
    text.save("Ahab\n", path)
    assert text.load(path) == "Ahab\n"
    path.write_bytes(b"fine\xff")
    with pytest.raises(ValueError, match=r"a\.txt: byte 4 is not UTF-8"):
        text.load(path)
    with pytest.raises(ValueError, match=r"cannot be read from '\.doc'"):
        text.load(tmp_path / "a.doc")
    with pytest.raises(ValueError, match=r"cannot be read from '\.doc'"):
        text.read(b"", ".doc")


def test_golden_bytes() -> None:
    assert Bytes().encode(["Aé😀"])[0].ids.tolist() == [65, 195, 169, 240, 159, 152, 128]
    assert Bytes().spec.fingerprint.startswith("06a005cb")


@pytest.mark.parametrize("string", ["<image>", "</molecule>", "<pad>", "<unk>", "<0x41>", "<s>", "[C]"])
def test_text_that_spells_a_mark_is_text(string) -> None:
    pieces = Pieces()
    ids = pieces.encode([string])[0].ids
    assert len(ids) > 1
    assert pieces.decode([Codes(ids)]) == [string]


def test_the_unknown_piece_is_never_legal_nor_decoded() -> None:
    pieces = Pieces()
    assert not any(0 in r for r in pieces.legal([]).ranges)
    with pytest.raises(BadCodes, match="text code 0 is not a piece"):
        pieces.decode([Codes(torch.tensor([0]))])


def test_a_model_that_normalises_is_refused(tmp_path) -> None:
    import sentencepiece

    lines = ["fi ligatures and more words to learn pieces from"] * 10

    def train(name: str, **options) -> Pieces:
        with (tmp_path / name).open("wb") as out:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines), model_writer=out, model_type="bpe",
                hard_vocab_limit=False, minloglevel=2, **options,
            )  # fmt: skip
        return Pieces(model=tmp_path / name)

    nfkc = train("nfkc.model", vocab_size=300, byte_fallback=True)
    with pytest.raises(BadItem, match="does not keep this text"):
        nfkc.encode(["\ufb01x"])
    with pytest.raises(ValueError, match="has 0 byte pieces"):
        train("plain.model", vocab_size=40)
    (tmp_path / "junk.model").write_bytes(b"junk")
    with pytest.raises(ValueError, match="not a SentencePiece model"):
        Pieces(model=tmp_path / "junk.model")


def test_pieces_pickle_without_the_file(tmp_path) -> None:
    path = tmp_path / "copy.model"
    path.write_bytes(Pieces()._model)
    data = pickle.dumps(Pieces(model=path))
    path.unlink()
    copy = pickle.loads(data)
    assert copy.encode(["a chair"])[0].ids.equal(Pieces().encode(["a chair"])[0].ids)
    assert copy.spec.fingerprint == Pieces().spec.fingerprint


def test_golden_ids() -> None:
    """The ids of the shipped tokenizer change only with its fingerprint, and that is a decision."""
    kept = json.loads((Path(__file__).parents[2] / "golden" / "text_pieces.json").read_text(encoding="utf-8"))
    assert TEXTS[1].spec.fingerprint == kept["fingerprint"]
    for item, ids in kept["items"].items():
        assert TEXTS[1].encode([item])[0].ids.tolist() == ids
