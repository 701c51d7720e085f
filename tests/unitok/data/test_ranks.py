"""Two processes share one tokenizing run and one sequence of rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
import torch.distributed as dist
from itertools import islice
from pathlib import Path
rank, folder, tests = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
sys.path.append(tests)
from data_toys import Formula, Latin, Picture
from unitok import Vocabulary
from unitok.data.config import DataConfig
from unitok.data.loader import Loader
from unitok.data.plan import Plan
from unitok.data.tokenize import tokenize
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
modalities = {"text": Latin(), "image": Picture(), "molecule": Formula()}
vocabulary = Vocabulary.build(modalities)
config = DataConfig.model_validate(json.loads((folder / "data.json").read_text()))
stores = tokenize(config, folder, vocabulary, modalities)
loader = Loader(stores, Plan(stores, {"s": 1.0}, 64), vocabulary, 2, rank, 2)
tokens = [batch.tokens.tolist() for batch in islice(iter(loader), 3)]
print(json.dumps({"calls": len(modalities["text"].calls), "tokens": tokens, "rows": loader.state()["row"]}))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_one_rank_builds_the_other_waits_and_both_read_their_rows(tmp_path):
    rows = [json.dumps({"t": f"number {i}"}) for i in range(50)]
    (tmp_path / "s.jsonl").write_text("\n".join(rows))
    source = {"path": "s.jsonl", "fields": {"t": "text"}, "plain": ["{t}"]}
    data = {"sources": {"s": source}, "seq_len": 64, "cache": str(tmp_path / "cache")}
    (tmp_path / "data.json").write_text(json.dumps(data))
    command = [sys.executable, "-c", PROGRAM]
    where = [str(tmp_path), str(Path(__file__).parents[2])]
    started = [
        subprocess.Popen([*command, str(rank), *where], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [json.loads(process.communicate(timeout=120)[0]) for process in started]
    assert [one["calls"] > 0 for one in said] == [True, False]
    assert said[0]["rows"] == said[1]["rows"] == 12
    mine = [row for one in said for batch in one["tokens"] for row in batch]
    assert len({tuple(row) for row in mine}) == 12
