"""The program itself, but that it answers at once who subscribes, logs in or leaves.

python -m tests.e2e.quick --config triage.toml serve
"""

from triage import cli
from triage.operations import scheduler

if __name__ == "__main__":
    scheduler.ANSWER_EVERY_S = 0.1  # type: ignore[assignment]
    cli.main()
