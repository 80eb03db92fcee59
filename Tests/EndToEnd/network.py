"""Machines of the tests' own: network namespaces that are joined by a bridge, and whose cables can be cut. Needs root and Debian's iproute2."""

import itertools
import os
import shutil
import subprocess


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL)


class Network:
    """A bridge with an address of ours, and as many machines as are asked for. ``remove`` takes all away."""

    _numbers = itertools.count()

    def __init__(self):
        number = next(self._numbers)
        # Link names have at most 15 characters.
        self.name = f"scr{os.getpid()}x{number}"
        self.prefix = f"10.{200 + os.getpid() % 50}.{(os.getpid() // 50 + number) % 250}"
        self.machines = []
        _ip("link", "add", self.name, "type", "bridge")
        try:
            _ip("address", "add", f"{self.prefix}.1/24", "dev", self.name)
            _ip("link", "set", self.name, "up")
        except subprocess.CalledProcessError:
            self.remove()
            raise

    @classmethod
    def why_not(cls):
        """Why this machine has no networks to offer; None where it has."""
        if os.geteuid() != 0:
            return "network namespaces need root"
        if shutil.which("ip") is None:
            return "Debian's package iproute2 is not installed"
        network = None
        try:
            network = cls()
            network.machine()
        except subprocess.CalledProcessError as error:
            return f"no network namespaces here: {error.stderr.decode(errors='replace').strip()}"
        finally:
            if network:
                network.remove()
        return None

    def machine(self):
        self.machines.append(Machine(self, len(self.machines)))
        self.machines[-1].plug_in()
        return self.machines[-1]

    def remove(self):
        for machine in self.machines:
            subprocess.run(["ip", "netns", "delete", machine.name], capture_output=True)
        subprocess.run(["ip", "link", "delete", self.name], capture_output=True)


class Machine:
    """A host of its own: programs run on it with ``prefix`` before their command line."""

    def __init__(self, network, index):
        self.network = network
        self.name = f"{network.name}m{index}"
        self.address = f"{network.prefix}.{10 + index}"
        self.prefix = ["ip", "netns", "exec", self.name]

    def plug_in(self):
        _ip("netns", "add", self.name)
        _ip("link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("link", "set", self.name, "master", self.network.name)
        _ip("link", "set", self.name, "up")
        _ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", self.name, "link", "set", "eth0", "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    # Silence, as of a pulled cable: no connection is told that it ended.

    def cut(self):
        """Nothing comes or goes."""
        _ip("link", "set", self.name, "down")

    def heal(self):
        _ip("link", "set", self.name, "up")

    def cut_from(self, other):
        """What the other machine answers to this one is dropped on its way; all else goes on."""
        _ip("-n", other.name, "route", "add", "blackhole", f"{self.address}/32")

    def heal_from(self, other):
        _ip("-n", other.name, "route", "delete", "blackhole", f"{self.address}/32")
