"""Checks a finished history in PostgreSQL: nothing accepted is lost, nothing is recorded twice, every text was current when it was committed.

Usage: history.py DATABASE_URL [--acknowledged FILE] [--running] [--json]

DATABASE_URL needs the right to read the schema's own tables (its owner, or scriptorium_broker). FILE holds what clients were told, a JSON map a
line: {"task": id, "queue": name, "key": key or null, "state": the end that they were told, or absent}. --running allows tasks that have not ended.
Exit status: 0 the history is whole, 1 it is not, 2 the command line is wrong, 69 the database is away or cannot be read.

Only for histories without retention: what was dropped on purpose looks lost.
"""

import argparse
import dataclasses
import json
import sys
import threading
import uuid

import psycopg2


class Ledger:
    """What clients were told, from whichever thread: the accepted tasks, and the ends that they saw."""

    def __init__(self):
        self.lock = threading.Lock()
        self.tasks = {}
        self.states = {}
        self.keys = {}
        self.contradictions = []

    def accepted(self, task, queue="default", key=None):
        """A submit was acknowledged. The same key must always mean the same task."""
        with self.lock:
            self.tasks[task] = (queue, key)
            if key is not None and self.keys.setdefault((queue, key), task) != task:
                self.contradictions.append(f"key {key} of queue {queue} was acknowledged as {self.keys[queue, key]} and as {task}")

    def ended(self, task, state):
        """A client was told how a task ended: that stands."""
        with self.lock:
            if self.states.setdefault(task, state) != state:
                self.contradictions.append(f"{task} was said to have {self.states[task]}, then {state}")

    def retried(self, task):
        """A client queued it anew: the end that was told is history."""
        with self.lock:
            self.states.pop(task, None)

    def write(self, path):
        with self.lock, open(path, "w") as file:
            for task, (queue, key) in self.tasks.items():
                file.write(json.dumps({"task": task, "queue": queue, "key": key, "state": self.states.get(task)}) + "\n")

    @staticmethod
    def read(path):
        ledger = Ledger()
        with open(path) as file:
            for line in filter(str.strip, file):
                entry = json.loads(line)
                ledger.accepted(str(uuid.UUID(str(entry["task"]))), entry.get("queue") or "default", entry.get("key"))
                if entry.get("state"):
                    ledger.ended(str(uuid.UUID(entry["task"])), entry["state"])
        return ledger


LOST, TWICE, WRONG = "lost", "recorded twice", "wrong"


@dataclasses.dataclass(frozen=True)
class Rule:
    """One thing that must not be: a query that returns what breaks it, each row a task and what is wrong with it."""

    kind: str
    name: str
    query: str


RULES = [
    Rule(LOST, "a task neither waits, runs nor has ended", """
        SELECT t.id, '' FROM scriptorium.task t
        WHERE NOT EXISTS (SELECT FROM scriptorium.hot h WHERE h.task = t.id) AND NOT EXISTS (SELECT FROM scriptorium.outcome o WHERE o.task = t.id)"""),
    Rule(TWICE, "a task has ended and still waits or runs", """
        SELECT h.task, o.state FROM scriptorium.hot h JOIN scriptorium.outcome o ON o.task = h.task"""),
    Rule(TWICE, "a text is recorded twice", """
        SELECT g.task_id, 'sample ' || g.sample || ', ' || count(*) || ' rows' FROM scriptorium.generations g
        GROUP BY g.task_id, g.sample HAVING count(*) > 1"""),
    Rule(TWICE, "a task has succeeded in more than one attempt", """
        SELECT a.task_id, count(*) || ' attempts' FROM scriptorium.attempts a WHERE a.outcome = 'succeeded' GROUP BY a.task_id HAVING count(*) > 1"""),
    Rule(TWICE, "a key names more than one task", """
        SELECT t.key, count(*) || ' tasks of queue ' || t.queue FROM scriptorium.task t WHERE t.key IS NOT NULL
        GROUP BY t.queue, t.key HAVING count(*) > 1"""),
    Rule(WRONG, "a text belongs to another attempt than the one that succeeded", """
        SELECT g.task_id, 'attempt ' || g.attempt || ' wrote, attempt ' || o.attempt || ' ' || coalesce(o.ending, 'never ran')
        FROM scriptorium.generations g JOIN scriptorium.outcome o ON o.task = g.task_id
        WHERE o.state = 'succeeded' AND (g.attempt, g.worker) IS DISTINCT FROM (o.attempt, o.worker)"""),
    Rule(WRONG, "a task that has not succeeded has texts", """
        SELECT DISTINCT g.task_id, coalesce(o.state, 'not ended') FROM scriptorium.generations g
        LEFT JOIN scriptorium.outcome o ON o.task = g.task_id WHERE o.state IS DISTINCT FROM 'succeeded'"""),
    Rule(WRONG, "a task has succeeded without its attempt", """
        SELECT o.task, coalesce(o.ending, 'no attempt') FROM scriptorium.outcome o
        WHERE (o.state = 'succeeded') <> coalesce(o.ending = 'succeeded', false)
            AND NOT (o.state = 'failed' AND o.ending = 'succeeded' AND o.error IS NOT NULL)"""),
    Rule(WRONG, "a generate task has other texts than it asked for", """
        SELECT w.id, 'wanted ' || w.wanted || ', found ' || w.found FROM (
            SELECT t.id, t.n * t.prompts AS wanted, count(g.id) AS found, count(DISTINCT g.sample) AS samples,
                coalesce(min(g.sample), 0) AS first, coalesce(max(g.sample), -1) AS last, bool_or(g.prompt_index <> g.sample / t.n) AS misplaced
            FROM (
                SELECT t.id, coalesce((t.params ->> 'n')::numeric::integer, 1) AS n, coalesce(jsonb_array_length(t.params -> 'prompts'), 1) AS prompts
                FROM scriptorium.task t JOIN scriptorium.outcome o ON o.task = t.id WHERE t.kind = 'generate' AND o.state = 'succeeded'
            ) t LEFT JOIN scriptorium.generations g ON g.task_id = t.id
            GROUP BY t.id, t.n, t.prompts
        ) w WHERE w.found <> w.wanted OR w.samples <> w.wanted OR w.first <> 0 OR w.last <> w.wanted - 1 OR w.misplaced"""),
    Rule(WRONG, "attempts are not numbered without gaps", """
        SELECT o.task, 'numbers ' || array_to_string(array_agg(a.attempt ORDER BY a.attempt), ',') || ' of ' || o.attempt
        FROM scriptorium.outcome o LEFT JOIN scriptorium.attempts a ON a.task_id = o.task
        GROUP BY o.task, o.attempt
        HAVING count(a.attempt) <> o.attempt OR count(DISTINCT a.attempt) <> o.attempt OR coalesce(min(a.attempt), 1) <> 1
            OR coalesce(max(a.attempt), 0) <> o.attempt"""),
    Rule(WRONG, "an attempt of an ended task has no end", """
        SELECT a.task_id, 'attempt ' || a.attempt FROM scriptorium.attempts a
        WHERE a.outcome IS NULL AND EXISTS (SELECT FROM scriptorium.outcome o WHERE o.task = a.task_id)"""),
    Rule(WRONG, "a task has failed more often than it may", """
        SELECT o.task, o.failures || ' of ' || t.max_attempts FROM scriptorium.outcome o JOIN scriptorium.task t ON t.id = o.task
        WHERE o.failures > t.max_attempts"""),
    Rule(WRONG, "a task was started before those that it waits for had succeeded", """
        WITH unmet AS MATERIALIZED (
            SELECT t.id, p.parent FROM scriptorium.task t CROSS JOIN LATERAL unnest(t.after) AS p (parent)
            WHERE NOT EXISTS (SELECT FROM scriptorium.outcome o WHERE o.task = p.parent AND o.state = 'succeeded')
        )
        SELECT u.id, 'waits for ' || u.parent FROM unmet u WHERE EXISTS (SELECT FROM scriptorium.attempts a WHERE a.task_id = u.id)"""),
    Rule(WRONG, "an ended task still waits for another", """
        SELECT a.child, 'for ' || a.parent FROM scriptorium.task_after a WHERE EXISTS (SELECT FROM scriptorium.outcome o WHERE o.task = a.child)"""),
    Rule(WRONG, "equal model, parameters and seed gave different texts", """
        SELECT (array_agg(g.task_id ORDER BY g.id))[1], count(DISTINCT g.text) || ' texts of seed ' || g.seed FROM (
            -- Under torch the parameters name n: it draws for all texts of a prompt at once.
            SELECT g.*, g.params - '{prompt,prompts,stream}'::text[] AS choice, g.sample % t.n AS draw_of
            FROM scriptorium.generations g JOIN (
                SELECT t.id, coalesce((t.params ->> 'n')::numeric::integer, 1) AS n FROM scriptorium.task t
            ) t ON t.id = g.task_id
        ) g
        GROUP BY g.checkpoint_sha256, g.tokenizer_sha256, g.numerics, g.precision, g.rng, g.seed, g.prompt, g.choice, g.draw_of
        HAVING count(DISTINCT g.text) > 1 OR count(DISTINCT g.token_ids) > 1"""),
    Rule(WRONG, "a finetune has succeeded without its checkpoint or steps", """
        SELECT o.task, 'checkpoint ' || coalesce(c.id::text, 'missing') || ', ' || coalesce(s.steps, 0) || ' steps logged, the last '
            || coalesce(s.last, 0) || ' of ' || (o.result ->> 'steps')
        FROM scriptorium.outcome o JOIN scriptorium.task t ON t.id = o.task AND t.kind = 'finetune'
        LEFT JOIN scriptorium.checkpoints c ON c.task_id = o.task AND c.step = (o.result ->> 'steps')::integer
        LEFT JOIN LATERAL (
            SELECT count(*) AS steps, max(s.step) AS last FROM scriptorium.training_steps s WHERE s.task_id = o.task
        ) s ON true
        WHERE o.state = 'succeeded' AND (c.id IS NULL OR s.last IS DISTINCT FROM (o.result ->> 'steps')::integer)"""),
]  # fmt: skip

UNFINISHED = Rule(WRONG, "a task has not ended", "SELECT h.task, CASE WHEN h.lease IS NULL THEN 'queued' ELSE 'running' END FROM scriptorium.hot h")

# What was told to clients, compared with what stands: parameters are arrays of ids and, for the second, of states.
ACKNOWLEDGED = Rule(LOST, "an accepted task is not there", """
    SELECT a.id, '' FROM unnest(%s::uuid[]) AS a (id) WHERE NOT EXISTS (SELECT FROM scriptorium.task t WHERE t.id = a.id)""")
TOLD = Rule(WRONG, "a task did not end as its client was told", """
    SELECT a.id, 'told ' || a.state || ', stands ' || coalesce(o.state, 'not ended') FROM unnest(%s::uuid[], %s::text[]) AS a (id, state)
    LEFT JOIN scriptorium.outcome o ON o.task = a.id WHERE o.state IS DISTINCT FROM a.state""")  # fmt: skip


@dataclasses.dataclass
class Fault:
    """A broken rule, with how often and a few of the cases."""

    kind: str
    name: str
    count: int
    examples: list

    def __str__(self):
        return f"{self.name}: {self.count}" + "".join(f"\n    {task} {what}".rstrip() for task, what in self.examples)


@dataclasses.dataclass
class Report:
    """The verdict on a history: its tally, and every broken rule."""

    tally: dict
    faults: list

    @property
    def is_whole(self):
        return not self.faults

    def as_json(self):
        return {"whole": self.is_whole, "tally": self.tally, "faults": [dataclasses.asdict(fault) for fault in self.faults]}

    def __str__(self):
        rows = [(name, value) for name, value in self.tally.items() if not isinstance(value, dict)]
        for name, values in self.tally.items():
            if isinstance(values, dict):
                rows += [(f"{name}: {reason}", count) for reason, count in values.items()]
        width = max(len(name) for name, _ in rows)
        table = "\n".join(f"{name:<{width}}  {value:>10}" for name, value in rows)
        return "\n".join([table, *map(str, self.faults)])


def broken(cursor, rule, *values):
    """What breaks a rule, or None."""
    cursor.execute(f"SELECT x.*, count(*) OVER () FROM ({rule.query}) x LIMIT 10", values or None)
    rows = cursor.fetchall()
    return Fault(rule.kind, rule.name, rows[0][2], [(str(row[0]), str(row[1])) for row in rows]) if rows else None


def check(connection, ledger=None, running=False):
    """The report on all that stands in a database, and on what clients were told of it."""
    with connection, connection.cursor() as cursor:
        # One picture for all rules; and no rule waits for ever.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '10min'; SET LOCAL jit = off")
        faults = [broken(cursor, rule) for rule in ([] if running else [UNFINISHED]) + RULES]
        if ledger:
            faults.append(broken(cursor, ACKNOWLEDGED, list(ledger.tasks)))
            faults.append(broken(cursor, TOLD, list(ledger.states), list(ledger.states.values())))
            if ledger.contradictions:
                examples = [(text, "") for text in ledger.contradictions[:10]]
                faults.append(Fault(TWICE, "clients were told contradictions", len(ledger.contradictions), examples))
        faults = [fault for fault in faults if fault]
        return Report(count(cursor, ledger, faults), faults)


def count(cursor, ledger, faults):
    """How many of what there is."""

    def rows(query):
        cursor.execute(query)
        return {str(name): number for name, number in cursor.fetchall()}

    states = rows("SELECT o.state, count(*) FROM scriptorium.outcome o GROUP BY 1")
    failures = rows("SELECT coalesce(o.error ->> 'code', 'none'), count(*) FROM scriptorium.outcome o WHERE o.state = 'failed' GROUP BY 1 ORDER BY 1")
    attempts = rows("SELECT coalesce(a.outcome, 'running'), count(*) FROM scriptorium.attempts a GROUP BY 1 ORDER BY 1")
    cursor.execute("SELECT (SELECT count(*) FROM scriptorium.task), (SELECT count(*) FROM scriptorium.generations)")
    submitted, texts = cursor.fetchone()
    return {
        "submitted": submitted,
        **({"acknowledged": len(ledger.tasks)} if ledger else {}),
        "succeeded": states.get("succeeded", 0),
        "failed": failures,
        "cancelled": states.get("cancelled", 0),
        "texts": texts,
        "attempts": attempts,
        "refused stale writes": attempts.get("superseded", 0),
        "lost": sum(fault.count for fault in faults if fault.kind == LOST),
        "recorded twice": sum(fault.count for fault in faults if fault.kind == TWICE),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database_url")
    parser.add_argument("--acknowledged", metavar="FILE", help="what clients were told, a JSON map a line")
    parser.add_argument("--running", action="store_true", help="tasks may still wait or run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    try:
        ledger = Ledger.read(arguments.acknowledged) if arguments.acknowledged else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"--acknowledged: {arguments.acknowledged}: {error}")
    try:
        connection = psycopg2.connect(arguments.database_url)
    except psycopg2.OperationalError as error:
        print(f"the database is away: {str(error).splitlines()[0]}", file=sys.stderr)
        return 69
    try:
        report = check(connection, ledger, arguments.running)
    except psycopg2.Error as error:
        # That it could not be read is no verdict on the history.
        print(f"the history cannot be read: {str(error).splitlines()[0]}", file=sys.stderr)
        return 69
    print(json.dumps(report.as_json()) if arguments.json else report)
    return 0 if report.is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
