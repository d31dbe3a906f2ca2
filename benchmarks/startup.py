"""How long `pb` takes to answer: seconds of the median of five runs, and the ratio to an empty Python program.

python benchmarks/startup.py

Targets: `pb --help` under 0.5 s, `pb ls` under 1 s.
"""

import statistics
import subprocess
import sys
import time

EMPTY = [sys.executable, "-c", "pass"]
COMMANDS = {
    "pb --help": ["--help"],
    "pb --version": ["--version"],
    "pb bench --help": ["bench", "--help"],
    "pb ls": ["ls"],
}


def seconds(command: list[str], runs: int = 5) -> float:
    """Median wall time of a command, after one run that fills the caches."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    empty = seconds(EMPTY)
    print(f"{'python -c pass':<18}{empty:7.3f} s")
    for name, arguments in COMMANDS.items():
        taken = seconds([sys.executable, "-m", "pb_cli", *arguments])
        print(f"{name:<18}{taken:7.3f} s{taken / empty:7.1f} x")


if __name__ == "__main__":
    main()
