"""A proxy before a ROUTER that doubles, delays, loses, holds back and replays messages, each way."""

import collections
import heapq
import itertools
import random
import threading
import time

import msgpack
import zmq

import database

TO_SERVER, TO_CLIENT = "to server", "to client"


class Weather:
    """How often what befalls a message: chances from 0 to 1, and the longest delay in seconds."""

    def __init__(self, doubled=0.0, delayed=0.0, longest=0.0, replayed=0.0, lost=0.0):
        self.doubled, self.delayed, self.longest, self.replayed, self.lost = doubled, delayed, longest, replayed, lost


class MessageProxy:
    """Binds a port of loopback; each peer that connects to it gets a connection of its own to the server.

    One thread owns all sockets; the attributes below may be set from any.
    """

    def __init__(self, target, weather=None, seed=0, remembered=20000):
        self.target = target
        self.weather = weather or Weather()
        # Called with direction and frames of each message; true holds it back until ``release``.
        self.holds = lambda direction, frames: False
        # Called likewise; true lets it through in its order whatever the weather: of what is said once, ZeroMQ loses nothing while a connection lasts.
        self.spares = lambda direction, frames: False
        # Nothing comes through, either way.
        self.is_cut = False
        self.counts = collections.Counter()
        # What was sent to the server lately, for those who want to say it again.
        self.recorded = collections.deque(maxlen=remembered)
        self._chance = random.Random(seed)
        self._held = []
        self._release = threading.Event()
        self._stop = threading.Event()
        self._numbers = itertools.count()
        bound = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(bound,), daemon=True)
        self._thread.start()
        bound.wait()

    @property
    def held(self):
        return len(self._held)

    def release(self):
        """Sends what was held back, although all else may be cut."""
        self._release.set()

    def close(self):
        self._stop.set()
        self._thread.join()

    def _run(self, bound):
        context = zmq.Context.instance()
        front = context.socket(zmq.ROUTER)
        front.setsockopt(zmq.LINGER, 0)
        self.endpoint = f"tcp://127.0.0.1:{database.free_port()}"
        front.bind(self.endpoint)
        bound.set()
        poller = zmq.Poller()
        poller.register(front, zmq.POLLIN)
        backs, peers, later = {}, {}, []
        while not self._stop.is_set():
            pause = 10 if not later else max(0, min(10, (later[0][0] - time.monotonic()) * 1000))
            for socket, _ in poller.poll(pause):
                if socket is front:
                    peer, *frames = front.recv_multipart()
                    if peer not in backs:
                        backs[peer] = context.socket(zmq.DEALER)
                        backs[peer].setsockopt(zmq.LINGER, 0)
                        backs[peer].connect(self.target)
                        peers[backs[peer]] = peer
                        poller.register(backs[peer], zmq.POLLIN)
                    self._plan(later, TO_SERVER, peer, frames)
                else:
                    self._plan(later, TO_CLIENT, peers[socket], socket.recv_multipart())
            if self._release.is_set():
                self._release.clear()
                for direction, peer, frames in self._held:
                    self._send(front, backs, direction, peer, frames)
                self._held = []
            while later and later[0][0] <= time.monotonic():
                _, _, direction, peer, frames = heapq.heappop(later)
                if not self.is_cut:
                    self._send(front, backs, direction, peer, frames)
        for socket in [front, *peers]:
            socket.close()

    def _plan(self, later, direction, peer, frames):
        """Decides what becomes of a message, and when."""
        weather, chance = self.weather, self._chance
        if not self.is_cut and self.spares(direction, frames):
            weather = Weather()
        if self.holds(direction, frames):
            self.counts["held"] += 1
            self._held.append((direction, peer, frames))
            return
        if self.is_cut or chance.random() < weather.lost:
            self.counts["lost"] += 1
            return
        self.recorded.append((direction, peer, frames))
        messages = [(direction, peer, frames)]
        if chance.random() < weather.doubled:
            self.counts["doubled"] += 1
            messages.append((direction, peer, frames))
        if chance.random() < weather.replayed:
            self.counts["replayed"] += 1
            messages.append(chance.choice(self.recorded))
        for message in messages:
            wait = 0.0
            if chance.random() < weather.delayed:
                self.counts["delayed"] += 1
                wait = chance.uniform(0, weather.longest)
            heapq.heappush(later, (time.monotonic() + wait, next(self._numbers), *message))

    def _send(self, front, backs, direction, peer, frames):
        self.counts[direction] += 1
        if direction == TO_SERVER:
            backs[peer].send_multipart(frames, zmq.DONTWAIT)
        else:
            front.send_multipart([peer, *frames])


def worker_message(frames):
    """The map that a worker or its broker sent, which may be cut into several frames."""
    return msgpack.unpackb(b"".join(frames), strict_map_key=False)
