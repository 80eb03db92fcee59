"""A long run of everything at once, and a tally: nothing accepted may be lost, nothing recorded twice.

Usage: soak.py [MINUTES] [--json] [--seed N] [--brokers N] [--workers N] [--keep]

Several brokers and workers on one database serve clients over ZeroMQ (JSON and MessagePack) and SQL, in three phases. `clean` is undisturbed.
In `held` a transaction holds the xmin horizon and every fault befalls at random: processes are killed, stopped and drained, the database is stopped
at once and frozen, answers to brokers and messages to workers are lost, late or doubled, a host's clock jumps, the artifact store's disk is full, others' transactions hold tasks. `recovery` is undisturbed again. Then all tasks must end,
and the history checker (history.py) reads the database.

Exit status: 0 the history is whole, 1 something was lost, recorded twice or otherwise wrong, 2 the command line is wrong.
"""

import argparse
import collections
import contextlib
import dataclasses
import json
import math
import random
import sys
import time

import psycopg2

import history
import load
import wire_proxy
from database import Database, FakeClock
from disk import SmallDisk
from fleet import Fleet
from message_proxy import TO_SERVER, MessageProxy, worker_message
from storm import Horizon, Storm


@dataclasses.dataclass
class Phase:
    """One stretch of the run: what was asked of it, and what came of it."""

    name: str
    seconds: float
    # By the database's clock.
    began: object = None
    ended: object = None
    latencies: list = dataclasses.field(default_factory=list)
    faults: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    tally: dict = dataclasses.field(default_factory=dict)
    reasons: list = dataclasses.field(default_factory=list)


class Soak:
    """The service, its clients and its faults; ``run`` gives the tally."""

    # Parts of the whole that the phases take.
    SHARES = (("clean", 0.2), ("held", 0.6), ("recovery", 0.2))
    # What the artifact store may take, in bytes, where a disk of its own can be mounted.
    DISK = 4 << 30

    def __init__(self, minutes, seed, brokers=2, workers=4, say=lambda text: None):
        self.seed, self.say = seed, say
        self.chance = random.Random(seed)
        self.phases = [Phase(name, minutes * 60 * share) for name, share in self.SHARES]
        self.ledger = history.Ledger()
        self.findings = []
        self.database = Database()
        self.database.start()
        # Half of the brokers reach the database through a proxy, one worker its brokers: the others show what the service does by itself.
        self.wires, self.messages = [], []
        self.database.migrate()
        # Where Debian's faketime is there the last broker's host has a clock that can be set.
        clocks = [FakeClock(self.database.folder)] if FakeClock.is_there() else []
        self.fleet = Fleet(
            self.database, brokers, workers, broker_url=self._url, worker_endpoints=self._endpoints, worker_arguments=["--drain-timeout", "3"],
            broker_env=lambda index: clocks[0].environment if clocks and index == brokers - 1 else None)  # fmt: skip
        self.disk, why_not = SmallDisk.attempt(self.fleet.artifacts, self.DISK)
        if why_not:
            say(f"no fault of the kind disk full: {why_not}")
        self.storm = Storm(self.fleet, self.chance.getrandbits(32), self.wires, self.messages, clocks, [self.disk] if self.disk else [])

    def _url(self, index):
        if index % 2 == 0:
            return self.database.url("scriptorium_broker")
        self.wires.append(wire_proxy.WireProxy(("127.0.0.1", self.database.port)))
        return self.database.url("scriptorium_broker", port=self.wires[-1].port)

    def _endpoints(self, brokers, index):
        if index != 0:
            return [broker.workers for broker in brokers]
        self.messages += [MessageProxy(broker.workers, seed=self.chance.getrandbits(64)) for broker in brokers]
        for proxy in self.messages:
            # Training steps are said once a connection, in their order.
            proxy.spares = lambda direction, frames: direction == TO_SERVER and worker_message(frames)["m"] == "progress"
        return [proxy.endpoint for proxy in self.messages]

    # MARK: The run

    def run(self):
        """All phases, the wait for quiet, and the verdict."""
        self.fleet.start()
        self.fleet.import_reference()
        self.fleet.keep()
        publishers, probe = self.clients()
        for publisher in publishers:
            publisher.start()
        for phase in self.phases:
            self.go_through(phase, publishers, probe)
        self.say("waiting for quiet")
        for publisher in publishers:
            publisher.stopping.set()
        for attempt in (lambda: load.finish(publishers, 180), lambda: self.fleet.settle(300)):
            try:
                attempt()
            except AssertionError as error:
                self.findings.append(str(error))
        return self.take_stock()

    def clients(self):
        """Clients of every kind; and the one that measures."""
        endpoints, url = self.fleet.endpoints, self.database.url("scriptorium_publisher")
        seeds = iter(lambda: self.chance.getrandbits(64), None)
        probe = load.Probe(self.ledger, endpoints, next(seeds))
        publishers = [load.Publisher(self.ledger, endpoints, next(seeds), packed=packed, retries=0.3) for packed in (False, True, True)]
        publishers += [load.SQLPublisher(self.ledger, url, next(seeds), pause=0.05), load.FinetunePublisher(self.ledger, endpoints, next(seeds)), probe]
        return publishers, probe

    def go_through(self, phase, publishers, probe):
        self.say(f"{phase.name}: {phase.seconds:.0f} s")
        is_rough = phase.name == "held"
        phase.began = self.now()
        probe.latencies = phase.latencies
        horizon = Horizon(self.database.url())
        if is_rough:
            horizon.start()
            self.storm.start()
        end = time.monotonic() + phase.seconds
        while time.monotonic() < end and not any(publisher.failure for publisher in publishers):
            time.sleep(0.2)  # the length of the phase; nothing waits on it
        if is_rough:
            self.storm.stop()
            horizon.stop()
            phase.faults = self.storm.counts
            phase.faults["horizon held"] = horizon.transactions
        phase.ended = self.now()

    def now(self):
        return self.database.sql("SELECT clock_timestamp()")[0][0]

    # MARK: The tally

    def take_stock(self):
        self.findings += self.storm.findings + self.fleet.crashes
        with contextlib.closing(psycopg2.connect(self.database.url())) as connection:
            self.report = history.check(connection, self.ledger)
            for phase in self.phases:
                phase.tally = self.count(connection, phase)
                phase.reasons = self.reasons(connection, phase)
        return Tally(self.seed, self.fleet, self.phases, self.report, self.findings)

    @staticmethod
    def count(connection, phase):
        """What became of the tasks of a phase, whenever they ended."""
        with connection, connection.cursor() as cursor:

            def rows(query):
                cursor.execute(query, {"began": phase.began, "ended": phase.ended})
                return cursor.fetchall()

            ends = rows(
                """SELECT state, coalesce(error ->> 'code', ''), count(*) FROM scriptorium.tasks
                   WHERE created_at >= %(began)s AND created_at < %(ended)s GROUP BY 1, 2 ORDER BY 1, 2""")
            attempts = dict(rows(
                """SELECT coalesce(a.outcome, 'running'), count(*) FROM scriptorium.attempts a JOIN scriptorium.tasks t ON t.id = a.task_id
                   WHERE t.created_at >= %(began)s AND t.created_at < %(ended)s GROUP BY 1"""))  # fmt: skip
            ((done,),) = rows("SELECT count(*) FROM scriptorium.tasks WHERE finished_at >= %(began)s AND finished_at < %(ended)s")
        counts = collections.Counter()
        for state, code, number in ends:
            counts[f"{state}: {code}" if state == "failed" else state] += number
        return {
            "submitted": sum(number for _, _, number in ends), **counts,
            "attempts lost with their worker": attempts.get("lost", 0), "attempts given back": attempts.get("released", 0),
            "refused stale writes": attempts.get("superseded", 0), "ended a second": round(done / (phase.ended - phase.began).total_seconds(), 1),
        }  # fmt: skip

    @staticmethod
    def reasons(connection, phase):
        """Why tasks of a phase failed, in words. Paths, digests and numbers are left out, so that equal causes count together."""
        with connection, connection.cursor() as cursor:
            cursor.execute(
                """SELECT kind, error ->> 'code',
                       regexp_replace(regexp_replace(error ->> 'message', '/[^ :,)]+', 'PATH', 'g'), '[0-9a-f]{8,}|[0-9]+', 'N', 'g'), count(*)
                   FROM scriptorium.tasks WHERE state = 'failed' AND created_at >= %s AND created_at < %s
                   GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3""", (phase.began, phase.ended))  # fmt: skip
            return [{"kind": kind, "code": code, "message": message, "tasks": count} for kind, code, message, count in cursor.fetchall()]

    def remove(self, keep=False):
        """Ends everything; the files stay where they are asked for."""
        if self.disk and not keep:
            self.disk.remove()
        self.fleet.remove(keep)
        for proxy in (*self.wires, *self.messages):
            proxy.close()
        self.database.remove(keep)


@dataclasses.dataclass
class Tally:
    """What a soak found."""

    seed: int
    fleet: Fleet
    phases: list
    report: history.Report
    findings: list

    @property
    def is_good(self):
        return self.report.is_whole and not self.findings

    def as_json(self):
        phases = {
            phase.name: {"seconds": round((phase.ended - phase.began).total_seconds(), 1), **phase.tally, **self.latency(phase),
                "faults": dict(phase.faults), "reasons": phase.reasons}
            for phase in self.phases
        }  # fmt: skip
        return {
            "seed": self.seed, "brokers": len(self.fleet.brokers), "workers": len(self.fleet.workers), "good": self.is_good, "phases": phases,
            **self.report.as_json(), "findings": self.findings,
        }  # fmt: skip

    @staticmethod
    def latency(phase):
        """From before a publish to its result at the client, over all of the phase's samples."""
        values = sorted(phase.latencies)
        if not values:
            return {}
        rank = lambda part: values[min(len(values) - 1, math.ceil(part * len(values)) - 1)]
        return {"p50 ms": round(1000 * rank(0.5), 1), "p99 ms": round(1000 * rank(0.99), 1)}

    def __str__(self):
        whole = self.as_json()
        columns = []
        for members in whole["phases"].values():
            faults = members.pop("faults")
            members.pop("reasons")
            columns.append({**members, **{f"fault: {name}": count for name, count in sorted(faults.items())}})
        order = ["seconds", "submitted", "succeeded", "failed", "cancelled", "attempts", "refused", "ended", "p50", "p99", "fault"]
        names = sorted({name for column in columns for name in column}, key=lambda name: (order.index(name.split()[0].rstrip(":")), name))
        width = max(map(len, names))
        lines = [f"seed {self.seed}, {whole['brokers']} brokers, {whole['workers']} workers", " " * width + "".join(f"{name:>12}" for name in whole["phases"])]
        for name in names:
            empty = "-" if name[0] == "p" else 0
            lines.append(f"{name:<{width}}" + "".join(f"{column.get(name, empty):>12}" for column in columns))
        for name in ("submitted", "acknowledged", "texts", "lost", "recorded twice"):
            lines.append(f"{'in all: ' + name:<{width}}{self.report.tally[name]:>12}")
        for phase in self.phases:
            lines += [f"{phase.name}, {reason['tasks']} × {reason['kind']} {reason['code']}: {reason['message']}" for reason in phase.reasons]
        return "\n".join([*lines, *map(str, self.report.faults), *self.findings])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="?", type=float, default=30, help="how long it is under load (30)")
    parser.add_argument("--json", action="store_true", help="print the tally as one JSON object")
    parser.add_argument("--seed", type=int, help="repeat the choices of an earlier run")
    parser.add_argument("--brokers", type=int, default=2)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--keep", action="store_true", help="keep logs, database and what clients were told, also after a good run")
    arguments = parser.parse_args()
    if not 0 < arguments.minutes <= 10080 or arguments.brokers < 1 or arguments.workers < 1:
        parser.error("MINUTES is in 0 … 10080, and there is at least one broker and one worker")
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    say = lambda text: print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)
    say(f"seed {seed}")
    soak = Soak(arguments.minutes, seed, arguments.brokers, arguments.workers, say)
    keeps = True
    try:
        tally = soak.run()
        keeps = arguments.keep or not tally.is_good
        print(json.dumps(tally.as_json()) if arguments.json else tally, flush=True)
    finally:
        if keeps:
            soak.ledger.write(f"{soak.fleet.folder}/ledger.jsonl")
            say(f"kept: {soak.fleet.folder} (logs, and ledger.jsonl for history.py --acknowledged) and {soak.database.folder}")
        soak.remove(keeps)
    return 0 if tally.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
