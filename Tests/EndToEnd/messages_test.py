"""Messages that come twice, late, in another order, again after a long time, or never: each task is still recorded once."""

import collections
import unittest
import uuid

import load
import support
import zmq
from fleet import FleetTestCase
from history import Ledger
from message_proxy import TO_SERVER, MessageProxy, Weather, worker_message


class Messages(FleetTestCase):
    def proxy(self, target, weather=None):
        proxy = MessageProxy(target, weather, seed=self.chance.getrandbits(64))
        self.addCleanup(proxy.close)
        return proxy

    def test_doubled_delayed_lost_and_replayed(self):
        weather = Weather(doubled=0.1, delayed=0.2, longest=0.4, replayed=0.05, lost=0.02)
        before_workers = []

        def endpoints(brokers, index):
            before_workers.append([self.proxy(broker.workers, weather) for broker in brokers])
            return [proxy.endpoint for proxy in before_workers[-1]]

        fleet = self.make(brokers=2, workers=2, worker_endpoints=endpoints)
        before_clients = [self.proxy(broker.tasks, weather) for broker in fleet.brokers]
        ledger = Ledger()
        publishers = [
            load.Publisher(ledger, [proxy.endpoint for proxy in before_clients], self.chance.getrandbits(64), 200, cancels=0.3, timeout=1.5) for _ in range(3)
        ]
        for publisher in publishers:
            publisher.start()
        load.finish(publishers, 90)
        # Everything that was ever said to a broker is said again, by a stranger, while there is work.
        more = load.Publisher(ledger, fleet.endpoints, self.chance.getrandbits(64), 100)
        more.start()
        for broker, proxies in zip(fleet.brokers, zip(*before_workers)):
            self.repeat(broker.workers, [frames for proxy in proxies for direction, _, frames in list(proxy.recorded) if direction == TO_SERVER])
        for broker, proxy in zip(fleet.brokers, before_clients):
            self.repeat(broker.tasks, [frames for direction, _, frames in list(proxy.recorded) if direction == TO_SERVER])
        load.finish([more], 60)
        fleet.settle(60)
        tally = fleet.check(ledger)
        self.assertEqual(tally["submitted"], tally["acknowledged"])
        counts = sum((proxy.counts for proxies in [before_clients, *before_workers] for proxy in proxies), collections.Counter())
        for what in ("doubled", "delayed", "replayed", "lost"):
            self.assertGreater(counts[what], 0, counts)
        support.say(f"messages: {dict(counts)}; {tally}")

    def repeat(self, endpoint, messages):
        stranger = zmq.Context.instance().socket(zmq.DEALER)
        stranger.setsockopt(zmq.LINGER, 2000)
        stranger.connect(endpoint)
        for frames in messages:
            stranger.send_multipart(frames)
        stranger.close()

    def test_a_completion_that_arrives_after_its_lease_has_lapsed(self):
        proxies = []

        def endpoints(brokers, index):
            proxies.append(self.proxy(brokers[0].workers))
            return [proxies[-1].endpoint]

        fleet = self.make(brokers=1, workers=2, worker_endpoints=endpoints)
        slow, client = proxies[0], load.Pirate(fleet.endpoints, timeout=30)
        self.addCleanup(client.close)
        session = fleet.workers[0].id()
        held = []

        def hold(direction, frames):
            if direction != TO_SERVER or held or worker_message(frames)["m"] != "complete":
                return False
            held.append(worker_message(frames))
            slow.is_cut = True
            return True

        slow.holds = hold
        ledger = Ledger()
        while not held:
            reply = client.ask("submit", tasks=[load.generate(self.chance) for _ in range(20)])
            for answer in reply["tasks"]:
                ledger.accepted(answer["id"])
            support.wait_until(lambda: held or fleet.unfinished() == 0, 30, "a completion of the first worker")
        task = str(uuid.UUID(bytes=held[0]["task"]))
        support.wait_until(lambda: not fleet.database.sql("SELECT 1 FROM scriptorium.workers WHERE id = %s", session), 30, "its session to lapse")
        support.wait_until(lambda: fleet.unfinished() == 0, 30, "the other worker to do the task")
        done = fleet.database.sql("SELECT text, attempt FROM scriptorium.generations WHERE task_id = %s ORDER BY sample", task)
        self.assertEqual({attempt for _, attempt in done}, {held[0]["attempt"] + 1})
        slow.release()

        def outcomes():
            return dict(fleet.database.sql("SELECT attempt, outcome FROM scriptorium.attempts WHERE task_id = %s", task))

        support.wait_until(lambda: outcomes().get(held[0]["attempt"]) == "superseded", 10, lambda: f"the late write in the audit: {outcomes()}")
        self.assertEqual(fleet.database.sql("SELECT text, attempt FROM scriptorium.generations WHERE task_id = %s ORDER BY sample", task), done)
        # The same texts were computed twice and recorded once.
        self.assertEqual([text for text, _ in done], [generation["text"] for generation in sorted(held[0]["generations"], key=lambda g: g["sample"])])
        slow.is_cut = False
        support.wait_until(lambda: fleet.database.sql("SELECT 1 FROM scriptorium.workers WHERE id = %s", session), 30, "it to be joined again")
        tally = fleet.check(ledger)
        self.assertEqual(tally["refused stale writes"], 1)


if __name__ == "__main__":
    unittest.main()
