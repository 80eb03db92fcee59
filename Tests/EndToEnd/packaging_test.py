"""The systemd unit and the image that ship: a worker that was told no more than a broker's address starts, and serves by that alone."""

import os
import re
import shlex
import subprocess
import tempfile
import unittest

import zmq

from support import PROGRAM, ROOT, environment, wait_until


def read(path):
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


class Packaging(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="scriptorium-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.socket = zmq.Context.instance().socket(zmq.ROUTER)
        self.addCleanup(self.socket.close, 0)
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"

    def below(self, path):
        """Where a path of the machine stands in this test."""
        return self.folder + path

    def starts(self, arguments, **variables):
        """Starts a worker, and waits until it says its word to the broker."""
        log = os.path.join(self.folder, "log")
        with open(log, "wb") as output:
            process = subprocess.Popen([PROGRAM, *arguments], env=environment(**variables), stdout=output, stderr=output)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def said():
            with open(log, errors="replace") as text:
                self.assertIsNone(process.poll(), text.read())
            return self.socket.poll(0) and self.socket.recv_multipart()

        self.assertIn(b"register", wait_until(said, 20, "the worker to register")[-1])

    def test_the_units_worker_starts_on_a_machine_without_a_broker(self):
        unit = read("ops/systemd/scriptorium-worker@.service").replace("%i", "1")
        (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.M)
        # What systemd makes, and nothing else.
        for kind, name in re.findall(r"^(State|Cache)Directory=(.*)$", unit, re.M):
            os.makedirs(self.below({"State": "/var/lib/", "Cache": "/var/cache/"}[kind] + name))
        program, *arguments = shlex.split(command)
        self.assertEqual(program, "/usr/bin/scriptorium")
        arguments = [self.below(argument) if argument.startswith("/") else argument for argument in arguments]
        self.starts(arguments, SCRIPTORIUM_WORKERS_ENDPOINT=self.endpoint)

    def test_the_images_worker_takes_no_empty_volume_for_the_store(self):
        recipe = read("docker/Dockerfile").replace("\\\n", " ")
        (variables,) = re.findall(r"^ENV (.*)$", recipe, re.M)
        variables = dict(pair.split("=", 1) for pair in shlex.split(variables))
        self.assertNotIn("SCRIPTORIUM_ARTIFACTS", variables)
        for folder in re.findall(r'"(/[^"]*)"', re.search(r"^VOLUME (.*)$", recipe, re.M)[1]):
            os.makedirs(self.below(folder))
        variables["SCRIPTORIUM_CACHE_DIR"] = self.below(variables["SCRIPTORIUM_CACHE_DIR"])
        variables["SCRIPTORIUM_HTTP"] = "127.0.0.1:0"
        self.starts(["worker"], SCRIPTORIUM_WORKERS_ENDPOINT=self.endpoint, **variables)

    def test_in_the_composition_brokers_and_workers_share_one_store(self):
        composition = read("docker/compose.yaml")
        store = "/var/lib/scriptorium/artifacts"
        self.assertEqual(composition.count(f"SCRIPTORIUM_ARTIFACTS: {store}"), 2)
        self.assertEqual(composition.count(f'volumes: ["artifacts:{store}"]'), 2)


if __name__ == "__main__":
    unittest.main()
