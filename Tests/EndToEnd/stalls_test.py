"""Processes that stand still and come back as if nothing had happened: old leases mean nothing, and an outage of the database expires nobody."""

import contextlib
import os
import signal
import time
import unittest

import load
import support
import zmq
from fleet import FleetTestCase
from history import Ledger


class Stalls(FleetTestCase):
    def publish(self, fleet, clients=2, **options):
        """Clients that publish until they are told to stop."""
        ledger = Ledger()
        publishers = [load.Publisher(ledger, fleet.endpoints, self.chance.getrandbits(64), **options) for _ in range(clients)]
        for publisher in publishers:
            publisher.start()
        support.wait_until(lambda: self.ended(fleet) > 30, 30, "the first tasks to end")
        return ledger, publishers

    def finish(self, fleet, ledger, publishers):
        """Ends the load and takes stock."""
        for publisher in publishers:
            publisher.stopping.set()
        load.finish(publishers, 60)
        fleet.settle(60)
        tally = fleet.check(ledger)
        # A submit that was given up at the very end may have been accepted; nothing else may be there unasked.
        self.assertLessEqual(tally["submitted"] - tally["acknowledged"], 10 * len(publishers))
        return tally

    @staticmethod
    def ended(fleet):
        rows = fleet.database.asks("SELECT count(*) FROM scriptorium.outcome")
        return rows[0][0] if rows else 0

    @staticmethod
    def lost(fleet, worker):
        return fleet.database.sql("SELECT count(*) FROM scriptorium.attempts WHERE worker = %s AND outcome = 'lost'", worker)[0][0]

    def test_a_stopped_worker_comes_back_with_old_leases(self):
        fleet = self.make(brokers=1, workers=2, slots=16)
        ledger, publishers = self.publish(fleet, clients=3)
        stopped = fleet.workers[0]
        session = stopped.id()
        for _ in range(10):
            # It must hold something when it stops, and every other one must have taken it over when it comes back.
            support.wait_until(
                lambda: fleet.database.sql("SELECT 1 FROM scriptorium.attempts WHERE worker = %s AND outcome IS NULL", session), 20, "leases")
            stopped.pause()
            support.wait_until(lambda: not fleet.database.sql("SELECT 1 FROM scriptorium.workers WHERE id = %s", session), 30, "its session to lapse")
            before = self.ended(fleet)
            support.wait_until(lambda: self.ended(fleet) > before + 20, 30, "the other worker to go on")
            stopped.resume()
            support.wait_until(lambda: fleet.database.sql("SELECT 1 FROM scriptorium.workers WHERE id = %s", session), 20, "it to be joined again")
            # What it held may have ended before it stopped.
            if self.lost(fleet, session) or fleet.database.sql("SELECT 1 FROM scriptorium.attempts WHERE outcome = 'superseded'"):
                break
        tally = self.finish(fleet, ledger, publishers)
        self.assertGreater(tally["attempts"].get("lost", 0) + tally["refused stale writes"], 0)
        support.say(f"a stopped worker came back: {tally}")

    def test_a_stopped_broker_comes_back(self):
        fleet = self.make(brokers=2, workers=2)
        ledger, publishers = self.publish(fleet)
        for broker in fleet.brokers:
            broker.pause()
            # Its workers go to the other one, and its clients too.
            before = self.ended(fleet)
            support.wait_until(lambda: self.ended(fleet) > before + 100, 60, "the other broker to go on")
            broker.resume()
        tally = self.finish(fleet, ledger, publishers)
        # Workers left before anybody could count them dead.
        self.assertEqual(tally["attempts"].get("lost", 0), 0, tally)

    def test_a_frozen_database_expires_nobody(self):
        fleet = self.make(brokers=2, workers=2)
        ledger, publishers = self.publish(fleet)
        client = load.Pirate(fleet.endpoints[:1], timeout=10)
        self.addCleanup(client.close)
        fleet.database.freeze()
        until = time.monotonic() + 15  # longer than any lease lives without a beat
        # Whoever asks is told that the database is away, though it neither refuses nor answers anything.
        support.wait_until(lambda: self.refusal(client) == "unavailable", 12, "a broker to say that its database is away")
        time.sleep(max(0, until - time.monotonic()))
        fleet.database.thaw()
        before = self.ended(fleet)
        support.wait_until(lambda: self.ended(fleet) > before + 50, 60, "the service to go on")
        tally = self.finish(fleet, ledger, publishers)
        self.assertEqual(tally["attempts"].get("lost", 0), 0, tally)
        self.assertEqual(tally["failed"].keys() - {"dependency_failed"}, set())

    def refusal(self, client):
        """Why a small request is refused; None where it is answered, or nobody answers."""
        client.connect()
        client.socket.setsockopt(zmq.RCVTIMEO, 1000)
        client.socket.send_json({"op": "models"})
        try:
            return client.socket.recv_json().get("error", {}).get("code")
        except zmq.Again:
            return None

    def test_a_broker_ends_though_its_database_hangs(self):
        fleet = self.make(brokers=1, workers=1)
        ledger, publishers = self.publish(fleet, clients=1)
        for publisher in publishers:
            publisher.stopping.set()
        fleet.database.freeze()
        # The drain has its ten seconds; then what is under way is given up.
        self.assertEqual(fleet.brokers[0].end(seconds=25), 0)
        fleet.database.thaw()
        fleet.brokers[0].start()
        load.finish(publishers, 60)
        fleet.settle(60)
        fleet.check(ledger)

    def test_what_nobody_is_notified_of_is_found_by_looking(self):
        fleet = self.make(brokers=1, workers=1)

        def listener():
            """The server's process of the broker's connection for notifications."""
            rows = fleet.database.sql("SELECT pid FROM pg_stat_activity WHERE query = 'LISTEN scriptorium'")
            return rows[0][0] if len(rows) == 1 else None

        def publish(what):
            """Publishes in SQL to an idle broker, and waits for the end."""
            support.wait_until(lambda: fleet.database.sql("SELECT idle FROM scriptorium.brokers")[0][0], 20, "the broker to be idle")
            begin = time.monotonic()
            ((task,),) = fleet.database.sql("""SELECT scriptorium.submit('generate', '{"model": "demo", "prompt": "the", "max_length": 12}')""")
            support.wait_until(lambda: fleet.database.sql("SELECT 1 FROM scriptorium.outcome WHERE task = %s", task), 10, what)
            return 1000 * (time.monotonic() - begin)

        support.wait_until(listener, 10, "the broker to listen")
        told = publish("a task that was told of")
        deaf = listener()
        os.kill(deaf, signal.SIGSTOP)
        self.addCleanup(self.go_on, deaf)
        looked = publish("a task of which nobody could be told")
        with open(f"/proc/{deaf}/stat") as stat:
            self.assertEqual(stat.read().rsplit(")", 1)[1].split()[0], "T", "nothing was heard meanwhile")
        os.kill(deaf, signal.SIGCONT)
        # The connection itself goes: another one is made.
        fleet.database.sql("SELECT pg_terminate_backend(%s)", deaf)
        publish("a task that came while no connection stood")
        support.wait_until(lambda: listener() not in (None, deaf), 10, "another connection to listen")
        again = publish("a task that was told of again")
        fleet.check()
        support.say(f"published to recorded: {told:.0f} ms, deaf {looked:.0f} ms, listening again {again:.0f} ms")

    @staticmethod
    def go_on(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def test_a_paused_machine_expires_nobody(self):
        fleet = self.make(brokers=2, workers=2)
        ledger, publishers = self.publish(fleet)
        for member in fleet.members:
            member.pause()
        fleet.database.freeze()
        time.sleep(12)  # the length of the pause
        fleet.rest()
        before = self.ended(fleet)
        support.wait_until(lambda: self.ended(fleet) > before + 50, 60, "the service to go on")
        tally = self.finish(fleet, ledger, publishers)
        self.assertEqual(tally["attempts"].get("lost", 0), 0, tally)


if __name__ == "__main__":
    unittest.main()
