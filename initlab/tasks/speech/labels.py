"""Assigns recordings of a corpus to classes and to the train, val and test parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch

from initlab.core.text import storable
from initlab.errors import DataError
from initlab.spec import Part, PartName, Provenance
from initlab.tasks.bad_files import Bad, BadFiles, describe_bad_files, note_bad_files, refuse_bad_files
from initlab.tasks.raw import RawData, digest
from initlab.tasks.speech.audio import RECORDINGS, explain_format
from initlab.tasks.speech.corpus import Corpus, pad
from initlab.tasks.speech.features import Features

#: name of a recording → its part and class; None where it is of neither
Placing = Callable[[str], tuple[PartName, str] | None]


def assemble_parts(
    corpus: Corpus,
    features: Features,
    placing: Placing,
    *,
    class_names: Sequence[str],
    provenance: tuple[str, str, str],
    key: str,
    bad_files: BadFiles,
    notes: Sequence[str] = (),
) -> RawData:
    """Builds tensors of equal length from the recordings, in their parts.

    Args:
        corpus: as read.
        features: as it was read with.
        placing: where each belongs.
        class_names: in the order of the labels.
        provenance: name, source and licence.
        key: of the configuration, for errors about the content.
        bad_files: ``skip`` counts what could not be read in a note, ``error`` refuses it.
        notes: to put before those on files and lengths.

    Returns:
        x (N, F, T) of all parts, cut or padded to `features.seconds` or to the longest; val and test are None where no
        recording belongs there.

    Raises:
        DataError: a class without a training example, a part whose files are all bad, or a bad file where `bad_files`
            is ``error``.
    """
    where = provenance[1]
    placed = [placing(name) for name in corpus.names]
    spots = [(name, why, placing(name)) for name, why in corpus.bad]
    bad = [(name, explain_format(name, why)) for name, why, spot in spots if spot is not None]
    if bad_files == "error":
        refuse_bad_files(bad, where, key=key)
    held = Counter(spot[1] for spot in placed if spot is not None and spot[0] == "train")
    lacking = [name for name in class_names if not held[name]]
    for name in lacking[:1]:
        mine = [(file, explain_format(file, why)) for file, why, spot in spots if spot is not None and spot[1] == name]
        because = f": {describe_bad_files(mine)}" if mine else ""
        # of all such classes: they are converted in one go
        theirs = [file for file, _, spot in spots if spot is not None and spot[1] in lacking]
        advice = RECORDINGS.how_to_convert(theirs, "wav or flac, for example with ffmpeg -i FILE.m4a FILE.wav")
        raise DataError(
            key, where, f"holds no usable training recording of class {name!r}{because}{advice and f'; {advice}'}"
        )
    for which in ("val", "test"):
        lost = [(file, explain_format(file, why)) for file, why, spot in spots if spot is not None and spot[0] == which]
        if lost and not any(spot is not None and spot[0] == which for spot in placed):
            raise DataError(key, where, f"holds no usable recording of the {which} part: {describe_bad_files(lost)}")
    labels = {name: label for label, name in enumerate(class_names)}
    longest = int(corpus.lengths.max()) if features.samples is None else features.steps(features.samples)
    blank = 0.0 if features.kind == "waveform" else float("nan")
    sequences = corpus.steps.split(corpus.lengths.tolist())

    def part(which: PartName) -> Part | None:
        members = [(i, spot[1]) for i, spot in enumerate(placed) if spot is not None and spot[0] == which]
        if not members:
            return None
        steps = torch.cat([sequences[i] for i, _ in members])
        x = pad(steps, corpus.lengths[[i for i, _ in members]], longest, blank=blank)
        return Part(x=x, y=torch.tensor([labels[name] for _, name in members], dtype=torch.int64))

    pool, val, test = part("train"), part("val"), part("test")
    assert pool is not None  # every class holds a training example
    name, source, licence = provenance
    return RawData(
        pool=pool,
        val=val,
        test=test,
        class_names=tuple(map(storable, class_names)),
        provenance=Provenance(
            name=name, source=source, digest=digest(pool, val, test), licence=licence, note=_describe_features(features)
        ),
        key=key,
        notes=(*notes, *_notes(corpus, features, bad)),
    )


def _describe_features(features: Features) -> str:
    if features.kind == "waveform":
        return f"samples at {features.sample_rate} Hz"
    bands = f"{features.n_mels} mel filters, {features.window_ms:g} ms every {features.hop_ms:g} ms"
    what = "log-mel spectrogram" if features.kind == "log_mel" else f"{features.n_mfcc} MFCCs"
    return f"{what} at {features.sample_rate} Hz: {bands}"


def _notes(corpus: Corpus, features: Features, bad: Sequence[Bad]) -> list[str]:
    total = len(corpus.names) + len(corpus.bad)
    notes = [*note_bad_files(bad, total, "recordings")]
    if corpus.cut:
        notes.append(f"{corpus.cut} of {total} recordings are longer than {features.seconds:g} s and were cut")
    return notes
