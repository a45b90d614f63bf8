"""Every option of every command, given what it cannot take: refused before any file is touched."""

from __future__ import annotations

import pytest

from search.arguments import make_parser
from search.cli import COMMANDS
from tests.bad_input.refusals import Refuses

RUN = ["--budget", "8000", "--dataset", "digits", "--trials", "1", "--epochs", "1", "--jobs", "1", "--confirm", "none"]
FRONTIER = ["frontier", "--budgets", "1000", "--dataset", "digits", "--trials", "1"]
HUGE = str(10**30)
LONG = "x" * 300

# Option, what it is given, what has to be said of that. The way out is in the words or in the rule that they state.
WHOLE = "must be a whole number of at least 1, got"
AMOUNT = "; write it as"
VALUES: list[tuple[list[str], str, list[tuple[str, str]]]] = [
    (
        [],
        "--budget",
        [
            ("0", f"{WHOLE} '0'; write it as 8000, 8k or 1.5M"),
            ("-1", f"{WHOLE} '-1'"),
            ("", f"{WHOLE} ''{AMOUNT}"),
            (" ", f"{WHOLE} ' '"),
            ("nan", f"{WHOLE} 'nan'{AMOUNT}"),
            ("inf", f"{WHOLE} 'inf'{AMOUNT}"),
            ("1e4", f"{WHOLE} '1e4'"),
            ("0x10", f"{WHOLE} '0x10'"),
            ("8 000", f"{WHOLE} '8 000'"),
            ("8,000", f"{WHOLE} '8,000'"),
            ("8000.5", f"{WHOLE} '8000.5'"),
            ("0.0001k", f"{WHOLE} '0.0001k'"),
            ("8K8", f"{WHOLE} '8K8'"),
            ("8KiB", f"{WHOLE} '8KiB'"),
            ("٨٠٠٠", f"{WHOLE} '٨٠٠٠'"),
            ("８０００", f"{WHOLE} '８０００'"),
            ("9" * 40, f"{WHOLE} '9999"),
            (HUGE, f"{WHOLE} '1000"),
            ("1" + "0" * 20, "budget must be between 1 and 1,000,000,000,000,000, got 100000000000000000000"),
            ("9" * 5000, f"{WHOLE} '9999"),
        ],
    ),
    (
        RUN,
        "--trials",
        [
            ("0", f"{WHOLE} '0'"),
            ("-3", f"{WHOLE} '-3'"),
            ("1.0", f"{WHOLE} '1.0'"),
            ("nan", f"{WHOLE} 'nan'"),
            ("ten", f"{WHOLE} 'ten'"),
            ("", f"{WHOLE} ''"),
            ("١٠", f"{WHOLE} '١٠'"),
            ("²", f"{WHOLE} '²'"),
            ("1__0", f"{WHOLE} '1__0'"),
            (HUGE, "must be at most 1,000,000,000, got '1000"),
            ("9" * 5000, f"{WHOLE} '9999"),
        ],
    ),
    (RUN, "--grace", [("0", WHOLE), ("3m", f"{WHOLE} '3m'"), (HUGE, "at most 1,000")]),
    (RUN, "--metric", [("", "must not be empty"), ("balanced", "invalid choice: 'balanced' (choose from 'accuracy'")]),
    (RUN, "--augment", [("", "must be of rotation, shift, scale, shear, mirror; got ''"), ("flip", "got 'flip'")]),
    (RUN, "--no-augment", [("none", "got 'none'"), ("rotation,", "got ''"), ("all,shear", "got 'all'")]),
    (
        RUN,
        "--image-size",
        [
            ("0", "must be a side or HEIGHTxWIDTH, from 4 to 1,024 pixels, got '0'; write it as 32 or 32x40"),
            ("3", "got '3'"),
            ("1025", "got '1025'"),
            ("32x", "got '32x'"),
            ("32x40x3", "got '32x40x3'"),
            ("٣٢", "got '٣٢'"),
            ("-32", "got '-32'"),
            ("", "got ''"),
        ],
    ),
    (
        RUN[:2],
        "--dataset",
        [
            ("folder", "--dataset folder needs the path of a folder of images: folder:PATH"),
            ("folder:", "needs the path of a folder of images"),
            ("folder:nowhere", "nowhere"),
            ("cifar", "unknown data set 'cifar'; the known ones are"),
        ],
    ),
    (["space"], "--image-size", [("big", "got 'big'")]),
    (["rerun", "nowhere"], "--trial", [("best", "must be a whole number, got 'best'")]),
    (RUN, "--epochs", [("0", WHOLE), ("1.5", f"{WHOLE} '1.5'"), ("10001", "epochs must be between 1 and 10000")]),
    (RUN, "--jobs", [("0", WHOLE), ("-2", f"{WHOLE} '-2'"), ("AUTO", f"{WHOLE} 'AUTO'"), (HUGE, "at most 1,024")]),
    (RUN, "--timeout", [("0", WHOLE), ("1h", f"{WHOLE} '1h'"), ("inf", f"{WHOLE} 'inf'"), (HUGE, "at most 1,000")]),
    (
        RUN,
        "--seed",
        [
            ("x", "must be a whole number, got 'x'"),
            ("1.5", "must be a whole number, got '1.5'"),
            ("", "must be a whole number, got ''"),
            ("٣", "must be a whole number, got '٣'"),
            ("-1", "seed must be between 0 and 4,294,967,295, got -1"),
            ("4294967296", "seed must be between 0 and 4,294,967,295, got 4294967296"),
            (HUGE, "seed must be between 0 and 4,294,967,295"),
        ],
    ),
    (RUN, "--max-macs", [("0", WHOLE), ("many", f"{WHOLE} 'many'"), ("64KiB", AMOUNT), ("1" + "0" * 20, "max-macs")]),
    (RUN, "--max-memory", [("0", WHOLE), ("64KB/s", f"{WHOLE} '64KB/s'"), ("1TiB", "65536, 64k or 64KiB")]),
    (RUN, "--max-weights-bytes", [("0", WHOLE), ("½k", f"{WHOLE} '½k'"), ("8k8", "64KiB")]),
    (RUN, "--min-rf", [("0", WHOLE), ("a", f"{WHOLE} 'a'"), ("1e2", WHOLE)]),
    (
        RUN,
        "--max-latency",
        [
            ("0", "must be milliseconds from 0.001 to 1,000,000, got '0'"),
            ("-1", "got '-1'"),
            ("nan", "got 'nan'"),
            ("inf", "got 'inf'"),
            ("1e999", "got '1e999'"),
            ("1 s", "got '1 s'"),
            ("٣", "got '٣'"),
            ("", "got ''"),
        ],
    ),
    ([*RUN, "--max-memory", "9k"], "--bytes-in", [("int4", "invalid choice: 'int4'"), ("", "must not be empty")]),
    (RUN, "--bytes-in", [("int8", "bytes-in int8 counts for max-memory and max-weights-bytes; give one of them")]),
    (
        RUN,
        "--confirm",
        [
            ("5", "must be K:SEEDS or K:SEEDS:FURTHER, whole numbers of at least 1, or none"),
            ("0:5", "got '0:5'"),
            ("5:-1", "got '5:-1'"),
            ("5:5:0", "got '5:5:0'"),
            ("1:2:3:4", "got '1:2:3:4'"),
            ("1.5:2", "got '1.5:2'"),
            ("nan:nan", "got 'nan:nan'"),
            (":", "got ':'"),
            ("", "got ''"),
            ("None", "got 'None'"),
            ("٥:٥", "got '٥:٥'"),
            ("5:1001", "(each at most 1,000); got '5:1001'"),
            (f"{HUGE}:5", "each at most 1,000"),
        ],
    ),
    (RUN, "--sampler", [("magic", "invalid choice: 'magic' (choose from "), ("", "not be empty")]),
    (RUN, "--pruner", [("hyperband", "invalid choice: 'hyperband' (choose from")]),
    (RUN, "--score", [("mean", "invalid choice: 'mean' (choose from")]),
    (RUN, "--select-on", [("train", "invalid choice: 'train' (choose from")]),
    (RUN, "--engine", [("cuda", "invalid choice: 'cuda' (choose from"), ("x" * 5000, "invalid choice: 'xxxx")]),
    (
        RUN,
        "--dataset",
        [
            ("", "must not be empty, got ''"),
            ("MNIST", "unknown data set 'MNIST'; the known ones are mnist, digits"),
            ("mnist.zip", "unknown data set 'mnist.zip'"),
            (LONG, "unknown data set 'xxxx"),
            ("\udcff", "must be text without control characters"),
        ],
    ),
    (RUN, "--data-dir", [("", "must not be empty, got ''"), ("  ", "must not be empty"), ("a\nb", "got 'a\\nb'")]),
    (RUN, "--out", [("", "must not be empty, got ''"), ("\t", "must not be empty"), ("\udcff", "got '\\udcff'")]),
    (RUN, "--space", [("", "must not be empty, got ''"), ("nowhere.toml", "nowhere.toml: cannot read the space file")]),
    (RUN, "--baseline", [("", "must not be empty"), ("s004_net9", "the networks are s000_net")]),
    (RUN, "--warm", [("", "must not be empty"), ("nowhere", "there is no study 'nowhere'"), ("a/b", "100 at most")]),
    (
        RUN,
        "--study",
        [
            ("", "must not be empty, got ''"),
            ("a/b", "a study's name is made of letters, digits, '.', '_' and '-', 100 at most"),
            ("..", "and begins with a letter or digit, got '..'; choose another --study"),
            ("../up", "got '../up'"),
            (".hidden", "got '.hidden'"),
            ("/etc/passwd", "got '/etc/passwd'"),
            ("two words", "got 'two words'"),
            ("naïve", "got 'naïve'"),
            ("研究", "got '研究'"),
            ("x'; DROP TABLE trials; --", "DROP TABLE trials; --"),
            ('" OR 1=1', "OR 1=1"),
            ("%s%n", "got '%s%n'"),
            ("{0}", "got '{0}'"),
            ("$(touch marker)", "got '$(touch marker)'"),
            ("`touch marker`", "got '`touch marker`'"),
            ("a\nb", "must be text without control characters, got 'a\\nb'"),
            ("a\0b", "must be text without control characters"),
            (LONG, "100 at most"),
            ("x" * 101, "100 at most"),
            ("studies.db", "'studies.db' is a name of this program's own beside the studies; choose another"),
            ("studies.db-wal", "is a name of this program's own"),
            ("artifacts", "'artifacts' is a name of this program's own"),
            ("mnist-8000-repeats", "would be the repeats of another; choose a --study without '-repeats'"),
        ],
    ),
    (
        ["frontier", "--dataset", "digits"],
        "--budgets",
        [
            ("", f"{WHOLE} ''"),
            (",", f"{WHOLE} ''"),
            ("1000;2000", f"{WHOLE} '1000;2000'"),
            ("1000,-5", f"{WHOLE} '-5'"),
            ("1k,nan", f"{WHOLE} 'nan'"),
            ("0,1000", f"{WHOLE} '0'"),
            (f"1000,{HUGE}", WHOLE),
        ],
    ),
    (FRONTIER, "--study", [("a/b", "got 'a/b-1000'"), ("x" * 97, "100 at most"), ("", "must not be empty")]),
    (["baselines", "--dataset", "digits"], "--seeds", [("0", WHOLE), ("x", f"{WHOLE} 'x'"), (HUGE, "at most 1,000")]),
    (["baselines"], "--dataset", [("letters", "unknown data set 'letters'; the known ones are"), ("auto", "'auto'")]),
    (
        ["baselines", "--dataset", "digits"],
        "--recipe-of",
        [
            ("", "must not be empty"),
            ("refrence", "study 'refrence' has no winner; name another --recipe-of"),
            ("../x", "name is"),
        ],
    ),
    (["baselines", "--dataset", "digits"], "--study", [("a b", "got 'a b'"), ("artifacts", "program's own")]),
    (["bench"], "--images", [("0", WHOLE), ("-1", f"{WHOLE} '-1'"), ("all", f"{WHOLE} 'all'"), (HUGE, "at most")]),
    (["bench"], "--repeats", [("0", WHOLE), (HUGE, "at most 1,000, got")]),
    (
        ["bench"],
        "--network",
        [("", "must not be empty"), ("s000_nett", "no network 's000_nett' to measure; there are")],
    ),
    (["space"], "--budget", [("0", WHOLE), ("8000 parameters", AMOUNT)]),
    (["space"], "--space", [(".", "cannot read the space file: Is a directory; name another with --space")]),
    (["null", "nowhere"], "--runs", [("0", WHOLE), ("1.5", f"{WHOLE} '1.5'"), (HUGE, "at most 1,000, got")]),
    (["null", "nowhere"], "--trial", [("best", "must be a whole number, got 'best'"), ("1.0", "got '1.0'")]),
    (["confirm", "nowhere"], "--confirm", [("none", "nothing to confirm with --confirm none; give K:SEEDS")]),
    (["confirm", "nowhere"], "--jobs", [("two", f"{WHOLE} 'two'")]),
    (["export", "nowhere"], "--trial", [("", "must be a whole number, got ''"), ("٣", "got '٣'")]),
    (["export", "nowhere"], "--budget", [("0", WHOLE), ("9k", "there is no study 'nowhere'")]),
    (
        ["export", "nowhere"],
        "--format",
        [
            ("", "must be torch, safetensors, pt2, onnx, onnx-int8, c or all; got ''"),
            ("onnx,", "got ''"),
            ("ONNX", "got 'ONNX'"),
            ("all,c", "got 'all'"),
            ("x" * 5000, "got 'xxxx"),
        ],
    ),
    (["export", "nowhere"], "--out", [("", "must not be empty")]),
    (["export", "nowhere"], "--network", [("", "must not be empty")]),
    (["dashboard"], "--port", [("0", WHOLE), ("65536", "must be at most 65,535"), ("http", f"{WHOLE} 'http'")]),
    (["dashboard"], "--host", [("", "must not be empty"), ("127.0.0.1", "nothing to browse yet: no database")]),
    (["proxy", "--storage", "postgresql://x/y"], "--port", [("0", WHOLE), ("65536", "must be at most 65,535")]),
    (["proxy", "--storage", "postgresql://x/y"], "--host", [("", "must not be empty")]),
]
CASES = [([*command, option, value], words) for command, option, given in VALUES for value, words in given]

# Commands that lack something or have too much.
COMMAND_LINES: list[tuple[list[str], str]] = [
    ([], "the following arguments are required: --budget (see search.py run --help)"),
    (["--budget"], "argument --budget: expected one argument"),
    (["--budget", "8000", "--budgets", "3"], "unrecognized arguments: --budgets 3"),
    (["--budget", "8000", "--tri", "3"], "unrecognized arguments: --tri 3"),
    (["--budget", "8000", "a\nb"], "unrecognized arguments: a b"),
    (["--budget", "8000", "x" * 5000], "unrecognized arguments: xxxx"),
    (["train"], "invalid choice: 'train' (choose from "),
    ([""], "invalid choice: ''"),
    (["run", "run"], "the following arguments are required: --budget"),
    (["describe"], "the following arguments are required: ID|FILE"),
    (["describe", ""], "must not be empty"),
    (["describe", "s004_net9"], "no hand-designed network or readable file 's004_net9'; the networks are s000_net"),
    (["describe", "."], "no hand-designed network or readable file '.'"),
    (["describe", LONG], "the networks are s000_net"),
    (["describe", "s004_net3", "s000_net"], "unrecognized arguments: s000_net"),
    (["report"], "the following arguments are required: STUDY"),
    (["report", "nowhere"], "no database studies/studies.db; name another, or its --storage or folder"),
    (["report", "a/b"], "got 'a/b'"),
    (["report", ".."], "got '..'"),
    (["report", "/"], "there is no study ''"),
    (["report", "."], "got '.'"),
    (["report", LONG], "100 at most"),
    (["report", "x'; DROP TABLE studies; --"], "a study's name is made of"),
    (["report", ""], "must not be empty"),
    (["export", "nowhere", "--trial", "1", "--budget", "3"], "argument --budget: not allowed with argument --trial"),
    (["export", "nowhere", "--trial", "1", "--network", "x"], "not allowed with argument --trial"),
    (["rerun"], "the following arguments are required: STUDY"),
    (["rerun", "nowhere"], "there is no study 'nowhere'"),
    (["null"], "the following arguments are required: STUDY"),
    (["null", "nowhere"], "there is no study 'nowhere'"),
    (["confirm", "nowhere"], "there is no study 'nowhere'"),
    (["dashboard", "nowhere"], "nothing to browse yet: no database studies/studies.db; name one with --storage"),
    (["dashboard", "a/b"], "got 'a/b'"),
    (
        ["baselines", "s004_net9", "--dataset", "digits"],
        "unknown hand-designed network 's004_net9'; the known ones are",
    ),
    (["baselines", "", "--dataset", "digits"], "must not be empty"),
    (["space", "--max-latency", "1"], "unrecognized arguments: --max-latency 1"),
    ([*RUN, "--data-dir", "~nobody-of-that-name/x"], "there is no such user: ~nobody-of-that-name/x; name another"),
]


def short(value: object) -> str:
    """A readable name of a row."""
    return ascii(" ".join(value) if isinstance(value, list) else value)[-60:].replace("\\", "/")


@pytest.mark.parametrize(("arguments", "words"), CASES + COMMAND_LINES, ids=short)
def test_what_an_option_cannot_take(refuses: Refuses, arguments: list[str], words: str) -> None:
    if "~nobody-of-that-name/x" in arguments:
        arguments = [{"digits": "mnist"}.get(argument, argument) for argument in arguments]
    refuses(arguments, words)


def test_every_command_and_every_option_with_a_value_is_in_the_table() -> None:
    tried = {
        ("run" if not arguments or arguments[0].startswith("-") else arguments[0])
        for arguments, _ in CASES + COMMAND_LINES
    }
    assert tried >= COMMANDS.keys()
    options = {argument for arguments, _ in CASES for argument in arguments if argument.startswith("--")}
    (commands,) = (action.choices for action in make_parser()._actions if action.dest == "name")
    for command in commands.values():
        with_values = {
            action.option_strings[0] for action in command._actions if action.option_strings and action.nargs != 0
        }
        assert with_values - {"--storage"} <= options
