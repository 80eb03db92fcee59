"""The history checker finds what it is there to find: one history of the product's own making, and each thing that may be wrong with it, one at a time."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
import uuid

import history
import psycopg2
import support
from database import Database, free_port
from fleet import Fleet
from history import Ledger

UNKNOWN = "01890000-0000-7000-8000-000000000001"


@dataclasses.dataclass(frozen=True)
class Break:
    """What is done to a good history, and what must be found then: the tasks that each fault names."""

    statement: str
    found: dict
    running: bool = False


def breaks(rule, *tasks, statement, running=False):
    """A break of one rule alone."""
    return Break(statement, {rule: set(tasks)}, running)


# A waiting task's row of `hot`, and one that runs.
WAITS = """INSERT INTO scriptorium.hot (task, created_at, run_at, rank, queue, client)
    SELECT t.id, t.created_at, t.run_at, 0, t.queue, t.client FROM scriptorium.task t WHERE t.id = {}"""
RUNS = """INSERT INTO scriptorium.hot (task, created_at, run_at, rank, queue, client, attempt, lease, session, broker, started_at)
    SELECT t.id, t.created_at, t.run_at, 0, t.queue, t.client, {}, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now()
    FROM scriptorium.task t WHERE t.id = {}"""

# One more attempt of a task that had two.
ONE_MORE_TRY = """INSERT INTO scriptorium.tries SELECT t.task, {}, t.lease, t.worker, t.broker, t.started_at, t.finished_at, t.outcome, t.error
    FROM scriptorium.tries t WHERE t.task = %(failed)s"""


def copy(task, sample, of, new_sample):
    """One more text for a task, as another task's or its own."""
    return f"SELECT pg_temp.copy(%({task})s, {sample}, %({of})s, {new_sample})"


BREAKS = [
    breaks("a task neither waits, runs nor has ended", "cancelled", statement="DELETE FROM scriptorium.outcome WHERE task = %(cancelled)s"),
    breaks("a task has ended and still waits or runs", "cancelled", statement=WAITS.format("%(cancelled)s"), running=True),
    # One that runs has an attempt besides.
    Break(
        RUNS.format(2, "%(stopped)s"), running=True,
        found={
            "a task has ended and still waits or runs": {"stopped"}, "an attempt of an ended task has no end": {"stopped"},
            "attempts are not numbered without gaps": {"stopped"},
        },
    ),
    # A text of a finetune, which no other rule counts.
    breaks(
        "a text is recorded twice", "finetune",
        statement=f"""{copy("alike", 0, "finetune", 0)}; {copy("alike", 0, "finetune", 0)};
            UPDATE scriptorium.generations g SET attempt = o.attempt, worker = o.worker FROM scriptorium.outcome o
            WHERE g.task_id = %(finetune)s AND o.task = g.task_id""",
    ),
    Break(copy("plain", 1, "plain", 1), {"a text is recorded twice": {"plain"}, "a generate task has other texts than it asked for": {"plain"}}),
    breaks(
        "a task has succeeded in more than one attempt", "finetune",
        statement="UPDATE scriptorium.tries SET outcome = 'succeeded' WHERE task = %(finetune)s",
    ),
    breaks(
        "a key names more than one task", "the key",
        statement="UPDATE scriptorium.task SET key = 'the key', queue = 'default' WHERE id IN (%(plain)s, %(alike)s)",
    ),
    breaks(
        "a text belongs to another attempt than the one that succeeded", "plain",
        statement="UPDATE scriptorium.generations SET attempt = 2 WHERE task_id = %(plain)s AND sample = 3",
    ),
    breaks(
        "a text belongs to another attempt than the one that succeeded", "plain",
        statement="UPDATE scriptorium.generations SET worker = gen_random_uuid() WHERE task_id = %(plain)s",
    ),
    breaks(
        "a text belongs to another attempt than the one that succeeded", "plain",
        statement="UPDATE scriptorium.generations SET worker = NULL WHERE task_id = %(plain)s",
    ),
    breaks("a task that has not succeeded has texts", "failed", statement=copy("plain", 0, "failed", 0)),
    breaks("a task that has not succeeded has texts", "cancelled", statement=copy("plain", 0, "cancelled", 0)),
    breaks(
        "a task that has not succeeded has texts", "small", running=True,
        statement="DELETE FROM scriptorium.outcome WHERE task = %(small)s; " + RUNS.format(1, "%(small)s"),
    ),
    breaks("a task has succeeded without its attempt", "verify", statement="UPDATE scriptorium.outcome SET ending = 'lost' WHERE task = %(verify)s"),
    breaks(
        "a task has succeeded without its attempt", "verify",
        statement="UPDATE scriptorium.outcome SET ending = NULL, lease = NULL, attempt = 0 WHERE task = %(verify)s",
    ),
    breaks(
        "a task has succeeded without its attempt", "stopped",
        statement="UPDATE scriptorium.outcome SET ending = 'succeeded' WHERE task = %(stopped)s",
    ),
    breaks(
        "a task has succeeded without its attempt", "stopped",
        statement="UPDATE scriptorium.outcome SET ending = 'succeeded', error = '{}' WHERE task = %(stopped)s",
    ),
    breaks(
        "a task has succeeded without its attempt", "failed",
        statement="UPDATE scriptorium.outcome SET ending = 'succeeded', error = NULL WHERE task = %(failed)s",
    ),
    # One too few, none, one too many, wrong numbers, and the wrong prompt's.
    breaks(
        "a generate task has other texts than it asked for", "plain",
        statement="DELETE FROM scriptorium.generations WHERE task_id = %(plain)s AND sample = 3",
    ),
    breaks(
        "a generate task has other texts than it asked for", "small",
        statement="DELETE FROM scriptorium.generations WHERE task_id = %(small)s",
    ),
    breaks("a generate task has other texts than it asked for", "small", statement=copy("small", 0, "small", 1)),
    breaks(
        "a generate task has other texts than it asked for", "small",
        statement="UPDATE scriptorium.generations SET sample = 1, prompt_index = 1 WHERE task_id = %(small)s",
    ),
    breaks(
        "a generate task has other texts than it asked for", "plain",
        statement="UPDATE scriptorium.generations SET sample = -1 WHERE task_id = %(plain)s AND sample = 0",
    ),
    breaks(
        "a generate task has other texts than it asked for", "plain",
        statement="UPDATE scriptorium.generations SET sample = 7, prompt_index = 3 WHERE task_id = %(plain)s AND sample = 5",
    ),
    Break(
        "UPDATE scriptorium.generations SET sample = 0, prompt_index = 0 WHERE task_id = %(plain)s AND sample = 2",
        {"a text is recorded twice": {"plain"}, "a generate task has other texts than it asked for": {"plain"}},
    ),
    breaks(
        "a generate task has other texts than it asked for", "plain",
        statement="UPDATE scriptorium.generations SET prompt_index = 0 WHERE task_id = %(plain)s AND sample = 2",
    ),
    # One is missing, all are, there are too many, the numbers are wrong, and one that never ran has an attempt.
    breaks("attempts are not numbered without gaps", "failed", statement="DELETE FROM scriptorium.tries WHERE task = %(failed)s"),
    breaks("attempts are not numbered without gaps", "finetune", statement="DELETE FROM scriptorium.tries WHERE task = %(finetune)s"),
    breaks(
        "attempts are not numbered without gaps", "stopped",
        statement="UPDATE scriptorium.outcome SET ending = NULL, lease = NULL WHERE task = %(stopped)s",
    ),
    breaks("attempts are not numbered without gaps", "verify", statement="UPDATE scriptorium.outcome SET attempt = 2 WHERE task = %(verify)s"),
    breaks("attempts are not numbered without gaps", "failed", statement="UPDATE scriptorium.tries SET attempt = 0 WHERE task = %(failed)s"),
    breaks("attempts are not numbered without gaps", "failed", statement="UPDATE scriptorium.tries SET attempt = 2 WHERE task = %(failed)s"),
    breaks("attempts are not numbered without gaps", "failed", statement=ONE_MORE_TRY.format(2)),
    breaks(
        "attempts are not numbered without gaps", "failed",
        statement=ONE_MORE_TRY.format(3) + "; UPDATE scriptorium.outcome SET attempt = 3 WHERE task = %(failed)s",
    ),
    breaks(
        "attempts are not numbered without gaps", "failed",
        statement=ONE_MORE_TRY.format(3) + "; UPDATE scriptorium.outcome SET ending = NULL, lease = NULL WHERE task = %(failed)s",
    ),
    breaks(
        "attempts are not numbered without gaps", "cancelled",
        statement="UPDATE scriptorium.tries SET task = %(cancelled)s WHERE task = %(failed)s; "
            "UPDATE scriptorium.outcome SET attempt = 1 WHERE task = %(failed)s",
    ),
    breaks("an attempt of an ended task has no end", "stopped", statement="UPDATE scriptorium.outcome SET ending = NULL WHERE task = %(stopped)s"),
    breaks(
        "a task has failed more often than it may", "failed",
        statement="UPDATE scriptorium.outcome SET failures = 3 WHERE task = %(failed)s",
    ),
    breaks(
        "a task was started before those that it waits for had succeeded", "child",
        statement="UPDATE scriptorium.task SET after = after || %(failed)s::uuid WHERE id = %(child)s",
    ),
    breaks(
        "a task was started before those that it waits for had succeeded", "child",
        statement="UPDATE scriptorium.task SET after = after || gen_random_uuid() WHERE id = %(child)s",
    ),
    breaks(
        "an ended task still waits for another", "unheard",
        statement="INSERT INTO scriptorium.task_after (parent, child) VALUES (%(failed)s, %(unheard)s)",
    ),
    # Of the same prompt, seed and draw in tasks with other prompts, another count and other wishes: text and tokens.
    breaks(
        "equal model, parameters and seed gave different texts", "plain",
        statement="UPDATE scriptorium.generations SET text = text || '.' WHERE task_id = %(alike)s AND sample = 1",
    ),
    breaks(
        "equal model, parameters and seed gave different texts", "plain",
        statement="UPDATE scriptorium.generations SET token_ids = token_ids || 1 WHERE task_id = %(plain)s AND sample = 2",
    ),
    breaks(
        "equal model, parameters and seed gave different texts", "torch",
        statement="UPDATE scriptorium.generations SET text = text || '.' WHERE task_id = %(torch_again)s",
    ),
    breaks(
        "a finetune has succeeded without its checkpoint or steps", "finetune",
        statement="DELETE FROM scriptorium.checkpoints c USING scriptorium.outcome o "
            "WHERE o.task = %(finetune)s AND c.task_id = o.task AND c.step = (o.result ->> 'steps')::integer",
    ),
    breaks(
        "a finetune has succeeded without its checkpoint or steps", "finetune",
        statement="DELETE FROM scriptorium.training_steps s USING scriptorium.outcome o "
            "WHERE o.task = %(finetune)s AND s.task_id = o.task AND s.step = (o.result ->> 'steps')::integer",
    ),
    breaks(
        "a finetune has succeeded without its checkpoint or steps", "finetune",
        statement="DELETE FROM scriptorium.training_steps WHERE task_id = %(finetune)s",
    ),
    breaks(
        "a finetune has succeeded without its checkpoint or steps", "finetune",
        statement="UPDATE scriptorium.outcome SET result = NULL WHERE task = %(finetune)s",
    ),
    breaks("a task has not ended", "cancelled", statement="DELETE FROM scriptorium.outcome WHERE task = %(cancelled)s; " + WAITS.format("%(cancelled)s")),
    breaks("a task has not ended", "stopped", statement="DELETE FROM scriptorium.outcome WHERE task = %(stopped)s; " + RUNS.format(1, "%(stopped)s")),
]  # fmt: skip

# What is unusual and yet right.
RIGHT = [
    Break("SELECT 1", {}),
    Break("DELETE FROM scriptorium.outcome WHERE task = %(cancelled)s; " + WAITS.format("%(cancelled)s"), {}, running=True),
    Break("DELETE FROM scriptorium.outcome WHERE task = %(stopped)s; " + RUNS.format(1, "%(stopped)s"), {}, running=True),
    # A task that ran to its end and whose result could not be recorded.
    Break("UPDATE scriptorium.outcome SET ending = 'succeeded' WHERE task = %(failed)s", {}),
    # Keys are a queue's own.
    Break("UPDATE scriptorium.task SET key = 'the key', queue = 'other' WHERE id = %(alike)s", {}),
    # Another checkpoint, seed or wish may give another text.
    Break("UPDATE scriptorium.generations SET text = '', checkpoint_sha256 = '' WHERE task_id = %(alike)s", {}),
    Break("UPDATE scriptorium.generations SET text = '', tokenizer_sha256 = '' WHERE task_id = %(alike)s", {}),
    Break("UPDATE scriptorium.generations SET text = '', precision = 'int8' WHERE task_id = %(alike)s", {}),
    Break("UPDATE scriptorium.generations SET text = '', numerics = 'float32/0' WHERE task_id = %(alike)s", {}),
    Break("UPDATE scriptorium.generations SET text = '', seed = 0 WHERE task_id = %(alike)s AND sample = 1", {}),
    Break("""UPDATE scriptorium.generations SET text = '', params = params || '{"top_k": 1}' WHERE task_id = %(alike)s AND sample = 1""", {}),
]


class TheChecker(unittest.TestCase):
    """A database with one history, and a copy of it for each thing that is done to it."""

    @classmethod
    def setUpClass(cls):
        cls.database = Database()
        cls.addClassCleanup(cls.database.remove)
        cls.database.start()
        cls.database.migrate()
        fleet = Fleet(cls.database, brokers=1, workers=1)
        try:
            fleet.start()
            fleet.import_reference()
            cls.tasks = cls.live(fleet)
            for member in fleet.members[::-1]:
                member.end()
        finally:
            fleet.remove()
        cls.names = {id: name for name, id in cls.tasks.items()}

    @classmethod
    def live(cls, fleet):
        """Lets happen some of everything; the tasks by name."""
        client = support.Client(fleet.endpoints[0])
        try:
            generate = lambda **params: {"model": "demo", "max_length": 12, "seed": 3, **params}
            endless = generate(prompt="the", n=8, max_length=65536, sliding_window=True, banned_tokens=[0])
            tasks = {
                "plain": client.submit("generate", generate(prompts=["the", "of", "of"], n=2), key="the key"),
                "torch": client.submit("generate", generate(prompts=["the", "of"], rng="torch")),
            }
            # Of equal texts the first to be recorded is named.
            for name in tasks:
                client.result(tasks[name])
            tasks |= {
                "alike": client.submit("generate", generate(prompt="of", n=3, stream=True)),
                "small": client.submit("generate", generate(prompt="and")),
                "torch_again": client.submit("generate", generate(prompt="the", rng="torch")),
                "torch_two": client.submit("generate", generate(prompt="the", rng="torch", n=2)),
                "failed": client.submit("generate", endless, timeout_s=0.1, max_attempts=2),
            }
            tasks["child"] = client.submit("generate", generate(prompt="in"), after=[tasks["plain"], tasks["alike"]])
            tasks["unheard"] = client.submit("generate", generate(prompt="in"), after=[tasks["failed"]])
            tasks["verify"] = client.submit("verify", {"task": tasks["plain"]})
            # From SQL come numbers as they were written.
            written = '{"model": "demo", "prompt": "in", "max_length": 8, "n": 2.0, "prompts": null}'
            ((tasks["written"],),) = cls.database.sql("SELECT scriptorium.submit('generate', %s)", written)
            tasks["cancelled"] = client.submit("generate", generate(), run_at="2099-01-01T00:00:00Z")
            client.ask("cancel", ids=[tasks["cancelled"]])
            for name in tasks:
                client.result(tasks[name])
            tasks["stopped"] = client.submit("generate", endless)
            runs = "SELECT 1 FROM scriptorium.tasks WHERE id = %s AND state = 'running'"
            support.wait_until(lambda: cls.database.sql(runs, tasks["stopped"]), 20, "a task to run")
            client.ask("cancel", ids=[tasks["stopped"]])
            client.result(tasks["stopped"])
            tasks["finetune"] = client.submit(
                "finetune",
                {"config": "gpt2-cpu", "output": "tuned", "dataset": {"text": "the river and the stone " * 200}, "tokenizer": {"train": {"vocab_size": 300}},
                 "block_size": 16, "num_steps": 400, "save_every": 300, "generate_every": 0, "seed": 3},
            )  # fmt: skip
            step = lambda: (client.ask("get", ids=[tasks["finetune"]])["tasks"][0]["progress"] or {}).get("step", 0)
            support.wait_until(lambda: step() > 0, 60, "its first step")
            fleet.workers[0].end(signal.SIGTERM)
            fleet.workers[0].start()
            ends = {name: client.result(id)["state"] for name, id in tasks.items()}
        finally:
            client.close()
        unhappy = {"failed": "failed", "unheard": "failed", "cancelled": "cancelled", "stopped": "cancelled"}
        assert ends == {name: unhappy.get(name, "succeeded") for name in tasks}, ends
        attempts = cls.database.sql("SELECT outcome FROM scriptorium.attempts WHERE task_id = %s ORDER BY attempt", tasks["finetune"])
        assert attempts == [("released",), ("succeeded",)], attempts
        return tasks

    @contextlib.contextmanager
    def a_copy(self, statement="SELECT 1"):
        """The URL of a copy of the history to which something was done: no key and no trigger was asked."""
        self.database.sql_alone("CREATE DATABASE copied TEMPLATE postgres")
        url = self.database.url().removesuffix("/postgres") + "/copied"
        try:
            with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
                cursor.execute("SET session_replication_role = replica")
                cursor.execute(
                    """SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns
                       WHERE (table_schema, table_name, is_generated) = ('scriptorium', 'generations', 'NEVER')""")  # fmt: skip
                (columns,) = cursor.fetchone()
                cursor.execute(
                    f"""CREATE FUNCTION pg_temp.copy(of uuid, sample integer, to_task uuid, new_sample integer) RETURNS void LANGUAGE sql
                        BEGIN ATOMIC
                            INSERT INTO scriptorium.generations ({columns})
                            SELECT {columns} FROM (
                                SELECT (jsonb_populate_record(g, jsonb_build_object('id', i.id, 'created_at', scriptorium.uuid_time(i.id),
                                    'task_id', to_task, 'sample', new_sample))).*
                                FROM scriptorium.generations g CROSS JOIN (SELECT scriptorium.uuid_v7() AS id) i
                                WHERE g.task_id = of AND g.sample = copy.sample
                            ) one;
                        END""")  # fmt: skip
                cursor.execute(statement, self.tasks)
            yield url
        finally:
            self.database.sql_alone("DROP DATABASE copied WITH (FORCE)")

    def report(self, url, ledger=None, running=False):
        with contextlib.closing(psycopg2.connect(url)) as connection:
            return history.check(connection, ledger, running)

    def found(self, report):
        """The faults of a report, each with the tasks that it names."""
        return {fault.name: {self.names.get(task, task) for task, _ in fault.examples} for fault in report.faults}

    # MARK: The database alone

    def test_a_good_history_is_whole_and_counted(self):
        report = self.report(self.database.url())
        self.assertEqual(self.found(report), {})
        self.assertTrue(report.is_whole)
        self.assertEqual(
            report.tally,
            {
                "submitted": 14, "succeeded": 10, "failed": {"dependency_failed": 1, "timed_out": 1}, "cancelled": 2, "texts": 18,
                "attempts": {"cancelled": 1, "released": 1, "succeeded": 10, "timed_out": 2}, "refused stale writes": 0, "lost": 0, "recorded twice": 0,
            })  # fmt: skip

    def test_what_is_unusual_and_right_is_no_fault(self):
        for case in RIGHT:
            with self.subTest(case.statement), self.a_copy(case.statement) as url:
                self.assertEqual(self.found(self.report(url, running=case.running)), {})

    def test_each_rule_finds_what_breaks_it_and_no_other_does(self):
        for case in BREAKS:
            with self.subTest(next(iter(case.found)), statement=case.statement), self.a_copy(case.statement) as url:
                self.assertEqual(self.found(self.report(url, running=case.running)), case.found)

    def test_no_rule_is_without_a_break_of_its_own(self):
        alone = {name for case in BREAKS if len(case.found) == 1 for name in case.found}
        self.assertEqual(alone, {rule.name for rule in [history.UNFINISHED, *history.RULES]})

    def test_faults_are_counted_by_their_kind(self):
        lose = "DELETE FROM scriptorium.outcome WHERE task = %(cancelled)s; "
        double = "UPDATE scriptorium.task SET key = 'the key' WHERE id IN (%(alike)s, %(small)s); "
        with self.a_copy(lose + double + WAITS.format("%(stopped)s")) as url:
            report = self.report(url, running=True)
        self.assertEqual(
            [(fault.kind, fault.name, fault.count) for fault in report.faults],
            [
                (history.LOST, "a task neither waits, runs nor has ended", 1),
                (history.TWICE, "a task has ended and still waits or runs", 1),
                (history.TWICE, "a key names more than one task", 1),
            ])  # fmt: skip
        self.assertEqual((report.tally["lost"], report.tally["recorded twice"]), (1, 2))
        self.assertIn("the key 3 tasks of queue default", str(report))

    # MARK: What clients were told

    def ledger(self, *left_out):
        """What clients were told of the good history."""
        ledger = Ledger()
        for name, id in self.tasks.items():
            if name not in left_out:
                ledger.accepted(id, key="the key" if name == "plain" else None)
                ledger.ended(id, {"failed": "failed", "unheard": "failed", "cancelled": "cancelled", "stopped": "cancelled"}.get(name, "succeeded"))
        return ledger

    def found_with(self, ledger, statement="SELECT 1", running=False):
        with self.a_copy(statement) as url:
            return self.found(self.report(url, ledger, running))

    def test_a_ledger_that_agrees_finds_nothing(self):
        report = self.report(self.database.url(), self.ledger())
        self.assertEqual(self.found(report), {})
        self.assertEqual(report.tally["acknowledged"], 14)
        # Not everybody waited for the end.
        self.assertEqual(self.found_with(self.ledger("plain", "failed")), {})

    def test_an_accepted_task_that_is_not_there_is_lost(self):
        ledger = self.ledger()
        ledger.accepted(UNKNOWN)
        self.assertEqual(self.found_with(ledger), {"an accepted task is not there": {UNKNOWN}})
        gone = "DELETE FROM scriptorium.task WHERE id = %(cancelled)s"
        self.assertEqual(self.found_with(self.ledger(), gone), {"an accepted task is not there": {"cancelled"}})
        with self.a_copy(gone) as url:
            self.assertEqual(self.report(url, self.ledger()).tally["lost"], 1)

    def test_an_end_that_was_told_stands(self):
        told = "a task did not end as its client was told"
        ledger = self.ledger("cancelled")
        ledger.accepted(self.tasks["cancelled"])
        ledger.ended(self.tasks["cancelled"], "succeeded")
        self.assertEqual(self.found_with(ledger), {told: {"cancelled"}})
        not_ended = "DELETE FROM scriptorium.outcome WHERE task = %(stopped)s; " + RUNS.format(1, "%(stopped)s")
        self.assertEqual(self.found_with(self.ledger(), not_ended, running=True), {told: {"stopped"}})
        # What a client queued anew, it was told before.
        ledger = self.ledger()
        ledger.retried(self.tasks["stopped"])
        self.assertEqual(self.found_with(ledger, not_ended, running=True), {})

    def test_what_was_accepted_and_not_seen_to_end_must_have_ended(self):
        ledger = self.ledger("stopped")
        ledger.accepted(self.tasks["stopped"])
        not_ended = "DELETE FROM scriptorium.outcome WHERE task = %(stopped)s; " + RUNS.format(1, "%(stopped)s")
        self.assertEqual(self.found_with(ledger, not_ended), {"a task has not ended": {"stopped"}})
        self.assertEqual(self.found_with(ledger, not_ended, running=True), {})

    def test_two_tasks_for_one_key_and_two_ends_of_one_task_are_contradictions(self):
        ledger = self.ledger()
        ledger.accepted(self.tasks["alike"], key="the key")
        (found,) = self.found_with(ledger).items()
        self.assertEqual(found[0], "clients were told contradictions")
        self.assertEqual(len(found[1]), 1)
        self.assertIn(self.tasks["alike"], *found[1])
        ledger = self.ledger()
        ledger.ended(self.tasks["plain"], "cancelled")
        (found,) = self.found_with(ledger).items()
        self.assertEqual(found, ("clients were told contradictions", {f"{self.tasks['plain']} was said to have succeeded, then cancelled"}))
        # The same again is none, nor is the key in another queue.
        ledger = self.ledger()
        ledger.accepted(self.tasks["plain"], key="the key")
        ledger.accepted(self.tasks["alike"], queue="other", key="the key")
        ledger.ended(self.tasks["plain"], "succeeded")
        self.assertEqual(self.found_with(ledger), {})

    def test_a_ledger_that_was_written_is_read_as_it_was(self):
        ledger = self.ledger()
        ledger.accepted(UNKNOWN, queue="other", key="its key")
        with tempfile.TemporaryDirectory() as folder:
            ledger.write(os.path.join(folder, "told"))
            again = Ledger.read(os.path.join(folder, "told"))
        self.assertEqual((again.tasks, again.states, again.keys), (ledger.tasks, ledger.states, ledger.keys))
        self.assertEqual(again.contradictions, [])

    # MARK: The command

    def command(self, *arguments, status):
        done = subprocess.run(
            [sys.executable, history.__file__, *arguments], capture_output=True, text=True, timeout=120, env=support.environment())
        self.assertEqual(done.returncode, status, f"{done.stdout}\n{done.stderr}")
        return done.stdout if status < 2 else done.stderr

    def told(self, *lines):
        """A file of what clients were told."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "told")
        with open(path, "w") as file:
            file.writelines(line + "\n" for line in lines)
        return path

    def test_the_command_says_0_of_a_whole_history_with_a_brokers_rights(self):
        url = self.database.url("scriptorium_broker")
        self.assertRegex(self.command(url, status=0), r"(?m)^submitted +14$")
        with tempfile.TemporaryDirectory() as folder:
            self.ledger().write(os.path.join(folder, "told"))
            report = json.loads(self.command(url, "--json", "--acknowledged", os.path.join(folder, "told"), status=0))
        self.assertEqual((report["whole"], report["faults"], report["tally"]["acknowledged"]), (True, [], 14))

    def test_the_command_says_1_of_a_broken_one_and_names_what_is_wrong(self):
        with self.a_copy("DELETE FROM scriptorium.outcome WHERE task = %(cancelled)s; " + WAITS.format("%(cancelled)s")) as url:
            self.assertIn(f"a task has not ended: 1\n    {self.tasks['cancelled']} queued", self.command(url, status=1))
            report = json.loads(self.command(url, "--json", status=1))
            self.assertEqual((report["whole"], [fault["name"] for fault in report["faults"]]), (False, ["a task has not ended"]))
            self.command(url, "--running", status=0)
            told = self.told(json.dumps({"task": self.tasks["cancelled"], "queue": "default", "key": None, "state": "cancelled"}))
            self.assertIn("a task did not end as its client was told", self.command(url, "--running", "--acknowledged", told, status=1))
        told = self.told(json.dumps({"task": str(uuid.uuid4()), "queue": "default", "key": None}))
        self.assertIn("an accepted task is not there", self.command(self.database.url(), "--acknowledged", told, status=1))

    def test_the_command_says_2_of_a_wrong_command_line(self):
        url = self.database.url()
        self.command(status=2)
        self.command(url, "--acknowledge-nothing", status=2)
        self.assertIn("told", self.command(url, "--acknowledged", "/nowhere/told", status=2))
        for line in ("no JSON", "[]", '{"queue": "default"}', '{"task": "no id"}', '{"task": 7}'):
            with self.subTest(line):
                self.assertIn("--acknowledged", self.command(url, "--acknowledged", self.told(line), status=2))

    def test_the_command_says_69_where_no_database_answers(self):
        self.assertIn("the database is away", self.command(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres", status=69))
        self.assertIn("the database is away", self.command(self.database.url("nobody"), status=69))

    def test_the_command_gives_no_verdict_on_what_it_cannot_read(self):
        # Who may not read the tables has not found them broken.
        self.assertIn("permission denied", self.command(self.database.url("scriptorium_reader"), status=69))
        empty = self.database.url().removesuffix("/postgres") + "/template1"
        self.assertIn("does not exist", self.command(empty, status=69))


if __name__ == "__main__":
    unittest.main()
