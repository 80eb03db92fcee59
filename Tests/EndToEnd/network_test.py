"""Cables that are pulled between machines and put back: leases decide who owns what, and nothing is lost. Each process has a network namespace of its own."""

import unittest

import load
import support
from database import Database
from drain_test import http
from fleet import Broker, FleetTestCase, Worker
from history import Ledger
from network import Network


class NetworkCuts(FleetTestCase):
    @classmethod
    def setUpClass(cls):
        why_not = Network.why_not()
        if why_not:
            raise unittest.SkipTest(why_not)

    def setUp(self):
        super().setUp()
        network = Network()
        self.addCleanup(network.remove)
        self.store, *rest = [network.machine() for _ in range(5)]
        self.broker_machines, self.worker_machines = rest[:2], rest[2:]
        self.database = Database(host=self.store.address, prefix=self.store.prefix)
        self.fleet = self.make(self.database, model=False, brokers=0, workers=0)
        self.fleet.brokers = [
            Broker(self.fleet, i, self.database.url("scriptorium_broker"), host=machine.address, prefix=machine.prefix,
                   arguments=["--insecure", "--advertise", machine.address])
            for i, machine in enumerate(self.broker_machines)
        ]  # fmt: skip
        endpoints = [broker.workers for broker in self.fleet.brokers]
        self.fleet.workers = [Worker(self.fleet, i, endpoints, prefix=machine.prefix) for i, machine in enumerate(self.worker_machines)]
        self.fleet.start()
        self.fleet.import_reference()
        self.ledger = Ledger()
        self.publishers = [load.Publisher(self.ledger, self.fleet.endpoints, self.chance.getrandbits(64)) for _ in range(3)]
        for publisher in self.publishers:
            publisher.start()
        # Brokers know of each other from their beats.
        beats = "SELECT count(*) FROM scriptorium.brokers WHERE counter >= 4"
        support.wait_until(lambda: self.database.sql(beats) == [(2,)], 30, "the brokers to be linked")
        self.go_on(50)

    def go_on(self, tasks):
        ended = lambda: self.database.sql("SELECT count(*) FROM scriptorium.outcome")[0][0]
        before = ended()
        support.wait_until(lambda: ended() > before + tasks, 60, f"{tasks} more tasks to end")

    def who(self):
        rows = self.database.sql("SELECT id, broker, pid, state, seen_at FROM scriptorium.workers")
        return f"{rows}" + "".join(f"\n--- {member.name}: {member.said()}" for member in self.fleet.members)

    def finish(self):
        for publisher in self.publishers:
            publisher.stopping.set()
        load.finish(self.publishers, 60)
        self.fleet.settle(60)
        return self.fleet.check(self.ledger)

    def test_a_worker_cut_from_its_brokers(self):
        """Its tasks go to the other one; what it offers when it is back is recorded only where nobody else took it."""
        worker, machine = self.fleet.workers[0], self.worker_machines[0]
        session = worker.id()
        is_known = lambda: self.database.sql("SELECT 1 FROM scriptorium.workers WHERE id = %s", session)
        holds = lambda: self.database.sql("SELECT 1 FROM scriptorium.attempts WHERE worker = %s AND outcome IS NULL", session)
        support.wait_until(holds, 20, "it to hold a lease")
        machine.cut()
        support.wait_until(lambda: not is_known(), 30, "its session to lapse")
        self.go_on(50)
        machine.heal()
        support.wait_until(is_known, 30, "it to be joined again")
        self.go_on(50)
        tally = self.finish()
        self.assertLessEqual(tally["failed"].keys(), {"dependency_failed"}, tally)

    def test_a_broker_cut_from_the_database(self):
        """It sends its workers to the other one, with their leases; no attempt is lost, and when it is back it serves again."""
        joined = "SELECT count(*) FROM scriptorium.workers WHERE broker = %s"
        rows = "SELECT id FROM scriptorium.brokers WHERE pid = %s"
        ids = [self.database.sql(rows, broker.process.pid)[0][0] for broker in self.fleet.brokers]
        # Where each worker goes first is drawn; the broker that is cut off is one that has workers.
        cut = 0 if self.database.sql(joined, ids[0]) != [(0,)] else 1
        broker, machine, id = self.fleet.brokers[cut], self.broker_machines[cut], ids[1 - cut]
        self.assertNotEqual(self.database.sql(joined, id), [(2,)])
        machine.cut_from(self.store)
        support.wait_until(lambda: self.database.sql(joined, id) == [(2,)], 30, lambda: f"all workers to be at the other broker: {self.who()}")
        support.wait_until(lambda: http(broker.http, "/readyz")[0] == 503, 30, "it to say that it is not ready")
        self.go_on(50)
        machine.heal_from(self.store)
        # As long as TCP takes to try again.
        support.wait_until(lambda: http(broker.http, "/readyz")[0] == 200, 120, "it to be ready again")
        self.go_on(50)
        tally = self.finish()
        self.assertEqual(tally["attempts"].get("lost", 0), 0, tally)


if __name__ == "__main__":
    unittest.main()
