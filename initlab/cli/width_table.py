"""The commands that compare widths and depths, and the options that several commands share."""

from __future__ import annotations

from initlab.cli.arguments import Command, Option

JSON = Option(name="json", help="the answer as JSON on stdout, and nothing else (--json)", kind="flag", default="false")

OUT = Option(name="out", help="folder that the answer is also written to, as a page")

_SIZES = (
    Option(name="widths", help="widths that are compared", default="64,128,256,512"),
    Option(name="depths", help="depths that are compared, instead of widths, such as 2,4,8,16"),
    Option(name="key", help="key of the width or depth, where the model gives it no usual name: key=model.d_model"),
)

WIDTH_COMMANDS: tuple[Command, ...] = (
    Command(
        name="coordcheck",
        help="check whether a network moves alike at every width or depth",
        group="look",
        target="initlab.cli.coordcheck:coordcheck_command",
        options=(
            *_SIZES,
            Option(name="steps", help="updates on the one batch", default="4"),
            Option(name="seeds", help="draws, over which the intervals are", default="3"),
            Option(name="batch", help="examples of the batch; by default 1,024 answers"),
            OUT,
            JSON,
        ),
        example="python -m initlab coordcheck task=text model=gpt init=mup model.attention_scale=mup"
        " model.output_scale=mup",
        details="Without optimizer= it trains with Adam at 2^-8. Slopes up to 0.15 in size pass, from 0.3 they fail.\n"
        "Exit codes: 0 no activation fails, 1 one does, 2 bad input.",
    ),
    Command(
        name="transfer",
        help="measure whether the best learning rate moves with width or depth",
        group="look",
        target="initlab.cli.transfer:transfer_command",
        options=(
            *_SIZES,
            Option(name="lrs", help="learning rates: 2^-10..2^-5 or a list; by default 7 around optimizer.lr"),
            Option(name="steps", help="updates of each run", default="500"),
            Option(name="seeds", help="draws, over which the intervals are", default="3"),
            OUT,
            JSON,
        ),
        example="python -m initlab transfer model=mlp init=mup widths=32,64,128,256 lrs=2^-10..2^-4",
        details="Runs are kept in .initlab/transfer.jsonl: a command that was stopped, or asks for more, trains what is"
        " missing.",
    ),
)
