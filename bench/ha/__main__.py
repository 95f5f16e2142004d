"""`python -m bench.ha`: a cluster under Patroni, and its primary killed under Crossdock's load.

Per kill the time to writable, as senders see it; in the end what was acknowledged and what of it is lost, which must be
nothing. Then the trap of a commit whose wait for the standby was cancelled, and the planted fault, asynchronous
replication, which must lose something. Needs Debian's patroni, etcd-server and postgresql-15, and a quarter of an hour.

`--kills N --nodes 2|3 --saboteur-kills N --load crossdock|plain --no-trap`
"""

from __future__ import annotations

import argparse

from bench.ha import plain, trap
from bench.ha.cluster import ClusterFailed, cluster
from bench.ha.estate import books, estate, lost, tills
from bench.ha.failover import Outcome, fail_over
from bench.stage import say
from crossdock.demo.processes import DemoFailed


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=3, choices=(2, 3))
    parser.add_argument("--saboteur-kills", type=int, default=6)
    parser.add_argument("--load", default="crossdock", choices=("crossdock", "plain"))
    parser.add_argument("--no-trap", action="store_true")
    return parser.parse_args()


def with_crossdock(kills: int, nodes: int, *, trapped: bool) -> bool:
    """Whether everything that was acknowledged is there and was delivered."""
    with cluster(nodes) as servers, estate(servers) as one:
        with tills(one) as word:
            silences = fail_over(servers, word, kills, say, between=one.sell)
        found = books(one)
        outcome = Outcome(silences, len(word.ids) + one.sold, found.lost)
        say(f"  {outcome.shown()}; {found.shown()}")
        say(f"  refused meanwhile: {word.refusals()}; 503 without Retry-After: {word.unhelpful}")
        right = found.right and not word.unhelpful
        if not trapped:
            return right
        say("The trap: a commit whose wait for the standby is cancelled")
        say(f"  {trap.bare(servers).shown()}")
        seen = trap.crossdock(servers, one)
        say(f"  {seen.shown()}" + ("" if seen.told else "; nothing stood alone: not shown"))
        return right and seen.right and seen.told


def sabotaged(kills: int, nodes: int) -> int:
    """How much asynchronous replication lost under the same load."""
    with cluster(nodes, synchronous=False) as servers, estate(servers) as one:
        with tills(one) as word:
            silences = fail_over(servers, word, kills, say, between=one.sell)
        outcome = Outcome(silences, len(word.ids) + one.sold, lost(one))
        say(f"  {outcome.shown()}")
    return outcome.lost


def with_plain_writers(kills: int, nodes: int, *, synchronous: bool) -> int:
    """How much PostgreSQL alone lost of what it acknowledged."""
    with cluster(nodes, synchronous=synchronous) as servers:
        with plain.writers(servers) as word:
            silences = fail_over(servers, word, kills, say)
        outcome = Outcome(silences, len(word.ids), plain.lost(servers, word))
        say(f"  {outcome.shown()}")
    return outcome.lost


def main() -> int:
    given = options()
    try:
        say(f"Synchronous, strict, {given.nodes} nodes, {given.load} load: the primary is killed {given.kills} times")
        if given.load == "plain":
            right = not with_plain_writers(given.kills, given.nodes, synchronous=True)
        else:
            right = with_crossdock(given.kills, given.nodes, trapped=not given.no_trap)
        say(f"  {'holds' if right else 'BROKEN'}")
        if not given.saboteur_kills:
            return 0 if right else 1
        say("Saboteur: asynchronous replication, and commits that wait for the local disk alone")
        if given.load == "plain":
            gone = with_plain_writers(given.saboteur_kills, given.nodes, synchronous=False)
        else:
            gone = sabotaged(given.saboteur_kills, given.nodes)
        say("  turned it red" if gone else "  NOTHING was lost: not shown")
    except (ClusterFailed, DemoFailed) as failure:
        say(str(failure)[-8_000:])
        return 1
    return 0 if right and gone else 1


if __name__ == "__main__":
    raise SystemExit(main())
