"""Writes the figures of `docs/figures/*.json` into the documents, between their marks; types nothing by hand.

    python bench/tables.py            # rewrites the documents
    python bench/tables.py --check    # exits with 1 when a document does not say what was measured

A mark is a line `<!-- figures:NAME -->`; what follows up to `<!-- /figures -->` is replaced.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "docs" / "figures"
DOCUMENTS = (
    "README.md",
    "README.zh-CN.md",
    "docs/benchmarks.md",
    "docs/judging.md",
    "docs/games.md",
    "docs/theory.md",
    "docs/reliability.md",
    "docs/networks.md",
)


def made(maker: Callable[[], str], before: str) -> str:
    """What a maker makes of its figures; what stood there before where they have not been measured."""
    try:
        return maker()
    except FileNotFoundError:
        return before.strip("\n")


def read(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((FIGURES / f"{name}.json").read_text())
    return rows


def spread(values: list[float], digits: int = 1) -> str:
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def quality(head: list[str], kinds: dict[str, str]) -> str:
    """FID by the independent judge, mean and spread over seeds, for each kind of run and budget."""
    rows = []
    figures = read("mnist")
    for labels, kind in kinds.items():
        for budget in dict.fromkeys(row["budget"] for row in figures):
            found = [row for row in figures if (row["labels"], row["budget"]) == (labels, budget)]
            if not found:
                continue
            shares = [share for row in found for share in row["shares"]]
            read_as_asked = [100 * row["label_accuracy"] for row in found if "label_accuracy" in row]
            rows.append(
                [
                    kind,
                    budget,
                    spread([row["fid"] for row in found]),
                    f"{100 * min(shares):.1f} to {100 * max(shares):.1f} %",
                    f"{spread(read_as_asked)} %" if read_as_asked else "",
                    spread([row["seconds"] for row in found]),
                ]
            )
    return table(head, rows)


def first_gan(head: list[str]) -> str:
    found = read("first_gan")
    shares = [share for row in found for share in row["shares"]]
    fids, seconds = [row["fid"] for row in found], [row["seconds"] for row in found]
    row = [spread(fids, 0), f"{100 * min(shares):.1f} to {100 * max(shares):.1f} %", spread(seconds, 0)]
    return table(head, [row])


def throughput(head: list[str]) -> str:
    rows = []
    for row in read("throughput"):
        rates, ratios = row["rates"], row["ratios"]
        rates_text = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        ratio_text = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        contender = "PyTorch-GAN" if row["contender"] == "peer" else f"sparring, {row['contender']}"
        rows.append([f"{row['game']}.py", contender, rates_text, ratio_text])
    return table(head, rows)


def judging(head: list[str]) -> str:
    """What judging costs: seconds and memory."""
    found: dict[str, float] = json.loads((FIGURES / "judging.json").read_text())
    ten = f"{found['seconds']:.1f} ({found['least']:.1f} to {found['most']:.1f})"
    return table(
        head,
        [
            [
                "10,000",
                f"{ten}; {found['first']:.1f} the first time, with the reference",
                f"{found['ten_bytes'] / 1e6:.0f} MB",
            ],
            ["50,000", f"{found['fifty_seconds']:.1f}", f"{found['fifty_bytes'] / 1e6:.0f} MB"],
        ],
    )


def stopping(head: list[str]) -> str:
    """What patience chose, beside the best of all checkpoints on held-out data."""
    rows = []
    for row in read("stopping"):
        chosen = row["chosen"]
        rows.append(
            [
                row["recipe"],
                str(row["seed"]),
                f"{row.get('hold_out') or 0:,}",
                f"{row['samples']:,}",
                f"{chosen['images'] / 1000:.0f}k: {chosen['held_out']:.3g}",
                f"{row['ratio_own']:.3f}",
                f"{row['ratio_both']:.3f}",
                f"{100 * row['share_of_budget']:.0f} %",
            ]
        )
    return table(head, rows)


def health(head: list[str], none: str) -> str:
    """Alarms of runs that were made to fail, and of healthy ones: on how many seeds they were raised."""
    rows = []
    figures = read("health_failing") + read("health_healthy")
    for name in dict.fromkeys(row["run"] for row in figures):
        found = [row for row in figures if row["run"] == name]
        expected = found[0]["expected"]
        raised = sum(set(expected) <= row["alarms"].keys() if expected else bool(row["alarms"]) for row in found)
        rows.append([name, ", ".join(expected) or none, f"{raised} of {len(found)}"])
    return table(head, rows)


def looking(head: list[str]) -> str:
    """What looking for alarms costs, in percent of a step."""
    return table(head, [[row["run"], spread(row["percent"], 2)] for row in read("health_cost")])


def theory(head: list[str], which: str) -> str:
    """Closed forms, and what the smallest games did beside what was predicted; as stored, with five decimals."""
    found = json.loads((FIGURES / "theory.json").read_text())[which]
    return table(head, [[v if isinstance(v, str) else f"{v:.5f}" for v in row.values()] for row in found])


def modes(head: list[str]) -> str:
    """What the default recipe reaches on known mixtures; every seed counts, so the worst stands beside the mean."""
    rows = []
    figures = read("modes")
    for name in dict.fromkeys(row["data"] for row in figures):
        found = [row for row in figures if row["data"] == name]
        most = {"ring8": 8, "grid25": 25}[name]
        rows.append(
            [
                name,
                f"{sum(row['modes'] == most for row in found)} of {len(found)}",
                spread([100 * row["share"] for row in found]) + " %",
                spread([row["kl"] for row in found], 4),
                spread([row["seconds"] for row in found], 0),
            ]
        )
    return table(head, rows)


def games(head: list[str]) -> str:
    """Every game on both mixtures: mean and standard error over seeds."""
    rows = []
    figures = read("games")
    for name in dict.fromkeys(row["game"] for row in figures):
        cells = [name]
        for data in ("ring8", "grid25"):
            found = [row for row in figures if (row["game"], row["set"]) == (name, data)]
            kl = [row["reverse_kl"] for row in found if row["reverse_kl"] is not None]
            cells += [
                mean_error([row["modes"] for row in found], 1),
                mean_error([100 * row["high_quality"] for row in found], 1),
                mean_error(kl, 3) if len(kl) == len(found) else "none",
            ]
        rows.append(cells)
    return table(head, rows)


def mean_error(values: list[float], digits: int) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.{digits}f} ± {error:.{digits}f}"


def stored(name: str) -> Any:
    return json.loads((FIGURES / f"{name}.json").read_text())


def both(found: dict[str, float], unit: str = "") -> str:
    """A median and the most."""
    return f"{found['median']:g}{unit}, at most {found['most']:g}{unit}"


def killing(head: list[str]) -> str:
    """Runs that were killed and resumed, beside runs left alone; the pair of processes is a row of its own."""
    rows = []
    for row in stored("killing")["killed"]:
        during = Counter[str]()
        for what, count in row["while"].items():
            during[what.split(":")[0]] += count
        rows.append(
            [
                row["job"],
                str(row["kills"]),
                ", ".join(f"{count} {what}" for what, count in during.items()),
                str(len(row["unreadable"])),
                str(len(row["differences"])),
                both(row["lost_steps"]),
            ]
        )
    return table(head, rows)


def company(head: list[str]) -> str:
    row = stored("killing_company")
    whom = ", ".join(f"{count} {who}" for who, count in row["whom"].items())
    found = [str(row["kills"]), whom, str(len(row["unreadable"])), str(len(row["differences"]))]
    return table(head, [[*found, both(row["seconds_to_end"], " s"), f"{row['apart_alone']:.1e}"]])


def told(head: list[str]) -> str:
    row = stored("killing")["told"]
    codes = ", ".join(f"{count} times {code}" for code, count in row["exit_codes"].items())
    return table(head, [[row["job"], codes, both(row["seconds_until_exit"], " s"), str(len(row["differences"]))]])


def damage(head: list[str]) -> str:
    rows = []
    for row in stored("storage")["damage"]["files"]:
        if "misled" in row:  # what it names is looked at as well
            found = f"{row['misled']} named another checkpoint"
        else:
            found = f"{row['found']}, of which {row['named']} named the file"
        rows.append([row["file"], str(row["damages"]), found, str(row.get("silent_flips_without_hashes", ""))])
    return table(head, rows)


def full(head: list[str], kinds: dict[bool, str]) -> str:
    return table(
        head,
        [
            [
                kinds[row["for_good"]],
                str(row["tried"]),
                ", ".join(f"{count} times {code}" for code, count in sorted(row["codes"].items())),
                str(row["tracebacks"]),
                str(row["half_files"]),
                str(len(row["lost"])),
            ]
            for row in stored("storage")["full"]
        ],
    )


def memory(head: list[str]) -> str:
    found = stored("memory")["summary"]
    return table(head, [[name, f"{100 * row['growth']:+.2f} %"] for name, row in found.items()])


def streams(head: list[str]) -> str:
    row = stored("streams")
    ratio = row["ratio"]
    return table(
        head,
        [
            [
                f"{row['images']:,}",
                f"{row['set_mib']:g} MiB",
                f"{row['allowed_mib']:g} MiB",
                f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})",
                f"{row['grown_mib']:.1f} MiB",
            ]
        ],
    )


def grouped(name: str, *keys: str) -> list[tuple[tuple[Any, ...], list[dict[str, Any]]]]:
    """The rows of a figure file by the values of some of their fields, in the order in which they come first."""
    rows = read(name)
    groups = dict.fromkeys(tuple(row[key] for key in keys) for row in rows)
    return [(group, [row for row in rows if tuple(row[key] for key in keys) == group]) for group in groups]


def choice(head: list[str]) -> str:
    """Recipes at equal seconds."""
    rows = []
    for (data, budget, cores, recipe), own in grouped("choice", "data", "budget", "cores", "recipe"):
        distances = [spread([row[value] for row in own], 2) for value in ("fid", "fid_inf")]
        shown = [spread([row[value] for row in own], 2) for value in ("precision", "recall")]
        images = f"{statistics.mean(row['images'] for row in own) / 1000:,.0f}k"
        rows.append([data, f"{budget}, {cores} core{'s' * (cores > 1)}", recipe, *distances, *shown, images])
    return table(head, rows)


def stability(head: list[str]) -> str:
    """A game with its penalties and without."""
    rows = []
    for (penalties, images, lr, width), own in grouped("stability", "penalties", "images", "lr", "width"):
        ends = [row["fids"][-1] for row in own if row["fids"]]
        best = [min(row["fids"]) for row in own if row["fids"]]
        apart = max((max(row["differences"]) for row in own if row["differences"]), default=float("nan"))
        rows.append(
            [
                f"{penalties} R1 and R2",
                f"{images / 1000:g}k",
                f"{lr:g}",
                str(width),
                spread(best, 1) if best else "none",
                spread(ends, 1) if ends else "none",
                f"{apart:.3g}",
                f"{sum(row['finite'] for row in own)} of {len(own)}",
                f"{sum(row['stable'] for row in own)} of {len(own)}",
            ]
        )
    return table(head, rows)


def series(head: list[str]) -> str:
    """Series that a classifier is to tell from real ones."""
    rows = []
    for (data,), own in grouped("sequences", "data"):
        if "discriminative" in own[0]:
            floor = spread([row["floor"] for row in own], 3) if "floor" in own[0] else ""
            scores, seconds = ([row[key] for row in own] for key in ("discriminative", "seconds"))
            rows.append([data, f"{own[0]['trained_on']:,}", spread(seconds, 0), spread(scores, 3), floor])
    return table(head, rows)


def texts(head: list[str]) -> str:
    """Words: those that could be real, and those that are."""
    rows = []
    for (data,), own in grouped("sequences", "data"):
        if "valid" not in own[0]:
            continue
        for truncation in own[0]["truncated"]:
            found = [row["truncated"][truncation] for row in own]
            shares = [spread([100 * row[key] for row in found]) for key in ("valid", "copied", "distinct")]
            rows.append([f"{data}, --truncation {truncation}", *shares])
        first = own[0]
        rows.append(["words that were held out", f"{100 * first['held_out']:.1f}", "0", "100"])
        for key, name in (("pairs", "2"), ("triples", "3")):
            shares = [f"{100 * first[key][which]:.1f}" for which in ("valid", "copied")]
            rows.append([f"a chain of letters of order {name}", *shares, ""])
    return table(head, rows)


def few(head: list[str]) -> str:
    """A hundred images, with augmentation and without."""
    rows = []
    for (recipe, shown, budget), own in grouped("few", "recipe", "shown", "budget"):
        shares = [spread([100 * row[k] for row in own]) for k in ("copies", "copies_held_out", "authentic_share")]
        found = [spread([row["fid"] for row in own], 2), spread([row["kid"] for row in own], 3)]
        rows.append([recipe, shown, f"{budget:g} s", *found, *shares])
    return table(head, rows)


def tables_real(head: list[str]) -> str:
    """Synthetic rows beside real ones, for learning from."""
    rows = []
    for (data,), own in grouped("tables_real", "data"):
        rows.append(
            [
                data,
                str(own[0]["rows"]),
                spread([row["real"] for row in own], 3),
                spread([row["ratio"] for row in own], 3),
                spread([row["ratio_2000"] for row in own], 3),
                spread([row["mae_ratio"] for row in own], 3) if "mae_ratio" in own[0] else "",
                str(sum(row["copies"] for row in own)),
                spread([row["nearest"] for row in own], 2),
                spread([100 * row["nearer"] for row in own], 0),
            ]
        )
    return table(head, rows)


def fuzz(head: list[str]) -> str:
    found = stored("fuzz")
    rows = [
        [name, f"{row['executions']:,}", str(row["edges"]), f"{row['seconds']:.0f}", str(row["crashes"])]
        for name, row in found["targets"].items()
    ]
    return table(
        head, [*rows, ["all", f"{found['executions']:,}", "", f"{found['seconds']:.0f}", str(found["crashes"])]]
    )


def demo() -> str:
    return "".join(f"    {line}".rstrip() + "\n" for line in (FIGURES / "demo.txt").read_text().splitlines()).rstrip()


ENGLISH = {
    "demo": demo,
    "quality": lambda: quality(
        ["`sparring train mnist`", "budget", "FID", "share of each digit", "label read as asked", "seconds"],
        {"use": "as it is: conditional", "ignore": "`--labels ignore`"},
    ),
    "first_gan": lambda: first_gan(["FID after 100 epochs", "share of each digit", "seconds"]),
    "throughput": lambda: throughput(["networks of", "", "images/s, median (least to most)", "ratio"]),
    "judging": lambda: judging(["samples of 28×28", "seconds, median (least to most)", "memory of the process"]),
    "health": lambda: health(["run", "alarms it should raise", "seeds on which it did"], "none"),
    "looking": lambda: looking(["recipe", "percent of a step, mean (least to most)"]),
    "stopping": lambda: stopping(
        [
            "recipe, four times too long",
            "seed",
            "set aside",
            "samples judged",
            "chosen checkpoint: held-out FID",
            "over the best of its own run",
            "over the best of a run without patience too",
            "budget used",
        ]
    ),
    "modes": lambda: modes(
        ["data", "runs with all modes", "high quality, mean (least to most)", "reverse KL", "seconds"]
    ),
    "games": lambda: games(
        [
            "game",
            "ring8: modes of 8",
            "high quality, %",
            "reverse KL",
            "grid25: modes of 25",
            "high quality, %",
            "reverse KL",
        ]
    ),
    "killing": lambda: killing(
        ["run", "kills", "of them in", "checkpoints unreadable", "differences", "steps to make again, median"]
    ),
    "company": lambda: company(
        [
            "kills",
            "of them",
            "checkpoints unreadable",
            "differences",
            "until all have ended, median",
            "one process that goes on: largest difference",
        ]
    ),
    "told": lambda: told(["run", "exit codes", "until exit, median", "differences"]),
    "damage": lambda: damage(["file", "damages", "found", "flips that safetensors alone reads"]),
    "full": lambda: full(
        ["disk full at", "runs", "exit codes", "tracebacks", "half files", "different after room was made"],
        {False: "one write", True: "one write and all after it"},
    ),
    "memory": lambda: memory(["of the process", "growth over 100,000 steps, second tenth to last"]),
    "streams": lambda: streams(
        ["images", "held they are", "allowed beyond the run itself", "speed over held, median", "RSS grew by at most"]
    ),
    "choice": lambda: choice(
        ["data", "time", "recipe", "FID, mean (least to most)", "FID∞", "precision", "recall", "images seen"]
    ),
    "stability": lambda: stability(
        [
            "R3GAN",
            "images",
            "rate",
            "width",
            "best FID, mean (least to most)",
            "FID at the end",
            "largest difference of logits",
            "finite",
            "stable",
        ]
    ),
    "series": lambda: series(
        [
            "data",
            "series",
            "seconds, mean (least to most)",
            "discriminative score",
            "of other real series",
        ]
    ),
    "texts": lambda: texts(["words", "valid, %", "copied, %", "distinct, %"]),
    "few": lambda: few(
        [
            "recipe",
            "augmentation",
            "time",
            "FID, mean (least to most)",
            "KID",
            "copies, %",
            "copies of unseen images, %",
            "authentic, %",
        ]
    ),
    "tables_real": lambda: tables_real(
        [
            "table",
            "rows",
            "score, trained on real rows",
            "on as many synthetic ones, over that",
            "on 2,000 synthetic ones, over that",
            "error, real over synthetic",
            "rows copied",
            "distance to the nearest real row, over that of held-out rows",
            "nearer than the median held-out row, %",
        ]
    ),
    "fuzz": lambda: fuzz(["what reads", "executions", "edges reached", "seconds", "crashes"]),
    "theory_values": lambda: theory(
        ["mu", "minimax", "relativistic", "least squares", "hinge", "W1 (Wasserstein)"], "values"
    ),
    "theory_moves": lambda: theory(["game", "with", "steps", "predicted", "simulated", "played"], "moves"),
}
CHINESE = {
    "demo": demo,
    "quality": lambda: quality(
        ["`sparring train mnist`", "预算", "FID", "各数字所占比例", "标签读对的比例", "秒"],
        {"use": "默认：有条件", "ignore": "`--labels ignore`：无条件"},
    ),
    "first_gan": lambda: first_gan(["100 轮之后的 FID", "各数字所占比例", "秒"]),
    "throughput": lambda: throughput(["网络来自", "", "每秒图像数，中位数（最小至最大）", "倍数"]),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when something would change")
    check = parser.parse_args().check
    stale = []
    for name in DOCUMENTS:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        makers = CHINESE if ".zh-CN." in name else ENGLISH
        after = re.sub(
            r"(<!-- figures:(\w+) -->\n)(.*?)(<!-- /figures -->)",
            lambda found, makers=makers: (  # type: ignore[misc]
                f"{found[1]}\n{made(makers[found[2]], found[3])}\n\n{found[4]}"
            ),
            before,
            flags=re.DOTALL,
        )
        if after != before:
            stale.append(name)
            if not check:
                path.write_text(after, encoding="utf-8")
    print("\n".join(f"{name}: {'stale' if check else 'rewritten'}" for name in stale) or "all documents are up to date")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
