"""Processes that die at any moment, all of them at random and under load: every accepted task ends once."""

import signal
import time
import unittest

import load
import support
from fleet import FleetTestCase
from history import Ledger


class Kills(FleetTestCase):
    def publish(self, fleet, clients, number, sql=1, **options):
        """Starts clients of both kinds; each publishes so many tasks."""
        ledger = Ledger()
        publishers = [load.Publisher(ledger, fleet.endpoints, self.chance.getrandbits(64), number, **options) for _ in range(clients)]
        publisher_url = fleet.database.url("scriptorium_publisher")
        publishers += [load.SQLPublisher(ledger, publisher_url, self.chance.getrandbits(64), number, max_attempts=options.get("max_attempts")) for _ in range(sql)]
        for publisher in publishers:
            publisher.start()
        return ledger, publishers

    def test_brokers_and_workers_killed_at_random(self):
        fleet = self.make(brokers=2, workers=3)
        fleet.keep()
        # However often a task meets a kill: what is asked here is that it ends well, and once.
        ledger, publishers = self.publish(fleet, clients=3, number=300, max_attempts=100)
        kills = {"broker": 0, "worker": 0}
        while any(publisher.is_alive() for publisher in publishers) or min(kills.values()) < 3:
            member = self.chance.choice(fleet.members)
            if member.is_alive:
                member.kill()
                kills[member.name.split("-")[0]] += 1
            time.sleep(self.chance.uniform(0.4, 1.2))  # the pace of the kills; nothing waits on it
            if max(kills.values()) > 60:
                break
        load.finish(publishers, 60)
        fleet.settle(60, f"after {kills}")
        tally = fleet.check(ledger)
        self.assertEqual(tally["acknowledged"], 4 * 300)
        self.assertEqual(tally["submitted"], tally["acknowledged"], "a retried submit with a key made a second task")
        self.assertGreater(tally["attempts"].get("lost", 0), 0, f"{kills}: no kill met a running task")
        self.assertLessEqual(set(tally["failed"]), {"dependency_failed"})

    def test_the_database_stopped_at_once(self):
        fleet = self.make(brokers=2, workers=2)
        fleet.keep()
        ledger, publishers = self.publish(fleet, clients=3, number=250, max_attempts=100)
        stops = 0
        while any(publisher.is_alive() for publisher in publishers) or stops < 2:
            fleet.database.stop(signal.SIGQUIT)
            stops += 1
            time.sleep(self.chance.uniform(0, 2))  # how long it is away
            fleet.database.start()
            before = self.ended(fleet)
            # Something must get done between two stops, or the load never ends.
            support.wait_until(lambda: self.ended(fleet) > before or not any(p.is_alive() for p in publishers), 30, "the service to go on")
            time.sleep(self.chance.uniform(0.2, 1.5))
        load.finish(publishers, 60)
        fleet.settle(60, f"after {stops} stops")
        tally = fleet.check(ledger)
        self.assertEqual(tally["submitted"], tally["acknowledged"])
        # Brokers and workers lived through it: an outage is nobody's death.
        self.assertEqual(tally["attempts"].get("lost", 0), 0)

    def test_a_worker_that_was_given_one_broker_goes_on_with_another_when_that_one_dies_for_good(self):
        fleet = self.make(brokers=2, workers=1, worker_endpoints=lambda brokers, index: [brokers[0].workers])
        first, second = fleet.brokers
        worker = fleet.workers[0]
        support.wait_until(lambda: second.workers in worker.said(), 30, "the worker to be told of the second broker")
        client = support.Client(second.tasks)
        self.addCleanup(client.close)
        # The end token is never chosen.
        params = {"model": "demo", "prompt": "the", "sliding_window": True, "banned_tokens": [0], "max_length": 6000}
        task = client.submit("generate", params)
        state = "SELECT state FROM scriptorium.tasks WHERE id = %s"
        support.wait_until(lambda: fleet.database.sql(state, task) == [("running",)], 30, "the task to run")
        first.kill()
        first.wait()
        self.assertEqual(fleet.database.sql(state, task), [("running",)], "it was done before the broker died: nothing was tested")
        self.assertEqual(client.result(task)["state"], "succeeded")
        # What it held it took along.
        self.assertEqual(client.result(task)["attempt"], 1)
        self.assertEqual(client.generate(model="demo", prompt="the", max_length=8)["attempt"], 1)

    @staticmethod
    def ended(fleet):
        return fleet.database.sql("SELECT count(*) FROM scriptorium.outcome")[0][0]


if __name__ == "__main__":
    unittest.main()
