from __future__ import annotations

import errno
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from data_toys import Formula, Latin, Picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unitok import Codes, Document, Segment, Vocabulary
from unitok.data.store import DamagedStore, Store
from unitok.data.writer import StoreWriter
from unitok.vocabulary import VocabularyMismatch

VOCABULARY = Vocabulary.build({"text": Latin(), "image": Picture(), "molecule": Formula()})
TEXT = st.text(st.characters(max_codepoint=255), max_size=12).map(
    lambda s: Segment("text", Latin().encode([s])[0])
)
IMAGE = st.binary(min_size=4, max_size=4).filter(lambda b: b[0] != 255)
SEGMENT = st.one_of(
    TEXT,
    IMAGE.map(lambda b: Segment("image", Picture().encode([b])[0])),
    st.text("CNO", min_size=1, max_size=9).map(lambda s: Segment("molecule", Formula().encode([s])[0])),
)
SEGMENTS = st.lists(SEGMENT, max_size=4)
ROLES = st.sampled_from(["system", "user", "assistant"])
DOCUMENT = st.one_of(
    SEGMENTS.map(lambda segments: Document.of(*segments)),
    st.lists(st.tuples(ROLES, SEGMENTS), min_size=1, max_size=4).map(Document.chat),
)


def equal(a, b):
    assert a.ids.tolist() == b.ids.tolist()
    assert a.weight.tolist() == b.weight.tolist()
    assert a.kind.tolist() == b.kind.tolist()
    assert a.null.tolist() == b.null.tolist()
    assert a.side.keys() == b.side.keys()
    for name in a.side:
        for x, y in zip(a.side[name], b.side[name], strict=True):
            assert torch.equal(x, y)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(documents=st.lists(DOCUMENT, min_size=1, max_size=5), data=st.data())
def test_documents_come_back_as_they_were_written(tmp_path, documents, data):
    rendered = [document.render(VOCABULARY) for document in documents]
    with StoreWriter(tmp_path / "s", VOCABULARY) as writer:
        for i, one in enumerate(rendered):
            writer.add(one, f"clé {i}", f"chat.{i % 2}")
        store = writer.finish(note="x")
    assert len(store) == len(rendered)
    for i, one in enumerate(rendered):
        equal(store.document(i), one)
        equal(store.document(i, null=True), one.nulled())
        assert store.key(i) == f"clé {i}"
        assert store.form(i) == f"chat.{i % 2}"
        assert store.index.length[i] == len(one.ids)
        assert store.index.null_length[i] == len(one.nulled().ids)
        assert store.index.supervised[i] == one.weight[1:].sum()
        assert store.index.null_supervised[i] == one.nulled().weight[1:].sum()
    order = data.draw(st.permutations(range(len(rendered))))
    null = [data.draw(st.booleans()) for _ in order]
    piece = store.gather(np.array(order), np.array(null))
    wanted = [rendered[i].nulled() if n else rendered[i] for i, n in zip(order, null, strict=True)]
    assert piece.ids.tolist() == torch.cat([one.ids for one in wanted]).tolist()
    assert piece.length.tolist() == [len(one.ids) for one in wanted]
    first = np.cumsum([0, *piece.length])
    for name, (at, _) in piece.side.items():
        spots = [
            s + start for one, start in zip(wanted, first, strict=False) for s in one.side.get(name, [[]])[0]
        ]
        assert at.tolist() == [int(spot) for spot in spots]


def test_a_store_says_what_it_is(stores, vocabulary):
    store = Store.open(stores["chat"].path, vocabulary, verify=True)
    assert store.manifest["documents"] == len(store) == 40
    assert store.tokens == store.index.length.sum()
    assert store.vocabulary() == vocabulary
    assert not list(store.path.glob("*.pkl"))
    assert store.columns["ids"].dtype == np.uint16


def test_ids_above_65535_take_four_bytes(tmp_path):
    wide = Vocabulary.build({"text": Latin(), "image": big()})
    with StoreWriter(tmp_path / "w", wide) as writer:
        writer.add(Document.of(Segment("image", Codes(torch.tensor([69_999])))).render(wide), "k")
        store = writer.finish()
    assert store.columns["ids"].dtype == np.uint32
    assert store.document(0).ids[2] == wide.blocks["image"].start + 69_999


def big():
    from unitok import Spec

    return Spec("image", 70_000, (1, None), "big")


def test_another_vocabulary_is_refused_by_both_names(stores, vocabulary):
    other = Vocabulary.build({"text": Latin(), "image": big()})
    with pytest.raises(VocabularyMismatch) as caught:
        Store.open(stores["chat"].path, other)
    assert vocabulary.fingerprint in str(caught.value)
    assert other.fingerprint in str(caught.value)


@pytest.mark.parametrize("column", ["ids", "run_weight", "key", "side.molecule_shell.value"])
def test_one_flipped_bit_is_found(stores, column):
    path = stores["chat"].path / f"{column}.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    Store.open(stores["chat"].path)  # without verification only sizes are looked at
    with pytest.raises(DamagedStore, match=f"{column}.bin is damaged"):
        Store.open(stores["chat"].path, verify=True)


def test_a_truncated_or_missing_column_is_found_at_once(stores):
    path = stores["plain"].path / "ids.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DamagedStore, match="bytes where the manifest says"):
        Store.open(stores["plain"].path)
    path.unlink()
    with pytest.raises(DamagedStore, match="has no bytes"):
        Store.open(stores["plain"].path)


def test_a_folder_that_is_no_store_or_another_format(tmp_path, stores):
    with pytest.raises(DamagedStore, match="no token store"):
        Store.open(tmp_path / "nothing")
    manifest = stores["plain"].path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(DamagedStore, match="format 99"):
        Store.open(stores["plain"].path)
    manifest.write_text("{")
    with pytest.raises(DamagedStore, match="cannot be read"):
        Store.open(stores["plain"].path)


def test_its_fingerprint_is_that_of_its_content(tmp_path, vocabulary, modalities):
    def make(name, text):
        with StoreWriter(tmp_path / name, vocabulary) as writer:
            writer.add(
                Document.of(Segment("text", modalities["text"].encode([text])[0])).render(vocabulary), "k"
            )
            return writer.finish().index.fingerprint

    assert make("a", "red") == make("b", "red") != make("c", "blue")


def test_a_store_travels_to_worker_processes(stores):
    copy = pickle.loads(pickle.dumps(stores["chat"]))
    equal(copy.document(3), stores["chat"].document(3))


def write(path, vocabulary, rendered, before_the_end):
    with StoreWriter(path, vocabulary) as writer:
        writer.add(rendered, "k")
        before_the_end(writer)
        writer.finish()


def test_an_error_while_writing_leaves_nothing_and_spares_the_old_store(stores, vocabulary):
    def fail(writer):
        raise RuntimeError("in the middle")

    path = stores["chat"].path
    before = sorted(path.parent.iterdir())
    with pytest.raises(RuntimeError, match="in the middle"):
        write(path, vocabulary, stores["plain"].document(0), fail)
    assert sorted(path.parent.iterdir()) == before
    assert len(Store.open(path, vocabulary, verify=True)) == 40


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_names_the_store_and_leaves_nothing(tmp_path, stores, vocabulary):
    def fill_disk(writer):
        writer._columns["ids"]._file = Path("/dev/full").open("wb")  # noqa: SIM115
        writer.add(stores["plain"].document(1), "k")

    with pytest.raises(OSError, match=r"new could not be written \(No space.*free space") as caught:
        write(tmp_path / "new", vocabulary, stores["plain"].document(0), fill_disk)
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_finished_store_replaces_the_old_one(stores, vocabulary):
    path = stores["chat"].path
    with StoreWriter(path, vocabulary) as writer:
        writer.add(stores["plain"].document(0), "only")
        writer.finish()
    assert Store.open(path).key(0) == "only"
    assert not [p for p in path.parent.iterdir() if p.suffix in (".tmp", ".old")]
