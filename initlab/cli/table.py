"""The table of commands: name, one line of help, group, options and module of each.

Help, completion and the documentation are made from it.
"""

from __future__ import annotations

from initlab.cli.arguments import Command, Option
from initlab.cli.width_table import JSON, OUT, WIDTH_COMMANDS

_STUDY = Option(name="study", help="name of the study", former=("study.name",))
_STORAGE = Option(
    name="storage",
    help="URL of Optuna's database, where the study was given one",
    former=("study.storage",),
    key="study.storage",
)

TABLE: tuple[Command, ...] = (
    Command(
        name="train",
        help="train one run (the default command); with -m a study",
        group="run",
        target="initlab.cli.launch:launch",
        composes=False,
        example="python -m initlab task=image init=he activation=relu",
        details="With -m, keys take several values and every combination is trained: -m init=he,xavier replicas=3.\n"
        "resume=RUN_ID continues a run that was stopped or killed.",
    ),
    Command(
        name="inspect",
        help="predicted and measured signal by layer at initialisation, without training",
        group="look",
        target="initlab.cli.inspect:inspect_command",
        section="inspect",
        example="python -m initlab inspect model=mlp model.depth=50 init=he activation=tanh",
    ),
    Command(
        name="advise",
        help="recommend an initialisation and an activation, before training",
        group="look",
        target="initlab.cli.advise:advise_command",
        options=(OUT, JSON),
        example="python -m initlab advise task=image model=mlp model.depth=30",
    ),
    *WIDTH_COMMANDS,
    Command(
        name="list",
        help="list runs and studies, the newest first",
        group="look",
        target="initlab.cli.list:list_command",
        accepts=("tracking", "hydra"),
        options=(
            Option(name="study", help="list the runs of this study instead (a name, the beginning of one, or last)"),
            Option(name="rows", help="lines at most", default="20"),
            JSON,
        ),
        example="python -m initlab list",
        details="Runs of a study are listed with study=NAME. The ids that are shown, their beginnings and last are"
        " accepted wherever a run or a study is named: run=last, resume=ID, study=last.",
    ),
    Command(
        name="explain",
        help="explain the result of a run or a study, and what to try next",
        group="look",
        target="initlab.cli.explain:explain_command",
        accepts=("tracking", "hydra"),
        options=(
            Option(name="run", help="id of a run, the beginning of one, or last"),
            Option(name="study", help="name of a study, the beginning of one, or last", former=("study.name",)),
            Option(name="try", help="also train what the first remedies say (--try)", kind="flag", default="false"),
            OUT,
            JSON,
        ),
        example="python -m initlab explain run=last --try",
    ),
    Command(
        name="report",
        help="open the page of a run, a study or an inspection: verdict, figures, tables",
        group="look",
        target="initlab.cli.report:report_command",
        accepts=("tracking", "hydra"),
        options=(
            Option(name="run", help="id of a run, the beginning of one, or last", default="last"),
            Option(name="study", help="name of a study, the beginning of one, or last, instead of a run"),
            Option(name="inspect", help="id of an inspection, the beginning of one, or last, instead of a run"),
            Option(name="out", help="folder that the page is written to", default=".initlab/reports"),
            Option(name="open", help="whether the browser is opened, where there is a terminal", default="true"),
        ),
        example="python -m initlab report run=last",
        details="The page is one file without scripts, which can be sent to others. It is drawn now where the run has\n"
        "none, as the runs of a study.",
    ),
    Command(
        name="compare",
        help="compare the arms of a study, with intervals and tests",
        group="study",
        target="initlab.cli.compare:compare_command",
        section="compare",
        options=(
            Option(name="study", key="compare.study", kind="names", former=("study.name", "compare.study")),
            Option(
                name="experiment",
                key="compare.experiments",
                kind="names",
                former=("experiments", "tracking.experiment", "compare.experiments"),
            ),
            Option(name="baseline", key="compare.baseline", kind="names", former=("compare.baseline",)),
            Option(name="filter", key="compare.filter", kind="text", former=("compare.filter",)),
            JSON,
        ),
        accepts=("tracking", "hydra"),
        example="python -m initlab compare study=NAME baseline=init=xavier out=comparison",
    ),
    Command(
        name="papers",
        help="test claims of papers by small studies: which of them reproduce",
        group="study",
        target="initlab.cli.papers:papers_command",
        accepts=("tracking", "hydra", "device", "threads"),
        words=(99, "NAME..."),
        options=(
            Option(name="quick", help="smaller studies, fewer seeds (--quick)", kind="flag", default="false"),
            Option(name="list", help="list the claims (--list)", kind="flag", default="false"),
            Option(name="seeds", help="of each arm; by default those of the claim, 5 or more"),
            Option(name="seed", help="the first one; claims were set up on 0 to 9", default="100"),
            Option(name="jobs", help="studies that train at the same time; by default one a core, 8 at most"),
            OUT,
            JSON,
        ),
        example="python -m initlab papers he_2015",
        details="A claim is an experiment with a node `claim`: conf/experiment/papers/NAME.yaml, your own by"
        " --config-dir=DIR.\nWhat was trained is kept: a command that was stopped goes on where it was.",
    ),
    Command(
        name="worker",
        help="one more worker for a study that was started here",
        group="study",
        target="initlab.cli.worker:worker_command",
        options=(
            Option(
                name="study",
                key="study.name",
                former=("study.name",),
                help="name of the study; any: every study of the directory that is open, until it is stopped",
            ),
            _STORAGE,
        ),
        accepts=("study", "tracking", "hydra"),
        example="python -m initlab worker study=NAME",
    ),
    Command(
        name="schedule",
        help="run studies at given times, compared with the ones before",
        group="study",
        target="initlab.cli.schedule:schedule_command",
        composes=False,
        accepts=(),
        words=(2, "list | next [N] | run NAME | history [NAME]"),
        options=(
            Option(
                name="folder",
                help="of YAML files, a schedule each",
                default="conf/schedule",
                former=("schedule.folder",),
            ),
            Option(
                name="storage",
                help="database of firings; postgresql://... for several machines (or INITLAB_SCHEDULE_STORAGE)",
                default=".initlab/schedule.db",
                former=("schedule.storage",),
            ),
            Option(name="rows", help="lines of the history", default="20", former=("schedule.rows",)),
        ),
        example="python -m initlab schedule list",
        details="Without a word it runs the schedules until SIGTERM or Ctrl-C; studies that run then are resumed at the"
        " next start.\n"
        "list: the schedules, when each is due, and how its last firing ended. next [N]: the next N times, 10 by"
        " default. run NAME: a firing now, and wait for its end. history [NAME]: past firings and their results.\n"
        "Exit codes: 0 fine, 1 the firing of `run` failed, 2 bad input in any schedule, before anything starts.",
    ),
    Command(
        name="ui",
        help="open the MLflow UI on the store of this directory",
        group="team",
        target="initlab.cli.store:ui_command",
        options=(
            Option(
                name="port",
                key="tracking.ui_port",
                help="on this machine alone",
                default="5000",
                former=("tracking.ui_port",),
            ),
            Option(name="run", help="print the address of this run: an id, the beginning of one, or last"),
        ),
        accepts=("tracking", "hydra"),
        example="python -m initlab ui port=5001",
    ),
    Command(
        name="server",
        help="an MLflow server with accounts, on SQLite or PostgreSQL",
        group="team",
        target="initlab.cli.server:server_command",
        composes=False,
        accepts=(),
        options=(
            Option(name="port", help="of MLflow, on loopback", default="5000"),
            Option(name="home", help="folder of records, artifacts, accounts and secrets", default=".initlab/server"),
            Option(name="postgres", help="an embedded PostgreSQL instead of SQLite", default="false"),
            Option(name="postgres_port", help="where that listens, on loopback", default="5433"),
            Option(name="workers", help="processes that answer requests", default="2"),
            Option(name="allowed_hosts", help="names, beside localhost, by which clients reach it (NAME,NAME)"),
        ),
        example="python -m initlab server port=5000 postgres=true",
    ),
    Command(
        name="register",
        help="put the network of a run, or of a study's best arm, into MLflow's model registry",
        group="team",
        target="initlab.cli.register:register_command",
        accepts=("tracking", "config", "hydra"),
        options=(
            Option(name="study", help="its best arm, by its median seed: a name, the beginning of one, or last"),
            Option(name="run", help="id of a run, the beginning of one, or last"),
            Option(name="as", help="name in the registry", default="initlab-DATA-MODEL"),
            Option(name="alias", help="of the new version, such as champion; it moves there from an older one"),
        ),
        example="python -m initlab register study=NAME alias=champion",
        details="The version carries its evidence: score with interval, arm, verdict, prediction, study and run.",
    ),
    Command(
        name="export",
        help="write a study's runs into a folder, for another store",
        group="team",
        target="initlab.cli.exchange:export_command",
        accepts=("tracking", "hydra"),
        options=(_STUDY, Option(name="to", help="folder to write"), _STORAGE),
        example="python -m initlab export study=NAME to=FOLDER",
    ),
    Command(
        name="import",
        help="bring exported runs into the store",
        group="team",
        target="initlab.cli.exchange:import_command",
        accepts=("tracking", "hydra"),
        options=(
            Option(name="from", help="folder that was exported"),
            Option(name="as", help="name of the study in this store", default="its own"),
            _STORAGE,
        ),
        example="python -m initlab import from=FOLDER tracking.uri=http://mlflow:5000",
    ),
    Command(
        name="data",
        help="list the data sets, or fetch and verify one",
        group="upkeep",
        target="initlab.cli.data:data_command",
        composes=False,
        words=(1, "NAME"),
        example="python -m initlab data mnist",
    ),
    Command(
        name="sync",
        help="send records that never reached the tracking server, end killed runs",
        group="upkeep",
        target="initlab.cli.store:sync_command",
        accepts=("tracking", "hydra"),
        example="python -m initlab sync",
    ),
    Command(
        name="doctor",
        help="check this installation: libraries, device, disk, data, store",
        group="upkeep",
        target="initlab.cli.doctor:doctor_command",
        options=(JSON,),
        example="python -m initlab doctor",
    ),
    Command(
        name="gc",
        help="list what may be deleted to free disk space; apply=true deletes it",
        group="upkeep",
        target="initlab.cli.gc:gc_command",
        section="gc",
        accepts=("tracking", "hydra"),
        example="python -m initlab gc apply=true",
    ),
    Command(
        name="help",
        help="help on a command, a configuration group or one of its files",
        group="upkeep",
        target="initlab.cli.help:print_help",
        composes=False,
        words=(1, "COMMAND | GROUP | GROUP=NAME"),
        example="python -m initlab help init=lsuv",
    ),
)
COMMANDS = {c.name: c for c in TABLE}
