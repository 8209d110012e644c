"""`python -m benchmarks [NAME] [REPETITIONS]`: runs a benchmark and keeps its figures as JSON and Markdown."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

#: name → what it measures; the module has the same name
TIMINGS = {
    "default_run": "a default run and inspect, with all processes, beside a bare script and Lightning",
    "training": "the training loop with probes and tracking beside a bare loop: CNN, perceptron, LSTM",
    "step": "one update of a transformer with probes and tracking beside that of a bare loop",
    "cohort": "training of 24 perceptrons as one stacked model beside the bare loop, by batch size",
    "growth": "large stores, long runs and deep networks: cost, sizes, points",
    "gpu": "the training loop on a GPU beside a bare loop: probes, bf16, compilation",
    "study": "240 tiny runs as typed beside a bare sequential loop",
}
OUT = Path("benchmarks") / "results"


def main() -> int:
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print("python -m benchmarks NAME [REPETITIONS]   results are kept in benchmarks/results\n")
        print("\n".join(f"  {name:<12} {what}" for name, what in TIMINGS.items()))
        print("\npython -m benchmarks reliability [--quick] [--only ROW]   faults of every kind, and what they lost")
        print("\nFurther programs of this folder, with their own arguments, are described in benchmarks/README.md.")
        return 0
    name, *rest = words
    if name == "reliability":
        return int(import_module("benchmarks.reliability").main(rest))
    if name not in TIMINGS or not all(w.isdigit() for w in rest) or len(rest) > 1:
        print(
            f"benchmarks: {' '.join(words)}: NAME is one of {', '.join(TIMINGS)}; REPETITIONS is a number",
            file=sys.stderr,
        )
        return 2
    for result in import_module(f"benchmarks.{name}").main(rest):
        result.save(OUT)
        print(result.markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
