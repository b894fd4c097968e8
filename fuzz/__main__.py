"""``python -m fuzz``: fuzz some or all decoders for a while.

Prints a line for each; ends with 1 if one broke, its input saved as a file.
"""

import argparse
import hashlib
import sys
import traceback
from pathlib import Path

from .decoders import DECODERS
from .engine import Decoder, Finding, fuzz, seeds_of


def main() -> int:
    """Fuzz what the command line names; returns the exit code."""
    names = [decoder.name for decoder in DECODERS]
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz Encke's decoders.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; else all")
    parser.add_argument("--seconds", type=float, default=10, help="for each decoder (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs (0)")
    parser.add_argument(
        "--save", type=Path, default=Path("fuzz-found"), help="where inputs that break one go"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"no decoder is called {unknown.pop()}; there are {', '.join(names)}")
    broken = 0
    for decoder in DECODERS:
        if not options.names or decoder.name in options.names:
            seeds = [path.read_bytes() for path in seeds_of(decoder.name)]
            run = fuzz(decoder, seeds, seed=options.seed, seconds=options.seconds)
            rate = run.executions / max(run.seconds, 0.001)
            print(
                f"{decoder.name:<12} {run.executions:>9,} executions {run.seconds:6.1f} s"
                f" {rate:>8,.0f}/s {run.outcomes:>6,} outcomes"
            )
            if run.finding is not None:
                broken += 1
                report(decoder, run.finding, options.save)
    return 1 if broken else 0


def report(decoder: Decoder, finding: Finding, directory: Path) -> None:
    """Save the input that broke `decoder`, and say what happened."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{decoder.name}-{hashlib.sha256(finding.data).hexdigest()[:12]}"
    path.write_bytes(finding.data)
    traceback.print_exception(finding.error, file=sys.stdout)
    print(f"{decoder.name} broke; its input is in {path}: {finding.data[:200]!r}")


if __name__ == "__main__":
    sys.exit(main())
