import gzip

import pytest

from unitok.packed import DAMAGE, opened

TEXT = b"some lines\nof a file\n" * 20_000


def packed(path, parts):
    if path.suffix == ".zst":
        zstandard = pytest.importorskip("zstandard")
        path.write_bytes(b"".join(zstandard.ZstdCompressor().compress(part) for part in parts))
    elif path.suffix in (".gz", ".tgz"):
        path.write_bytes(b"".join(gzip.compress(part) for part in parts))
    else:
        path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.TGZ".lower(), "a.zst"])
@pytest.mark.parametrize("parts", [[TEXT], [TEXT[:7], TEXT[7:]], [b"", TEXT], []])
def test_what_was_packed_comes_back_from_all_its_frames(tmp_path, name, parts):
    with opened(packed(tmp_path / name, parts)) as file:
        assert file.read() == b"".join(parts)


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_a_file_that_was_cut_does_not_end_in_silence(tmp_path, name):
    path = packed(tmp_path / name, [TEXT, TEXT])
    path.write_bytes(path.read_bytes()[:-9])
    with opened(path) as file, pytest.raises(DAMAGE):
        file.read()


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_what_is_not_packed_is_damage(tmp_path, name):
    if name == "a.zst":
        pytest.importorskip("zstandard")
    (tmp_path / name).write_bytes(TEXT)
    with opened(tmp_path / name) as file, pytest.raises(DAMAGE):
        file.read()


@pytest.mark.parametrize("name", ["a.txt", "a.gz", "a.zst"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=name):
        opened(tmp_path / name)
