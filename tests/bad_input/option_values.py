"""Values that options refuse, with the words of each refusal.

A value parser of search.cli.values has one row for each kind of wrong input. Each option has a row that shows that it
uses its parser, and that its message names the value and the way out. Other tests of the parsers themselves have the
spellings of wrong amounts (tests/search/test_amounts.py) and of wrong sizes and augmentations
(tests/search/cli/test_values.py); tests/search/test_config.py has the ends of each range.
"""

from __future__ import annotations

from search.config import AUGMENTATIONS, FORMATS
from tests.bad_input.refusals import RUN

FRONTIER = ["frontier", "--budgets", "1000", "--dataset", "digits", "--trials", "1"]
BASELINES = ["baselines", "--dataset", "digits"]

AUGMENTATION = f"must be one or more of {', '.join(AUGMENTATIONS)}; got"
WHOLE = "must be a whole number of at least 1, got"
COUNTS = "; write it as 8000, 8k or 1.5M"
BYTES = "; write it as 65536, 64k or 64KiB"
# Value and words of an option whose parser is search.cli.values.positive, and of one whose parser is repeats.
POSITIVE = ("1000000001", "must be at most 1,000,000,000, got '1000000001'")
REPEATS = ("1001", "must be at most 1,000, got '1001'")

# The start of a command line, the option, and values with the words of their messages. The way out is among the words,
# or it is the rule that they state.
VALUES: list[tuple[list[str], str, list[tuple[str, str]]]] = [
    # Counts of parameters, multiply-adds or pixels.
    ([], "--budget", [("0", f"{WHOLE} '0'{COUNTS}"), ("8 000", f"{WHOLE} '8 000'"), ("9" * 5000, f"{WHOLE} '9999")]),
    (["space"], "--budget", [("8000 parameters", COUNTS)]),
    (["export", "nowhere"], "--budget", [("8KiB", f"{WHOLE} '8KiB'{COUNTS}")]),
    (
        ["frontier", "--dataset", "digits"],
        "--budgets",
        [
            (",", f"{WHOLE} ''{COUNTS}"),
            ("1k,nan", f"{WHOLE} 'nan'"),
            ("0,1k", f"{WHOLE} '0'"),
            ("1k;2k", f"{WHOLE} '1k;2k'"),
        ],
    ),
    (RUN, "--max-macs", [("64KiB", f"{WHOLE} '64KiB'{COUNTS}")]),
    (RUN, "--min-rf", [("9KiB", f"{WHOLE} '9KiB'{COUNTS}")]),
    # Numbers of bytes.
    (RUN, "--max-memory", [("1TiB", f"{WHOLE} '1TiB'{BYTES}")]),
    (RUN, "--max-weights-bytes", [("8k8", f"{WHOLE} '8k8'{BYTES}")]),
    # Whole numbers of any size.
    (RUN, "--seed", [("1__0", "must be a whole number, got '1__0'"), ("-1", "seed must be between 0 and")]),
    (["rerun", "nowhere"], "--trial", [("best", "must be a whole number, got 'best'")]),
    (["null", "nowhere"], "--trial", [("1.0", "must be a whole number, got '1.0'")]),
    (["export", "nowhere"], "--trial", [("٣", "must be a whole number, got '٣'")]),
    # Whole numbers from 1 to the parser's limit.
    (RUN, "--trials", [("0", f"{WHOLE} '0'"), ("-3", f"{WHOLE} '-3'"), ("ten", f"{WHOLE} 'ten'"), POSITIVE]),
    (RUN, "--epochs", [POSITIVE]),
    (RUN, "--grace", [POSITIVE]),
    (RUN, "--timeout", [POSITIVE]),
    (["bench"], "--images", [POSITIVE]),
    (["bench"], "--repeats", [REPEATS]),
    (BASELINES, "--seeds", [REPEATS]),
    (["null", "nowhere"], "--runs", [REPEATS]),
    (RUN, "--jobs", [("AUTO", f"{WHOLE} 'AUTO'"), ("1025", "must be at most 1,024, got '1025'")]),
    (["studies"], "--storage", [("nodb://user:hunter2@host/x", "got one that begins with 'nodb'")]),
    (["studies"], "--out", [("", "must not be empty, got ''")]),
    (["describe", "reference"], "--trial", [("best", "must be a whole number, got 'best'")]),
    (["dashboard"], "--port", [("65536", "must be at most 65,535, got '65536'")]),
    # Milliseconds.
    (
        RUN,
        "--max-latency",
        [
            ("0", "must be milliseconds from 0.001 to 1,000,000, got '0'"),
            ("nan", "got 'nan'"),
            ("inf", "got 'inf'"),
            ("1 s", "got '1 s'"),
            ("٣", "got '٣'"),
        ],
    ),
    # How the winner is confirmed.
    (
        RUN,
        "--confirm",
        [
            ("5", "must be K:SEEDS or K:SEEDS:FURTHER, whole numbers of at least 1, or none"),
            ("1:2:3:4", "got '1:2:3:4'"),
            ("0:5", "got '0:5'"),
            ("5:5:0", "got '5:5:0'"),
            ("5:5:", "got '5:5:'"),
            ("None", "got 'None'"),
            ("5:1001", "(each at most 1,000); got '5:1001'"),
        ],
    ),
    (["confirm", "nowhere"], "--confirm", [("none", "nothing to confirm with --confirm none; give K:SEEDS")]),
    # Names from a fixed list.
    (RUN, "--metric", [("balanced", "invalid choice: 'balanced' (choose from 'accuracy'")]),
    (RUN, "--sampler", [("magic", "invalid choice: 'magic' (choose from ")]),
    (RUN, "--starts", [("all", "invalid choice: 'all' (choose from 'stored', 'none')")]),
    (RUN, "--pruner", [("hyperband", "invalid choice: 'hyperband' (choose from")]),
    (RUN, "--score", [("mean", "invalid choice: 'mean' (choose from")]),
    (RUN, "--select-on", [("train", "invalid choice: 'train' (choose from")]),
    (RUN, "--engine", [("cuda", "invalid choice: 'cuda' (choose from")]),
    ([*RUN, "--max-memory", "9k"], "--bytes-in", [("int4", "invalid choice: 'int4' (choose from")]),
    (RUN, "--bytes-in", [("int8", "bytes-in int8 counts for max-memory and max-weights-bytes; give one of them")]),
    (RUN, "--augment", [("all", f"{AUGMENTATION} 'all'")]),
    (RUN, "--no-augment", [("all,shear", f"{AUGMENTATION} 'all'")]),
    (
        ["export", "nowhere"],
        "--format",
        [
            ("onnx,", f"must be one or more of {', '.join(FORMATS)}, or all; got ''"),
            ("ONNX", "got 'ONNX'"),
            ("all,c", "got 'all'"),
        ],
    ),
    (
        ["export", "nowhere", "--format", "c"],
        "--onnx-batch",
        [
            ("0", "must be a whole number of at least 1, got '0'"),
            ("1025", "must be at most 1,024, got '1025'"),
            ("1", "--onnx-batch 1 needs format onnx or onnx-int8; add --format onnx"),
        ],
    ),
    (
        ["export", "nowhere"],
        "--prefix",
        [
            ("9lives", "must be at most 32 letters, digits and _, the first a letter, got '9lives'"),
            ("a-b", "got 'a-b'"),
            ("String", "must not be the name of a header of C, got 'String'"),
            ("digits_test", "must not end in _test or _input, got 'digits_test'"),
            ("digits", "--prefix digits needs format c; add --format c"),
        ],
    ),
    # Sizes of images.
    (RUN, "--image-size", [("٣٢", "from 4 to 1,024 pixels, got '٣٢'; write it as 32 or 32x40")]),
    (["space"], "--image-size", [("big", "got 'big'; write it as 32 or 32x40")]),
    # Names and paths.
    (RUN, "--out", [("", "must not be empty, got ''")]),
    (RUN, "--data-dir", [(" ", "must not be empty, got ' '")]),
    (["export", "nowhere"], "--out", [("a\nb", "must be UTF-8 text without control characters, got 'a\\nb'")]),
    (["export", "nowhere"], "--network", [("\udcff", "must be UTF-8 text without control characters, got '\\udcff'")]),
    (["dashboard"], "--host", [("", "must not be empty, got ''")]),
    (["bench"], "--network", [("s000_nett", "no network 's000_nett' to measure; there are")]),
    (RUN, "--baseline", [("s004_net9", "the networks are s000_net")]),
    (RUN, "--space", [("nowhere.toml", "nowhere.toml: cannot read the space file")]),
    (["space"], "--space", [(".", "cannot read the space file: Is a directory; name another with --space")]),
    (RUN, "--dataset", [("MNIST", "unknown data set 'MNIST'; the known ones are mnist, digits")]),
    (RUN[:2], "--dataset", [("folder:", "--dataset folder needs the path of a folder of images: folder:PATH")]),
    (RUN[:2], "--dataset", [("npz: ", "--dataset npz needs the path of a NumPy archive: npz:FILE")]),
    (["baselines"], "--dataset", [("auto", "unknown data set 'auto'; the known ones are")]),
    # Names of studies.
    (
        RUN,
        "--study",
        [
            ("a/b", "a study's name is made of letters, digits, '.', '_' and '-', 100 at most"),
            ("..", "and begins with a letter or digit, got '..'; choose another --study"),
            ("naïve", "got 'naïve'"),
            ("%s{0}", "got '%s{0}'"),
            ("x" * 101, "100 at most"),
            ("studies.db-wal", "is a name of this program's own beside the studies; choose another --study"),
            ("artifacts", "'artifacts' is a name of this program's own"),
            ("mnist-8000-repeats", "is reserved for the repeats of a study; choose a --study without '-repeats'"),
        ],
    ),
    (FRONTIER, "--study", [("x" * 97, "100 at most")]),
    (BASELINES, "--study", [("a b", "got 'a b'; choose another --study")]),
    (RUN, "--warm", [("nowhere", "there is no study 'nowhere'")]),
    (BASELINES, "--recipe-of", [("refrence", "study 'refrence' has no winner; name another --recipe-of")]),
]
CASES = [([*command, option, value], words) for command, option, pairs in VALUES for value, words in pairs]
