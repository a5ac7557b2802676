"""The command: what it accepts. What it does is in `sparring.commands`, which is imported only when something is done,
so that `sparring --help` answers before torch could be loaded."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from sparring import __version__
from sparring.core.errors import RequestError, TrainingError, nearest

KINDS = ("auto", "table", "series", "text")
DONE, BAD_REQUEST, TRAINING_FAILED, INTERRUPTED = 0, 2, 3, 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, with the nearest option for a misspelt one."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            # An option that a verb does not know comes back to the main parser.
            parsers = [self, *(p for a in self._actions if isinstance(a.choices, dict) for p in a.choices.values())]
            options = {option for p in parsers for action in p._actions for option in action.option_strings}
            message += f"; {nearest(unknown.partition(' ')[0].partition('=')[0], options)}"
        sys.stderr.write(f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")
        sys.exit(BAD_REQUEST)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    main = _Parser(
        prog="sparring",
        description="Generative adversarial networks: train them, judge them honestly, take the generator away.",
        epilog="Exit codes: 0 done, 2 the request cannot be met, 3 training failed, 130 interrupted (state saved).",
    )
    main.add_argument("--version", action="version", version=f"sparring {__version__}")
    main.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = main.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    source = (
        "a known set (digits, mnist, fashion-mnist, cifar10), a folder or archive of images, an IDX, .npy or .npz "
        "file, a table or series (.csv, .parquet), lines of text (.txt), hf:OWNER/NAME of the Hugging Face Hub"
    )

    train = verbs.add_parser("train", help="train a generator", description="Train a generator and its discriminator.")
    train.add_argument("source", nargs="?", default="digits", metavar="SOURCE", help=f"{source}; default: digits")
    train.add_argument("--recipe", metavar="NAME|FILE.py:FUNC", help="how to train; default: chosen from the data")
    train.add_argument("--out", metavar="DIR", help="the run's folder; default: runs/NAME, never an existing one")
    train.add_argument("--budget", metavar="90s|10min|500kimg|20epochs", help="how long to train; default: 10min")
    train.add_argument("--seed", type=int, metavar="N", help="of everything that is random; default: 0")
    train.add_argument("--device", choices=("cpu", "cuda", "mps"), help="default: cuda where there is one, else cpu")
    train.add_argument("--size", metavar="HxW", help="bring all images to one size")
    train.add_argument("--kind", choices=KINDS, help="what rows are; default: as they look")
    train.add_argument("--labels", choices=("use", "ignore"), help="whether labels condition the game; default: use")
    train.add_argument("--hold-out", type=int, metavar="N", help="set N samples aside, to choose by and to watch")
    train.add_argument("--features", metavar="NAME|FILE", help="the network that scores are made in; see score --help")
    train.add_argument(
        "--mend", metavar="NAMES", help="about alarms do penalty,augment,steps,rollback; default: nothing"
    )
    train.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="sets", help="change one field")
    train.add_argument("--dry-run", action="store_true", help="show what would be done, and why, and stop")

    resume = verbs.add_parser("resume", help="go on with a run that was stopped", description="Go on exactly.")
    resume.add_argument("run", metavar="RUN", help="the run's folder")
    resume.add_argument("--budget", metavar="...", help="a new budget for the whole run, what is done included")
    resume.add_argument("--recipe", metavar="FILE.py:FUNC", help="the recipe file, where the run began with one")
    resume.add_argument("--features", metavar="FILE.py:FUNC", help="the feature file, where the run scores with one")
    resume.add_argument("--device", choices=("cpu", "cuda", "mps"), help="default: the run's own")

    out = ".png a grid, .npz arrays, else a folder of PNGs; rows and series .csv, .parquet, texts .txt, as they came"
    sample = verbs.add_parser("sample", help="draw from a trained generator", description="Draw samples.")
    sample.add_argument("run", metavar="RUN", help="the run's folder")
    sample.add_argument("-n", type=int, default=64, metavar="N", help="how many; default: 64")
    sample.add_argument("--label", metavar="L", help="a class, by number or name, or COLUMN=VALUE of a table")
    sample.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    sample.add_argument("--truncation", type=float, metavar="T", help="keep z to the middle: likelier, less varied")
    sample.add_argument("--recipe", metavar="FILE.py:FUNC", help="the recipe file, where it defines the generator")
    sample.add_argument("--checkpoint", default="best", metavar="best|last|IMAGES", help="default: best")
    sample.add_argument("--out", required=True, metavar="PATH", help=out)

    score = verbs.add_parser("score", help="judge a run's generator, or anybody's images", description="Judge samples.")
    score.add_argument("samples", nargs="+", metavar="RUN|FOLDER|FILE.npz", help="what is judged: one or several")
    score.add_argument("--against", required=True, metavar="SOURCE", help="the real data")
    score.add_argument("--split", choices=("train", "test"), default="train", help="of a known set; default: train")
    score.add_argument("--held-out", metavar="test|SOURCE", help="real data not trained on: finds memorised samples")
    score.add_argument("--kind", choices=KINDS, help="what rows are; default: as they look")
    score.add_argument("--size", metavar="HxW", help="bring all images to one size")
    score.add_argument(
        "--metrics",
        metavar="NAME,...",
        help="of fid fid_held_out fid_inf kid inception_score precision_recall density_coverage classes modes "
        "per_class nearest_neighbour vendi memorisation parzen path_length, of series, texts and tables others, which "
        "a wrong name lists; default: what is usual for the kind of data",
    )
    score.add_argument(
        "--features",
        metavar="NAME|FILE.py:FUNC|FILE.onnx",
        help="where samples are compared: digits28 digits8 cifar32 pca values stacked-digits28 inception clip dinov2, "
        "or a network of your own; default: what fits the real data",
    )
    score.add_argument(
        "--keep",
        type=int,
        default=10_000,
        metavar="N",
        help="samples of each set that all but the Fréchet distance look at; default: 10000",
    )
    score.add_argument("-n", type=int, metavar="N", help="samples; default: 10000, or all of a folder")
    score.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    score.add_argument("--recipe", metavar="FILE.py:FUNC", help="the recipe file, where it defines the generator")
    score.add_argument("--checkpoint", default="best", metavar="best|last|IMAGES", help="of a run; default: best")
    score.add_argument("--json", action="store_true", help="print JSON with the whole provenance")

    recipes = verbs.add_parser("recipes", help="list the recipes, or show one", description="List the recipes.")
    recipes.add_argument("name", nargs="?", metavar="NAME", help="show this one in full, for digits")

    data = verbs.add_parser("data", help="tell what a source holds", description="Tell what was found in a source.")
    data.add_argument("source", metavar="SOURCE", help=source)
    data.add_argument("--split", choices=("train", "test"), default="train", help="of a known set; default: train")
    data.add_argument("--kind", choices=KINDS, help="what rows are; default: as they look")
    data.add_argument("--size", metavar="HxW", help="bring all images to one size")
    data.add_argument("--json", action="store_true", help="print the report as JSON")

    verbs.add_parser("doctor", help="check this machine", description="Check what this machine offers.")
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files are shown, whatever the terminal can write
            stream.reconfigure(errors="backslashreplace")
    code = _run(options)
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python tries again when it ends, and would say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"sparring {options.verb}: what was said could not be written ({error.strerror})\n")
            return code or BAD_REQUEST
    return code


def _run(options: argparse.Namespace) -> int:
    try:
        from sparring import commands

        code: int = getattr(commands, options.verb)(options)
        return code
    except RequestError as error:
        return _fail(options, error, str(error), BAD_REQUEST)
    except TrainingError as error:
        return _fail(options, error, str(error), TRAINING_FAILED)
    except BrokenPipeError:
        return DONE  # the reader of our output has had enough
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(
            options, error, f"{where}{error.strerror or error}; make room or choose another place", BAD_REQUEST
        )
    except KeyboardInterrupt:
        sys.stderr.write("sparring: interrupted\n")
        return INTERRUPTED


def _fail(options: argparse.Namespace, error: Exception, message: str, code: int) -> int:
    if options.debug:
        raise error
    sys.stderr.write(f"sparring {options.verb}: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
