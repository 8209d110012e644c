"""Text: what a token is, who knows which words, that windows are the text, and what a sample is drawn from."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initlab import activations
from initlab.core import seeds
from initlab.errors import ConfigError, DataError
from initlab.models.recurrent import lstm
from initlab.spec import IO, Splits, Task
from initlab.tasks.text import TextData, TextTask, ptb, python_topics, text_file, tiny_shakespeare, wikitext2
from initlab.tasks.text.corpus import PART_NAMES, split_parts, windows
from initlab.tasks.text.listing import entries
from initlab.tasks.text.sample import sample
from initlab.tasks.text.tokens import END_OF_LINE, UNKNOWN, join, split_at_spaces, split_text, vocabulary
from tests.tasks.text.ngram import bits_per_character

CPU = torch.device("cpu")
PROSE = "the cat sat on the mat, and the dog didn't.\n" * 40


def written(path: Path, content: str | bytes, name: str = "text.txt") -> Path:
    file = path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def opened(data: TextData) -> Splits:
    return TextTask(data=data).open(seed=0, device=CPU)


def read_back(splits: Splits, name: Any) -> str:
    part = splits.part(name)
    return "".join(splits.class_names[i] for i in part.x.flatten().tolist())


# ------------------------------------------------------------------ windows and parts
def test_windows_are_the_text_and_answers_the_next_token(tmp_path: Path) -> None:
    text = "".join(chr(97 + int(i)) for i in torch.randint(26, (1000,), generator=torch.Generator().manual_seed(0)))
    splits = opened(text_file(path=written(tmp_path, text), sequence_length=16))
    assert splits.streams and splits.io == IO(input_shape=(16,), classes=26, vocabulary=26, per_step=True)
    starts = {"train": (0, 800), "val": (800, 900), "test": (900, 1000)}
    for name, (start, stop) in starts.items():
        whole = text[start:stop]
        part = splits.part(name)  # pyright: ignore[reportArgumentType]
        assert part.x.dtype == torch.uint8 and part.y.dtype == torch.int64
        assert part.x.shape == part.y.shape == ((len(whole) - 1) // 16, 16)
        assert read_back(splits, name) == whole[: part.x.numel()]
        answers = "".join(splits.class_names[i] for i in part.y.flatten().tolist())
        assert answers == whole[1 : part.x.numel() + 1]
    assert "val: the last 3 of 100 tokens fill no window of 16 and are left out" in splits.notes
    x = splits.prepare(splits.train.x[:2])
    assert x.dtype == torch.int64 and torch.equal(x, splits.train.x[:2].long())


def test_a_text_that_fits_exactly_leaves_nothing_out() -> None:
    part, left = windows(torch.arange(33), 8, name="train", key="data")
    assert len(part) == 4 and left == 0
    _, left = windows(torch.arange(34), 8, name="train", key="data")
    assert left == 1
    with pytest.raises(DataError, match=r"data\.path: the val part has 8 tokens; a sequence needs 9: shorten"):
        windows(torch.arange(8), 8, name="val", key="data.path")


def test_cutting() -> None:
    text = "".join(map(str, range(10))) * 10
    assert split_parts(text, val_fraction=0.1, test_fraction=0.2) == (text[:70], text[70:80], text[80:])
    assert split_parts(text, val_fraction=0.1, test_fraction=0.2, val_last=True) == (text[:70], text[90:], text[70:90])
    with pytest.raises(DataError, match=r"data\.val_fraction=0\.5: and data\.test_fraction=0\.5 leave nothing"):
        split_parts(text, val_fraction=0.5, test_fraction=0.5)


def test_the_seed_changes_nothing_of_the_data(tmp_path: Path) -> None:
    data = text_file(path=written(tmp_path, PROSE), sequence_length=8)
    one, two = (TextTask(data=data).open(seed=seed, device=CPU) for seed in (0, 1))
    assert torch.equal(one.train.x, two.train.x) and one.provenance == two.provenance


# ------------------------------------------------------------------ tokens and vocabularies
def test_words_and_punctuation() -> None:
    assert split_text("Don't stop,\n  été – 3.5", "word") == [
        "Don't", "stop", ",", END_OF_LINE, "été", "–", "3", ".", "5",
    ]  # fmt: skip
    assert split_text("a b\n", "char") == ["a", " ", "b", "\n"]
    assert split_at_spaces(" the <unk> N\n\n of \n") == [
        "the",
        "<unk>",
        "N",
        END_OF_LINE,
        END_OF_LINE,
        "of",
        END_OF_LINE,
    ]
    assert join(["a", "b", END_OF_LINE, "c"], "word") == "a b\nc"


def test_the_vocabulary_comes_from_the_training_part_alone() -> None:
    known = vocabulary(list("abcab"), [list("xyz"), list("a")], level="char")
    assert known.tokens == ("a", "b", "c", UNKNOWN)
    ids, missing = known.encode(list("axbz"))
    assert ids.tolist() == [0, 3, 1, 3] and missing == 2
    # an answer that is never right is not among the answers
    assert vocabulary(list("ba"), [list("ab")], level="char").tokens == ("a", "b")


def test_rare_words_are_unknown() -> None:
    train = ["a", "a", "a", "b", "b", "c", "d"]
    assert vocabulary(train, [], level="word").tokens == ("a", "b", "c", "d")
    assert vocabulary(train, [], level="word", min_count=2).tokens == ("a", "b", UNKNOWN)
    assert vocabulary(train, [], level="word", max_words=3).tokens == ("a", "b", "c", UNKNOWN)
    # a text that says <unk> itself has one token for all that is unknown
    assert vocabulary([*train, UNKNOWN, UNKNOWN], [["z"]], level="word", max_words=2).tokens == ("a", UNKNOWN)
    marked = vocabulary([UNKNOWN, "a", "a"], [], level="word")
    assert marked.encode(["z", "a"]) == (pytest.approx(torch.tensor([1, 0], dtype=torch.uint8)), 1)


def test_unknown_tokens_are_counted_a_part(tmp_path: Path) -> None:
    text = "ab" * 400 + "xy" + "ab" * 49 + "xyz!" + "ab" * 48
    splits = opened(text_file(path=written(tmp_path, text), sequence_length=4))
    assert splits.class_names == ("a", "b", UNKNOWN)
    assert "val: 2 of 100 tokens are not in the vocabulary of the training part" in splits.notes
    assert "test: 4 of 100 tokens are not in the vocabulary of the training part" in splits.notes
    assert int((splits.val.x == 2).sum()) == 2
    assert int((splits.val.y == 2).sum()) == 1  # the first token of a part is no answer
    assert not any(n.startswith("train: ") and "vocabulary" in n for n in splits.notes)


@pytest.mark.parametrize(("distinct", "dtype"), [(256, torch.uint8), (300, torch.int16), (40_000, torch.int32)])
def test_storage_is_as_small_as_it_can_be(distinct: int, dtype: torch.dtype) -> None:
    tokens = [chr(i + 40) for i in range(distinct)]
    ids, missing = vocabulary(tokens, [], level="char").encode(tokens)
    assert ids.dtype == dtype and missing == 0
    assert ids.long().tolist() == sorted(range(distinct))


def test_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4 + "é".encode() * 300
    splits = opened(text_file(path=written(tmp_path, content), level="byte", sequence_length=8))
    assert splits.io.classes == 256
    assert splits.train.x.flatten().tolist() == list(content[: splits.train.x.numel()])
    assert join([chr(b) for b in "né".encode()], "byte") == "né"


# ------------------------------------------------------------------ files
def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + b"abc" * 100 + b"\xe9" + b"abc" * 100 + b"\xff\xfe" + "\ufffd".encode() + b"abc" * 50
    path = written(tmp_path, content)
    with pytest.raises(DataError, match=r"text\.txt: is not UTF-8: byte 0xe9 at offset 303; .*data\.errors=replace"):
        opened(text_file(path=path, sequence_length=8))
    splits = opened(text_file(path=path, sequence_length=8, errors="replace"))
    assert "text.txt: 3 places that are no UTF-8 are read as U+FFFD" in splits.notes
    assert "\ufeff" not in splits.class_names and "\ufffd" in splits.class_names
    plain = written(tmp_path, PROSE.encode("utf-8-sig"), "marked.txt")
    assert read_back(opened(text_file(path=plain, sequence_length=8)), "train").startswith("the cat")


@pytest.mark.parametrize(("content", "message"), [
    (b"", r"data\.path=.*text\.txt: is empty; give a text"),
    (b"ab" * 50, r"data\.path: the val part has 10 tokens; a sequence needs 65"),
    (b"a" * 5000, r"data\.path: text: the training part holds one distinct token"),
])  # fmt: skip
def test_texts_that_cannot_serve(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(text_file(path=written(tmp_path, content)))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path=.*nowhere\.txt: does not exist; give a file of text"):
        opened(text_file(path=tmp_path / "nowhere.txt"))
    with pytest.raises(DataError, match="is a folder, not a file"):
        opened(text_file(path=tmp_path))
    with pytest.raises(DataError, match=r"is no folder; put wiki\.train\.tokens, wiki\.valid\.tokens"):
        opened(wikitext2(path=tmp_path / "nowhere"))
    written(tmp_path, PROSE, "ptb.train.txt")
    with pytest.raises(DataError, match=r"lacks ptb\.valid\.txt, ptb\.test\.txt; put"):
        opened(ptb(path=tmp_path))


@pytest.mark.parametrize(("factory", "names"), [
    (wikitext2, ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens")),
    (ptb, ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")),
])  # fmt: skip
def test_three_files_of_words(tmp_path: Path, factory: Any, names: tuple[str, ...]) -> None:
    lines = (" the <unk> cat sat \n" * 30, " the dog sat \n" * 20, " a cat \n" * 20)
    for name, text in zip(names, lines, strict=True):
        written(tmp_path, text, name)
    splits = opened(factory(path=tmp_path, sequence_length=5))
    assert splits.class_names == (END_OF_LINE, UNKNOWN, "cat", "sat", "the")
    assert [splits.class_names[i] for i in splits.val.x[0]] == ["the", UNKNOWN, "sat", END_OF_LINE, "the"]
    assert "val: 20 of 80 tokens are not in the vocabulary of the training part" in splits.notes
    few = opened(factory(path=tmp_path, sequence_length=5, max_words=1))
    assert few.class_names == (END_OF_LINE, UNKNOWN)


def test_settings_that_mean_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, PROSE)
    with pytest.raises(ConfigError, match=r"min_count=2: is for words and byte pairs; set data\.level=word"):
        text_file(path=path, min_count=2)
    with pytest.raises(ConfigError, match="max_words=5: is for words"):
        python_topics(max_words=5)
    with pytest.raises(ConfigError, match="sequence_length=0: must be 1 or more"):
        text_file(path=path, sequence_length=0)
    with pytest.raises(ConfigError, match="data=str: is not a text"):
        TextTask(data="shakespeare")  # pyright: ignore[reportArgumentType]


# ------------------------------------------------------------------ real texts
def test_the_help_topics_of_python() -> None:
    data = python_topics()
    splits = opened(data)
    train, val, test = data.load().parts
    from pydoc_data.topics import topics

    whole = "".join(topics[name] for name in sorted(topics))
    assert train + test + val == whole and len(whole) > 400_000
    assert abs(len(val) - len(whole) / 10) <= 1 and abs(len(test) - len(whole) / 10) <= 1
    assert read_back(splits, "val") == val[: splits.val.x.numel()]
    assert splits.io.classes == len(set(train)) + (UNKNOWN in splits.class_names)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the reference was counted on Python 3.11's topics")
@pytest.mark.parametrize(("order", "bits"), [(3, 2.47), (5, 1.90)])
def test_what_counting_reaches_on_the_help_topics(order: int, bits: float) -> None:
    """The bar for a network: a Witten-Bell n-gram counted on all that stands before the last tenth."""
    train, val, test = python_topics().load().parts
    assert bits_per_character(train + test, val, order) == pytest.approx(bits, abs=0.02)


def test_the_oracle_by_hand() -> None:
    # unigram of "aab": p(a) = (2 + 2/3)/(3 + 2), p(b) = (1 + 2/3)/5, p(other) = (2/3)/5
    p = [(2 + 2 / 3) / 5, (1 + 2 / 3) / 5, (2 / 3) / 5]
    expected = -sum(math.log2(q) for q in p) / 3
    assert bits_per_character("aab", "abz", 1) == pytest.approx(expected)
    # bigram after "b": nothing was seen behind it, so that the unigram speaks
    assert bits_per_character("aab", "a", 2) == pytest.approx(-math.log2(p[0]))


def shakespeare_root() -> Path:
    root = os.environ.get("INITLAB_DATA")
    if not root or not (Path(root) / "text" / "tinyshakespeare.txt").is_file():
        pytest.skip("needs INITLAB_DATA with text/tinyshakespeare.txt in it")
    return Path(root)


def test_tiny_shakespeare() -> None:
    root = shakespeare_root()
    splits = opened(tiny_shakespeare(root=root))
    assert splits.io.classes == 65 and UNKNOWN not in splits.class_names
    assert splits.baseline.untrained == pytest.approx(4.17, abs=0.01)
    assert read_back(splits, "train").startswith("First Citizen:\nBefore we proceed any further, hear me speak.")
    tokens = [splits.part(n).x.numel() for n in PART_NAMES]
    assert sum(tokens) == pytest.approx(1_115_394, abs=3 * 64 + 3)
    assert tokens[1] / sum(tokens) == pytest.approx(0.05, abs=0.001)


def test_a_damaged_copy_of_shakespeare(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    written(tmp_path / "text", "To be, or not", "tinyshakespeare.txt")
    with pytest.raises(DataError, match=r"tinyshakespeare\.txt: is damaged or another file: its md5 is"):
        opened(tiny_shakespeare(root=tmp_path))


# ------------------------------------------------------------------ loss, scores, guessing
def test_the_task_keeps_the_protocol(tmp_path: Path) -> None:
    task = TextTask(data=text_file(path=written(tmp_path, PROSE), sequence_length=8))
    assert isinstance(task, Task)
    assert (task.name, task.monitor, task.episodes) == ("text", "val/loss", None)
    logits, y = torch.randn(3, 8, 5), torch.randint(5, (3, 8))
    nats = [-float(torch.log_softmax(logits[b, t], 0)[y[b, t]]) for b in range(3) for t in range(8)]
    assert float(task.loss(logits, y)) == pytest.approx(sum(nats) / 24, rel=1e-5)
    hits = sum(int(logits[b, t].argmax()) == int(y[b, t]) for b in range(3) for t in range(8))
    assert int(task.correct(logits, y)) == hits


def test_scores_of_characters_and_words(tmp_path: Path) -> None:
    path = written(tmp_path, PROSE)
    char = TextTask(data=text_file(path=path, sequence_length=8)).scores(math.log(4), 0.25)
    assert char == {"bits_per_char": pytest.approx(2.0), "perplexity": pytest.approx(4.0), "accuracy": 0.25}
    line = PROSE[:44]
    data = text_file(path=path, sequence_length=8, level="word", val_fraction=0.25, test_fraction=0.25)
    assert data.load().parts[0] == line * 20
    tokens = len(["the", "cat", "sat", "on", "the", "mat", ",", "and", "the", "dog", "didn't", ".", "<eos>"])
    word = TextTask(data=data).scores(math.log(4), 0.25)
    assert word["bits_per_char"] == pytest.approx(2 * tokens / len(line))
    assert word["perplexity"] == pytest.approx(4.0)
    assert math.isfinite(TextTask(data=data).scores(1e6, 0.0)["perplexity"])
    assert math.isnan(TextTask(data=data).scores(math.nan, 0.0)["perplexity"])


def test_guessing(tmp_path: Path) -> None:
    splits = opened(text_file(path=written(tmp_path, "aab" * 1000), sequence_length=10, val_fraction=0.2))
    share = torch.bincount(splits.val.y.flatten()).double() / splits.val.y.numel()
    assert splits.baseline.constant == pytest.approx(-sum(float(p) * math.log(float(p)) for p in share))
    assert splits.baseline.untrained == pytest.approx(math.log(2))
    assert splits.baseline.accuracy is None


# ------------------------------------------------------------------ samples
class Successor(nn.Module):
    """Certain that token t is followed by t + 1; reads windows, carries nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return 1e4 * nn.functional.one_hot((x + 1) % 5, 5).float()


class Diverged(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.full((*x.shape, 5), math.nan)


def test_a_window_moves_on() -> None:
    assert sample(Successor(), torch.tensor([3, 4]), length=7, temperature=1.0, seed=0) == [0, 1, 2, 3, 4, 0, 1]
    assert sample(Diverged(), torch.tensor([3, 4]), length=7, temperature=1.0, seed=0) == []


def test_draws_follow_the_temperature() -> None:
    """Two equal logits and one lower by ln 9: shares 0.475, 0.475, 0.05 at temperature 1, and 0.9 by ln 9/2 at 2."""

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([0.0, 0.0, -math.log(9)]).expand(*x.shape, 3)

    for temperature in (1.0, 2.0):
        low = 9 ** (-1 / temperature)
        drawn = sample(Fixed(), torch.tensor([0]), length=4000, temperature=temperature, seed=3)
        assert drawn.count(2) / 4000 == pytest.approx(low / (2 + low), abs=0.02)


def test_a_carried_state_draws_what_the_whole_text_would(tmp_path: Path) -> None:
    """Step by step with the state, against reading prompt and all draws anew for each token."""
    data = text_file(path=written(tmp_path, PROSE), sequence_length=12)
    splits = opened(data)
    torch.manual_seed(0)
    model = lstm(hidden_size=16)(splits.io, activations.parse_activation("tanh")).eval()
    prompt = splits.val.x[0].long()
    found = sample(model, prompt, length=20, temperature=0.7, seed=5)
    generator = seeds.generator(5, "probe", "sample")
    ids = prompt.tolist()
    for token in found:
        with torch.no_grad():
            share = torch.softmax(model(torch.tensor([ids]))[0, -1].double() / 0.7, -1)
        assert int(torch.multinomial(share, 1, generator=generator)) == token
        ids.append(token)


def test_the_sample_at_the_end_of_a_run(tmp_path: Path) -> None:
    data = text_file(path=written(tmp_path, PROSE), sequence_length=12)
    task = TextTask(data=data, sample_length=30)
    splits = task.open(seed=0, device=CPU)
    torch.manual_seed(0)
    model: Any = lstm(hidden_size=8)(splits.io, activations.parse_activation("tanh")).eval()
    model.carry, model.state = True, (torch.ones(1, 2, 8), torch.ones(1, 2, 8))
    before = model.state
    state = torch.random.get_rng_state()
    texts = [task.closing(model, splits, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.carry is True and model.state is before and not model.training
    assert list(texts[0]) == ["sample.txt"]
    assert texts[0] == texts[1] != texts[2]
    prompt = read_back(splits, "val")[:12]
    assert texts[0]["sample.txt"].startswith(f"prompt, the first 12 tokens of the validation part:\n\n{prompt}\n\n")
    assert len(texts[0]["sample.txt"].rpartition(":\n\n")[2].removesuffix("\n")) == 30
    assert TextTask(data=data, sample_length=0).closing(model, splits, seed=0) == {}
    assert "not finite" in task.closing(Diverged(), splits, seed=0)["sample.txt"]


def test_the_listing(tmp_path: Path) -> None:
    found = {e.name: e for e in entries(tmp_path)}
    assert list(found) == ["python_topics", "tiny_shakespeare", "wikitext2", "ptb", "hf_text", "text_file"]
    assert found["python_topics"].present and not found["tiny_shakespeare"].present
    splits = opened(python_topics())
    total = sum(len(splits.part(n)) for n in PART_NAMES)
    assert found["python_topics"].examples == pytest.approx(total, rel=0.05)
