"""Whether what is installed is what was tested and has no known holes: versions against constraints and advisories.

    python bench/audit.py [--offline] [--out docs/figures/audit.json]

Every installed version must be the one in constraints.txt, and outside of the range of every known advisory. The list
comes from pip-audit (https://pypi.org/project/pip-audit/) where it is installed and reaches its database; else from
the advisories below, which are those about what this project depends on that were found on the day that is named.
The exit code is 0 when nothing is found, else 1. pyproject.toml's least versions are held against the same list.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
UNTIL = "2026-11-21"
NOT_OURS = frozenset({"pip", "setuptools", "wheel"})
"""What an environment comes with; nothing here imports it, and constraints.txt leaves it open."""


class Advisory(NamedTuple):
    """Versions below `fixed` are affected, from `since` on. Sources are entries of https://osv.dev, like the names."""

    package: str
    name: str
    fixed: str
    what: str
    source: str = ""
    since: str = "0"

    @property
    def address(self) -> str:
        return f"https://osv.dev/vulnerability/{self.source or self.name}"

    def affects(self, version: Version) -> bool:
        return Version(self.since) <= version < Version(self.fixed)


ADVISORIES = (
    Advisory("torch", "CVE-2025-32434", "2.6.0", "torch.load runs code in spite of weights_only"),
    Advisory("torch", "CVE-2026-24747", "2.10.0", "weights_only's reader corrupts memory", "GHSA-63cw-57p8-fm3p"),
    Advisory("torch", "CVE-2026-4538", "2.11.0", "loading of pt2 archives unpickles", "PYSEC-2026-139"),
    Advisory("torch", "CVE-2025-3000", "2.13.0", "torch.jit.script corrupts memory", "GHSA-rrmf-rvhw-rf47"),
    Advisory("pillow", "CVE-2026-25990", "12.1.1", "a PSD file writes out of bounds", since="10.3.0"),
    Advisory("pillow", "CVE-2026-42308", "12.2.0", "font advances overflow"),
    Advisory("pillow", "PYSEC-2026-2251", "12.2.0", "nested coordinates overflow the heap", since="11.2.1"),
    Advisory("pillow", "CVE-2026-59197", "12.3.0", "RankFilter writes out of bounds", "GHSA-xj96-63gp-2gmr"),
    Advisory("pillow", "CVE-2026-59198", "12.3.0", "a TGA file discloses the heap", "GHSA-fj7v-r99m-22gq"),
    Advisory("pillow", "CVE-2026-59199", "12.3.0", "paste and crop write out of bounds", "GHSA-6r8x-57c9-28j4"),
    Advisory("pillow", "CVE-2026-59200", "12.3.0", "a PDF stream is a decompression bomb", "GHSA-jjj6-mw9f-p565"),
    Advisory("pillow", "CVE-2026-59204", "12.3.0", "a JPEG 2000 file takes unbounded memory"),
    Advisory("pillow", "CVE-2026-54058", "12.3.0", "a McIdas file reads out of bounds"),
    Advisory("numpy", "CVE-2021-34141", "1.22.0", "an incomplete comparison of strings"),
    Advisory("scipy", "CVE-2023-25399", "1.10.0", "a leak of references"),
    Advisory("scikit-learn", "CVE-2024-5206", "1.5.0", "a vectoriser keeps tokens of its data"),
    Advisory("joblib", "CVE-2022-21797", "1.2.0", "a string of options is evaluated"),
    Advisory("jinja2", "CVE-2024-56326", "3.1.5", "the sandbox is left through str.format", "GHSA-q2x7-8rv6-6q7h"),
    Advisory("jinja2", "CVE-2024-56201", "3.1.5", "a template's file name runs code", "GHSA-gmj6-6f8f-6699"),
    Advisory("jinja2", "CVE-2025-27516", "3.1.6", "the sandbox is left through |attr", "GHSA-cpwx-vrp4-4pq7"),
    Advisory("requests", "CVE-2024-35195", "2.32.0", "certificates go unchecked after a first unchecked request"),
    Advisory("requests", "CVE-2026-25645", "2.33.0", "predictable names of temporary files", "GHSA-gc5v-m9x4-r6x2"),
    Advisory("urllib3", "CVE-2025-66418", "2.6.0", "unbounded chains of decompression"),
    Advisory("urllib3", "CVE-2025-66471", "2.6.0", "a decompression bomb"),
    Advisory("urllib3", "CVE-2026-21441", "2.6.3", "a decompression bomb in a redirect"),
    Advisory("urllib3", "CVE-2026-44431", "2.7.0", "secrets follow a redirect", "PYSEC-2026-141", since="1.23"),
    Advisory("urllib3", "CVE-2026-44432", "2.7.0", "a decompression bomb"),
    Advisory("urllib3", "CVE-2026-97687", "2.8.0", "a proxy's certificates go unchecked"),
    Advisory("urllib3", "CVE-2026-97689", "2.8.0", "the size of a chunk is unbounded"),
    Advisory("idna", "CVE-2024-3651", "3.7", "a name that takes quadratic time"),
    Advisory("pygments", "CVE-2026-4539", "2.20.0", "a lexer takes exponential time"),
    Advisory("filelock", "CVE-2025-68146", "3.20.1", "a lock follows a symbolic link"),
    Advisory("filelock", "CVE-2026-22701", "3.20.3", "a soft lock follows a symbolic link"),
    Advisory("protobuf", "CVE-2026-0994", "6.33.5", "nested messages exhaust the stack"),
    Advisory("onnx", "CVE-2025-51480", "1.18.0", "external data are written anywhere", "PYSEC-2025-148"),
    Advisory("onnx", "CVE-2026-27489", "1.21.0", "external data are read through a link", "PYSEC-2026-2239"),
    Advisory("onnx", "CVE-2026-34445", "1.21.0", "external data set attributes", "PYSEC-2026-2240"),
    Advisory("onnx", "CVE-2026-34447", "1.21.0", "external data are read through a link", "PYSEC-2026-104"),
    Advisory("anyio", "CVE-2026-63374", "4.14.2", "a certificate of a like name is taken", "GHSA-82r6-8w77-94w6"),
    Advisory("anyio", "CVE-2026-64847", "4.14.2", "workers that wait for ever", "GHSA-5p39-cfhj-2xmp"),
    Advisory("h11", "CVE-2025-43859", "0.16.0", "chunks with damaged ends are taken"),
    Advisory("httpx2", "GHSA-7mj9-2mp8-4m2p", "2.10.0", "WebSockets through SOCKS go without TLS"),
    Advisory("httpx2", "GHSA-f2fp-rgf2-35cp", "2.10.0", "lines of events take quadratic time"),
    Advisory("httpx2", "GHSA-h4x7-gw46-3wm6", "2.11.0", "headers are put into parts of a form"),
    Advisory("httpx2", "GHSA-pf96-p4fj-6566", "2.11.0", "two lengths that contradict each other are sent"),
    Advisory("httpx2", "GHSA-8xx6-hgc6-gc2m", "2.12.0", "a decompression bomb"),
    Advisory("httpcore2", "GHSA-7mj9-2mp8-4m2p", "2.10.0", "WebSockets through SOCKS go without TLS"),
    Advisory("pyyaml", "CVE-2020-14343", "5.4", "the full loader runs code"),
    Advisory("pytest", "CVE-2025-71176", "9.0.3", "temporary folders of known names"),
    Advisory("tqdm", "CVE-2024-34062", "4.66.3", "an option is evaluated"),
)  # fmt: skip


def installed() -> dict[str, str]:
    """Every distribution of this environment by its canonical name."""
    found = {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}
    return {name: version for name, version in sorted(found.items()) if name != "sparring"}


def constrained(text: str) -> dict[str, str]:
    """The versions that constraints.txt names."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    pairs = [re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line) for line in lines if line]
    if not all(pairs):
        raise ValueError("constraints.txt: expected NAME==VERSION in every line")
    return {canonicalize_name(pair[1]): pair[2] for pair in pairs if pair}


def differences(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """What is installed and not as constraints.txt says. A local version such as 2.13.0+cpu is its public one."""
    said = []
    for name, version in found.items():
        if name in NOT_OURS:
            continue
        if name not in wanted:
            said.append(f"{name} {version}: not in constraints.txt")
        elif Version(version).public != wanted[name]:
            said.append(f"{name} {version}: constraints.txt has {wanted[name]}")
    return said


def affected(found: dict[str, str], advisories: Iterable[Advisory] = ADVISORIES) -> list[str]:
    """Which installed versions an advisory is about."""
    return [
        f"{each.package} {found[each.package]}: {each.name}, {each.what}; fixed in {each.fixed} ({each.address})"
        for each in advisories
        if each.package in found and each.affects(Version(found[each.package]))
    ]


def least(pyproject: str) -> dict[str, str]:
    """The lower bound of each dependency that pyproject.toml names with one."""
    project = tomllib.loads(pyproject)["project"]
    texts = [*project["dependencies"], *(t for extra in project["optional-dependencies"].values() for t in extra)]
    bounds: dict[str, str] = {}
    for text in texts:
        requirement = Requirement(text)
        for each in requirement.specifier:
            if each.operator == ">=":
                bounds[canonicalize_name(requirement.name)] = each.version
    return bounds


def by_pip_audit() -> list[str] | None:
    """What pip-audit says, or None where it is not installed or gets no answer."""
    command = shutil.which("pip-audit", path=str(Path(sys.executable).parent)) or shutil.which("pip-audit")
    if command is None:
        return None
    asked = [command, "--local", "--skip-editable", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300)
    try:
        rows = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    return [
        f"{row['name']} {row['version']}: {hole['id']}; fixed in {', '.join(hole['fix_versions']) or 'no version yet'}"
        for row in rows
        for hole in row.get("vulns", ())
        if row["name"] not in NOT_OURS
    ]


def audit(*, offline: bool) -> dict[str, Any]:
    """Everything that is found, and by what."""
    found = installed()
    asked = None if offline else by_pip_audit()
    listed = affected(found)
    return {
        "date": datetime.date.today().isoformat(),
        "checked": len(found),
        "advisories": f"the {len(ADVISORIES)} listed here, looked up on {UNTIL}" if asked is None else "pip-audit",
        "differences": differences(found, constrained((ROOT / "constraints.txt").read_text(encoding="utf-8"))),
        "affected": listed if asked is None else sorted({*asked, *listed}),
        "least": affected(least((ROOT / "pyproject.toml").read_text(encoding="utf-8"))),
    }


def main() -> int:
    """Prints what is found; 1 when that is anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offline", action="store_true", help="do not ask pip-audit")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = audit(offline=options.offline)
    print(f"{found['checked']} packages, against constraints.txt and {found['advisories']}")
    said = [
        *found["differences"],
        *(f"installed: {text}" for text in found["affected"]),
        *(f"pyproject.toml allows {text}" for text in found["least"]),
    ]
    print("\n".join(said) or "nothing found")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
