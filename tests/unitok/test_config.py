from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unitok.config import ConfigError, dump, load, parse

SMALL = """
[vocabulary]
text = { use = "text.bytes" }
image = { use = "image.titok", size = 64 }

[data]
seq_len = 128

[data.sources.books]
path = "books.txt"
weight = 2

[train]
steps = 10

[deepspeed]
zero_optimization = { stage = 3 }
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_a_file_is_read_with_its_types(small):
    config = load(small)
    assert config.train.steps == 10
    assert config.data.sources["books"].weight == 2.0
    assert config.vocabulary["image"].use == "image.titok"
    assert config.vocabulary["image"].options == {"size": 64}
    assert config.deepspeed == {"zero_optimization": {"stage": 3}}
    assert config.root == str(small.parent.resolve())


def test_overrides_come_last_and_are_toml_or_text(small):
    config = load(
        small, ["train.steps=3", "data.sources.books.path=a b.txt", "deepspeed.zero_optimization.stage=1"]
    )
    assert config.train.steps == 3
    assert config.data.sources["books"].path == "a b.txt"
    assert config.deepspeed["zero_optimization"]["stage"] == 1


def test_a_base_is_inherited_and_overridden(small, tmp_path):
    (tmp_path / "more.toml").write_text('base = "small.toml"\n[train]\nlr = 0.5\n')
    config = load(tmp_path / "more.toml")
    assert (config.train.steps, config.train.lr) == (10, 0.5)


def test_a_circle_of_bases_is_named(tmp_path):
    (tmp_path / "a.toml").write_text('base = "b.toml"\n')
    (tmp_path / "b.toml").write_text('base = "a.toml"\n')
    with pytest.raises(ConfigError, match="leads back to this file"):
        load(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trian.steps=3", "unknown key 'trian': did you mean 'train'"),
        ("train.step=3", "unknown key 'train.step': did you mean 'steps'"),
        ("data.sources.books.wieght=3", "unknown key 'data.sources.books.wieght': did you mean 'weight'"),
        ("model.dept=3", "unknown key 'model.dept': did you mean 'depth'"),
        ("train.steps=many", "train.steps = 'many': input should be a valid integer"),
        ("train.steps=0", "train.steps = 0: input should be greater than or equal to 1"),
        ("vocabulary.text.use=3", "vocabulary.text.use = 3: input should be a valid string"),
        ("vocabulary={}", "vocabulary = {}: dictionary should have at least 1 item"),
        ("data=3", "data = 3: input should be a table"),
        ("data.sources.books.weight=inf", "data.sources.books.weight = inf: input should be a finite number"),
        ("train.micro_rows=3", "train.rows 4 is no multiple of train.micro_rows 3"),
        ("train.steps", "has no value: write dotted.key=value"),
        ("train.steps.more=1", "'steps' is a value, not a table"),
    ],
)
def test_every_mistake_is_one_sentence_that_names_it(small, override, message):
    with pytest.raises(ConfigError) as error:
        load(small, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_key_a_missing_file_and_broken_toml_are_named(tmp_path, small):
    with pytest.raises(ConfigError, match="the key 'vocabulary' is missing"):
        parse({"data": {"sources": {}}})
    with pytest.raises(ConfigError, match=r"there is no such file; beside it are small\.toml"):
        load(tmp_path / "smal.toml")
    (tmp_path / "broken.toml").write_text("[train\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path / "broken.toml")
    (tmp_path / "based.toml").write_text("base = 3\n")
    with pytest.raises(ConfigError, match="base = 3: it is the name of another file"):
        load(tmp_path / "based.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


words = st.text(string.ascii_letters, min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 10**6),
    st.floats(1e-6, 1.0),
    words,
    st.booleans(),
    st.dictionaries(words, words, max_size=3),
)
def test_loading_undoes_dumping(tmp_path_factory, steps, lr, word, flag, options):
    options = {k: v for k, v in options.items() if k not in ("use", "stacked")}
    config = parse(
        {
            "vocabulary": {"text": {"use": word, **options}},
            "data": {"sources": {word: {"path": word, "weight": lr}}},
            "train": {"steps": steps, "lr": lr, "progress": flag},
        }
    )
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(dump(config))
    assert load(path) == config
