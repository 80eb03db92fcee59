"""Models that do not fit into a worker's memory together: each gets its turn."""

import threading
import unittest

import support
from fleet import FleetTestCase


class TurnsInMemory(FleetTestCase):
    # Texts of a given length: the end token is never chosen.
    ON_AND_ON = {"model": "demo", "prompt": "the", "sliding_window": True, "banned_tokens": [0]}

    def test_a_model_gets_its_turn_beside_one_that_there_is_always_work_for(self):
        """In float32 and in bfloat16 one model is two, and the cache holds either."""
        self.fleet = self.make(brokers=1, workers=1, worker_arguments=["--slots", "4", "--threads", "1", "--cache-bytes", "800000"])
        client = support.Client(self.fleet.endpoints[0])
        self.addCleanup(client.close)
        self.ending = threading.Event()
        stream = threading.Thread(target=self.keep_busy)
        stream.start()
        try:
            support.wait_until(lambda: self.ended() > 8, 30, "the stream to flow")
            task = client.submit("generate", {"model": "demo", "prompt": "the", "precision": "bfloat16", "max_length": 30}, priority=100)
            self.assertEqual(client.result(task, 120)["state"], "succeeded")
            # It was in vain for a while: there was no room beside the other.
            self.assertGreater(self.fleet.database.sql("SELECT count(*) FROM scriptorium.attempts WHERE task_id = %s AND outcome = 'released'", task)[0][0], 0)
            before = self.ended()
            support.wait_until(lambda: self.ended() > before + 8, 60, "the stream to go on")
        finally:
            self.ending.set()
            stream.join()
        self.fleet.settle(60)
        self.fleet.check()

    def ended(self):
        return self.fleet.database.sql("SELECT count(*) FROM scriptorium.outcome")[0][0]

    def keep_busy(self):
        """Publishes so much that some always wait behind those that run."""
        client = support.Client(self.fleet.endpoints[0])
        try:
            while not self.ending.is_set():
                tasks = [{"kind": "generate", "params": {**self.ON_AND_ON, "max_length": 3000}} for _ in range(8)]
                client.ask("submit", tasks=tasks)
                support.wait_until(lambda: self.ending.is_set() or self.fleet.database.sql("SELECT count(*) FROM scriptorium.hot")[0][0] < 24, 120, "some to end")
        finally:
            client.close()


if __name__ == "__main__":
    unittest.main()
