"""Building token shards against tokenizing with `datasets.map`, on the same text and tokenizer.

Ours reads .jsonl, filters duplicates, keeps evaluation prompts out, encodes on all cores, and writes checksummed shards.
The peer maps a data set that is loaded already (its own reading is not timed) and writes Arrow files: once by the
tokenizer's own threads, once on as many processes as there are cores; the faster of the two is compared with. The
contenders take turns, and the ratio is the median over repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from fastdraft_core import places
from fastdraft_core.bench.tasks import load_tasks
from fastdraft_core.data.corpus import Corpus
from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.sources import read_documents
from fastdraft_core.machine.devices import choose_threads, machine_card
from fastdraft_core.models.folders import load_tokenizer
from fastdraft_core.text_sources import TextSource

SCHEMA = 1


def main() -> None:
    """Print a table, the ratio and one JSON line."""
    options = _options()
    tokenizer = load_tokenizer(Path(options.tokenizer), "target")
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "text.jsonl"
        characters = _write_text(text, round(options.megabytes * 1e6))
        contenders = _contenders(text, tokenizer, Path(scratch))
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for repeat in range(options.repeats):
            for name in list(contenders)[:: -1 if repeat % 2 else 1]:
                tokens, seconds = contenders[name]()
                rates[name].append(tokens / seconds)
    peers = [name for name in rates if name != "fastdraft"]
    best = max(peers, key=lambda name: statistics.median(rates[name]))
    ratio = statistics.median(a / b for a, b in zip(rates["fastdraft"], rates[best], strict=True))
    print(f"| {'contender':32} | tokens/s, median of {options.repeats} repeats |")
    print(f"| :{'-' * 31} | ---------------------------: |")
    for name, values in rates.items():
        print(f"| {name:32} | {statistics.median(values):28,.0f} |")
    print(f"fastdraft / {best}: {ratio:.2f}, {characters:,} characters, {choose_threads()} cores")
    result = {
        "schema": SCHEMA,
        "options": vars(options),
        "characters": characters,
        "tokens_per_second": rates,
        "peer": best,
        "ratio": ratio,
        "machine": msgspec.to_builtins(machine_card()),
    }
    print(json.dumps(result))


def _contenders(text: Path, tokenizer: Any, scratch: Path) -> dict[str, Callable[[], tuple[int, float]]]:
    """Each does the whole work once; tokens and seconds."""
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("json", data_files=str(text), split="train", cache_dir=str(scratch / "arrow"))
    prompts = [s.text() for task in load_tasks("code,text", count=1 << 30) for s in task.sources]
    corpus = Corpus({"text": TextSource(path=str(text))}, Overlap(prompts))
    os.environ["FASTDRAFT_HOME"] = str(scratch / "home")

    def ours() -> tuple[int, float]:
        shutil.rmtree(places.cache(), ignore_errors=True)
        begin = time.perf_counter()
        shards = [_result(corpus.shard("text", tokenizer, held_out=side)) for side in (False, True)]
        return sum(s.index.num_tokens for s in shards), time.perf_counter() - begin

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        ids = tokenizer(batch["text"], return_attention_mask=False).input_ids
        return {"ids": [[*row, tokenizer.eos_token_id] for row in ids]}

    def peer(processes: int | None) -> tuple[int, float]:
        os.environ["TOKENIZERS_PARALLELISM"] = "false" if processes else "true"
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            # A file of its own every time: nothing comes from datasets' cache.
            begin = time.perf_counter()
            mapped = loaded.map(
                encode,
                batched=True,
                num_proc=processes,
                remove_columns=loaded.column_names,
                cache_file_name=f"{folder}/mapped.arrow",
                load_from_cache_file=False,
            )
            seconds = time.perf_counter() - begin
            tokens = sum(map(len, mapped["ids"]))
        return tokens, seconds

    cores = choose_threads()
    return {
        "fastdraft": ours,
        "datasets.map, tokenizer's threads": lambda: peer(None),
        f"datasets.map, {cores} processes": lambda: peer(cores),
    }


def _write_text(path: Path, characters: int) -> int:
    """Source files of the standard library, cut short where enough; how many characters there are."""
    written = 0
    with path.open("w", encoding="utf-8") as out:
        for document in read_documents("code"):
            if written >= characters:
                break
            out.write(json.dumps({"text": document.text}) + "\n")
            written += len(document.text)
    return written


def _result(stream: Any) -> Any:
    while True:
        try:
            next(stream)
        except StopIteration as stop:
            return stop.value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", default=str(places.assets() / "demo" / "target"), help="folder of a model")
    parser.add_argument("--megabytes", type=float, default=10.0, help="text, at most what the standard library holds")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
