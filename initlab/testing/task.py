"""Contract tests of a task with its data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from initlab.errors import ConfigError
from initlab.spec import Part, Splits, Task

_CPU = torch.device("cpu")
_NAMES = ("train", "val", "test")


class TaskCases:
    """Tests that a task keeps the contract of `initlab.spec.Task`.

    Attributes:
        factory: called without arguments, returns the `Task`; its data set should be small.
        classification: whether answers are one class an example, with ln C as the loss of an untrained network.
        stratified: whether every part holds the classes in the same proportions.
        resplits: whether another seed gives another training part; false where all parts are official.
        distinct: whether no two examples are equal, so that a shared one would be a leak between parts.
        bad_inputs: functions that make (and open) the task with a bad input, each of which must raise a ConfigError; a
            DataError is one.

    Example:
        >>> from initlab.tasks import ImageTask, digits
        >>> from initlab.testing import TaskCases
        >>> class TestDigits(TaskCases):
        ...     factory = staticmethod(lambda: ImageTask(data=digits()))
        ...     bad_inputs = (lambda: digits(val_fraction=0.0),)
        >>> TestDigits().test_no_example_is_in_two_parts()
    """

    factory: Callable[[], Task]
    classification: bool = True
    stratified: bool = True
    resplits: bool = True
    distinct: bool = True
    bad_inputs: Sequence[Callable[[], object]] = ()

    # -------------------------------------------------------------- what the tests are made of
    def opened(self, seed: int = 0) -> Splits:
        """The data set under a seed, on the CPU."""
        return self.factory().open(seed=seed, device=_CPU)

    # -------------------------------------------------------------- the parts
    def test_it_is_a_task(self) -> None:
        """It has what the protocol asks for, and a name that a metric may have."""
        task = self.factory()
        assert isinstance(task, Task)
        assert task.name and task.name.replace("_", "").isalnum()
        assert task.monitor in ("val/accuracy", "val/loss")
        assert task.episodes is None or task.episodes > 0

    def test_parts_have_the_shape_that_they_say(self) -> None:
        """Inputs of `io.input_shape`, one target an example (or a step), none of the parts empty."""
        splits = self.opened()
        for name in _NAMES:
            part = splits.part(name)
            assert len(part) == len(part.x) > 0, f"{name} is empty"
            assert tuple(part.x.shape[1:]) == splits.io.input_shape, name
            prepared = splits.prepare(part.x[:64])
            if splits.io.vocabulary is not None:
                assert prepared.dtype == torch.int64 and int(prepared.min()) >= 0, name
                assert int(prepared.max()) < splits.io.vocabulary, name
            else:
                assert prepared.dtype == torch.float32, name
            if part.y.dtype == torch.int64:
                assert int(part.y.min()) >= 0 and int(part.y.max()) < splits.io.classes, name
                assert len(splits.class_names) == splits.io.classes
            else:
                assert part.y.shape == (len(part), splits.io.classes), name
        assert 0 < len(splits.provenance.digest) <= 36 and splits.provenance.name and splits.provenance.source

    def test_every_number_is_finite(self) -> None:
        """As stored, as prepared, and as a target."""
        splits = self.opened()
        for name in _NAMES:
            part = splits.part(name)
            for tensor in (part.x, part.y, splits.prepare(part.x)):
                assert bool(torch.isfinite(tensor).all()), name

    def test_no_example_is_in_two_parts(self) -> None:
        """Compared bit for bit."""
        if not self.distinct:
            pytest.skip("examples may be equal by chance")
        splits = self.opened()
        held = {name: fingerprints(splits.part(name)) for name in _NAMES}
        for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
            assert not held[a] & held[b], f"{len(held[a] & held[b])} examples are in {a} and in {b}"

    def test_every_part_holds_the_classes_in_the_same_proportions(self) -> None:
        """Within two examples a class, and each class is in every part."""
        if not (self.classification and self.stratified):
            pytest.skip("is not stratified")
        splits = self.opened()
        counts = {n: torch.bincount(splits.part(n).y, minlength=splits.io.classes).double() for n in _NAMES}
        whole = torch.stack(list(counts.values())).sum(0)
        for name, count in counts.items():
            assert bool((count > 0).all()), f"a class is missing in {name}"
            expected = whole * count.sum() / whole.sum()
            assert float((count - expected).abs().max()) <= 2, (name, count.tolist(), expected.tolist())

    # -------------------------------------------------------------- the seed
    def test_the_same_seed_gives_the_same_split(self) -> None:
        """Bit for bit, and the test part is the same under every seed."""
        first, again, other = self.opened(4), self.opened(4), self.opened(5)
        for name in _NAMES:
            assert same(first.part(name), again.part(name)), name
        assert same(first.test, other.test), "runs of two seeds would be judged on different examples"
        assert first.provenance == again.provenance and first.baseline == again.baseline
        assert not self.resplits or not same(first.train, other.train), "another seed gives the same training part"

    def test_opening_draws_no_number_of_torch(self) -> None:
        """Opening, preparing and augmenting leave torch's global generator alone."""
        torch.manual_seed(0)
        state = torch.get_rng_state()
        splits = self.opened()
        batch = splits.prepare(splits.train.x[:8])
        if splits.augment is not None:
            one, two = (splits.augment(batch.clone(), torch.Generator().manual_seed(1)) for _ in range(2))
            assert one.shape == batch.shape and torch.equal(one, two)
        assert torch.equal(torch.get_rng_state(), state)

    def test_preparing_leaves_the_stored_examples_alone(self) -> None:
        """`prepare` writes to no stored tensor, and gives the same each time."""
        splits = self.opened()
        before = splits.train.x[:32].clone()
        assert torch.equal(splits.prepare(splits.train.x[:32]), splits.prepare(splits.train.x[:32]))
        assert torch.equal(splits.train.x[:32], before)

    # -------------------------------------------------------------- loss and baseline
    def test_the_loss_is_the_mean_over_examples(self) -> None:
        """A scalar with a gradient; two equal halves of a batch cost what one costs; scores are finite."""
        task, splits = self.factory(), self.opened()
        y = splits.val.y[:8]
        output = self._outputs(splits, y).requires_grad_(True)
        loss = task.loss(output, y)
        assert loss.shape == () and bool(torch.isfinite(loss))
        loss.backward()
        assert output.grad is not None and bool(torch.isfinite(output.grad).all())
        doubled = task.loss(torch.cat([output, output]).detach(), torch.cat([y, y]))
        torch.testing.assert_close(doubled, loss.detach())
        correct = task.correct(output.detach(), y)
        assert correct.shape == () and 0 <= int(correct) <= y.numel()
        scores = task.scores(float(loss.detach()), 0.5)
        assert all(math.isfinite(v) for v in scores.values())

    def test_right_answers_are_counted(self) -> None:
        """Of a classification: logits that are large at the target are right, and at another class wrong."""
        if not self.classification:
            pytest.skip("answers are not one class an example")
        task, splits = self.factory(), self.opened()
        y = splits.test.y
        logits = torch.nn.functional.one_hot(y, splits.io.classes).float()
        assert int(task.correct(logits, y)) == len(y) and int(task.correct(-logits, y)) == 0

    def test_the_baseline_is_right(self) -> None:
        """Of a classification: ln C, then entropy and commonest class of the validation part; else a lower bound."""
        task, splits = self.factory(), self.opened()
        baseline, y = splits.baseline, splits.val.y
        assert math.isfinite(baseline.untrained) and math.isfinite(baseline.constant) and baseline.words
        assert baseline.constant <= baseline.untrained + 1e-9
        if not self.classification:
            return
        classes = splits.io.classes
        assert baseline.untrained == pytest.approx(math.log(classes))
        assert float(task.loss(torch.zeros(len(y), classes), y)) == pytest.approx(baseline.untrained, rel=1e-5)
        share = torch.bincount(y, minlength=classes).double() / len(y)
        constant = task.loss(share.log().clamp_min(-60).float().expand(len(y), classes), y)
        assert float(constant) == pytest.approx(baseline.constant, rel=1e-4, abs=1e-6)
        assert baseline.accuracy == pytest.approx(float(share.max()))

    def test_bad_inputs_are_refused_by_name(self) -> None:
        """Each of `bad_inputs` raises a ConfigError that names a key and says what is accepted."""
        for i, make in enumerate(self.bad_inputs):
            with pytest.raises(ConfigError) as refusal:
                make()
            assert refusal.value.key and len(refusal.value.expected) > 10, f"bad_inputs[{i}]: {refusal.value}"

    def _outputs(self, splits: Splits, y: Tensor) -> Tensor:
        """Random outputs of a network for the targets `y`."""
        generator = torch.Generator().manual_seed(0)
        shape = (len(y), y.shape[1], splits.io.classes) if splits.io.per_step else (len(y), splits.io.classes)
        return torch.randn(shape, generator=generator)


# ------------------------------------------------------------------ pieces
def fingerprints(part: Part) -> set[bytes]:
    """The bytes of every example."""
    return {x.numpy().tobytes() for x in part.x}


def same(a: Part, b: Part) -> bool:
    """Whether two parts hold the same examples in the same order."""
    return torch.equal(a.x, b.x) and torch.equal(a.y, b.y)
