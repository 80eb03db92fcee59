"""Clocks that are set by an hour in mid-run, forwards and back: no lease expires for it, and nothing is lost. Needs Debian's faketime."""

import unittest

import load
import support
from database import Database, FakeClock
from fleet import FleetTestCase
from history import Ledger


@unittest.skipUnless(FakeClock.is_there(), "Debian's package faketime is not installed")
class Clocks(FleetTestCase):
    def jump(self, fleet, clocks):
        """Sets the clocks an hour forwards, an hour back, and right again, each time under load; then a worker dies, which must be seen in time."""
        ledger = Ledger()
        publishers = [load.Publisher(ledger, fleet.endpoints, self.chance.getrandbits(64)) for _ in range(2)]
        publishers.append(load.SQLPublisher(ledger, fleet.database.url("scriptorium_publisher"), self.chance.getrandbits(64)))
        for publisher in publishers:
            publisher.start()
        for offset in (0, 3600, 0, -3600, 3600, 0):
            for clock in clocks:
                clock.set(offset)
            before = self.ended(fleet)
            support.wait_until(lambda: self.ended(fleet) > before + 60, 30, f"the service to go on at {offset:+d} s")
        rows = fleet.database.sql("SELECT count(*) FROM scriptorium.attempts WHERE outcome IN ('lost', 'timed_out')")
        self.assertEqual(rows, [(0,)], "a lease expired because a clock was set")
        session = fleet.workers[0].id()
        for clock in clocks:
            clock.set(-3600)
        fleet.workers[0].is_wanted = False
        fleet.workers[0].kill()
        support.wait_until(lambda: not fleet.database.sql("SELECT 1 FROM scriptorium.workers WHERE id = %s", session), 20, "the dead worker's session to lapse")
        for publisher in publishers:
            publisher.stopping.set()
        load.finish(publishers, 60)
        fleet.settle(60)
        tally = fleet.check(ledger)
        self.assertLessEqual(set(tally["failed"]), {"dependency_failed"}, tally)

    @staticmethod
    def ended(fleet):
        return fleet.database.sql("SELECT count(*) FROM scriptorium.outcome")[0][0]

    def test_the_database_s_clock(self):
        database = Database()
        database.clock = FakeClock(database.folder)
        fleet = self.make(database, brokers=2, workers=2)
        self.assertEqual(len(fleet.database.sql("SELECT 1 WHERE abs(extract(epoch FROM now()) - %s) < 60", support.time.time())), 1)
        database.clock.set(3600)
        self.assertEqual(len(fleet.database.sql("SELECT 1 WHERE abs(extract(epoch FROM now()) - %s) > 3000", support.time.time())), 1, "the clock cannot be set")
        self.jump(fleet, [database.clock])

    def test_a_broker_s_clock(self):
        database = Database()
        clocks = [FakeClock(database.folder)]
        fleet = self.make(database, brokers=2, workers=2, broker_env=lambda index: clocks[0].environment if index == 0 else {})
        self.jump(fleet, clocks)


if __name__ == "__main__":
    unittest.main()
