"""A process to be killed: appends and settles without end, and prints what was acknowledged."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from crossdock.engines.sqlite.engine import SqliteEngine
from crossdock.testing.samples import NOW, draft


async def main(path: Path, run: str) -> None:
    engine = SqliteEngine(path, lambda: NOW)
    await engine.start()

    async def send(worker: int) -> None:
        number = 0
        while True:
            key = f"{run}-{worker}-{number}"
            await engine.journal.append([draft(key)])
            sys.stdout.write(key + "\n")
            sys.stdout.flush()
            number += 1

    await asyncio.gather(*(send(worker) for worker in range(8)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
