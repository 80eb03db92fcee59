"""The soak of ops/soak, half a minute of it: the long one stays what it says it is."""

import json
import os
import random
import subprocess
import sys
import unittest

import support


class ShortSoak(unittest.TestCase):
    def soak(self, *arguments, status=0):
        done = subprocess.run(
            [sys.executable, os.path.join(support.ROOT, "Tests/EndToEnd/soak.py"), *arguments], capture_output=True, text=True, timeout=900, env=support.environment())
        self.assertEqual(done.returncode, status, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done.stdout, done.stderr

    def test_everything_at_once(self):
        seed = os.environ.get("FAULT_SEED") or str(random.randrange(1 << 32))
        said, _ = self.soak("0.5", "--json", "--seed", seed)
        tally = json.loads(said)
        self.assertTrue(tally["good"])
        self.assertEqual((tally["seed"], tally["tally"]["lost"], tally["tally"]["recorded twice"]), (int(seed), 0, 0))
        self.assertEqual(list(tally["phases"]), ["clean", "held", "recovery"])
        for phase in tally["phases"].values():
            self.assertGreater(phase["succeeded"], 0, tally)
            self.assertEqual(
                phase["submitted"], sum(count for name, count in phase.items() if name in ("succeeded", "cancelled") or name.startswith("failed")), tally)
        faults = tally["phases"]["held"]["faults"]
        for what in ("killed", "database", "horizon"):
            self.assertTrue(any(what in name for name in faults), f"no fault of the kind {what!r}: {faults}")
        self.assertEqual(tally["phases"]["clean"]["faults"], {})
        support.say(f"soak: {tally['tally']}; {faults}")

    def test_a_wrong_command_line_is_status_2(self):
        self.assertIn("MINUTES", self.soak("0", status=2)[1])
        self.soak("--workers", "many", status=2)


if __name__ == "__main__":
    unittest.main()
