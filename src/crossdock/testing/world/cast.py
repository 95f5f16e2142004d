"""Who takes part: processes and far ends. The director moves them, senders ask them."""

from __future__ import annotations

import base64
import random

from crossdock.credentials.secret import Secret
from crossdock.model.ids import StoreId
from crossdock.stores.port import Engine
from crossdock.testing.world.loop import VirtualLoop
from crossdock.testing.world.network import Network, Weather
from crossdock.testing.world.process import Process, Surroundings
from crossdock.testing.world.receivers import Identify, Mood, Receiver, Watcher, core_of, hook_of, shared_of
from crossdock.testing.world.stage import HOOKS, SHARED_HOSTS, SLOTS, House, Site, Stage
from crossdock.testing.world.storage import Storage


class Cast:
    def __init__(self, around: Surroundings, stage: Stage, watcher: Watcher, dice: random.Random) -> None:
        self.processes_max = 3
        self.healed = False
        self.skews: tuple[int, ...] = (0,)
        self.processes: list[Process] = []
        self.receivers: list[Receiver] = []
        self.sites = stage.sites()
        self._around = around
        self._stage = stage
        self._watcher = watcher
        self._dice = dice
        self._holders: dict[str, dict[str, Site]] = {kind: {} for kind in SHARED_HOSTS}
        self._place()

    @property
    def loop(self) -> VirtualLoop:
        return self._around.loop

    @property
    def erased(self) -> set[tuple[StoreId, bytes]]:
        return self._around.erased

    @property
    def network(self) -> Network:
        return self._around.network

    @property
    def storage(self) -> Storage:
        return self._around.storage

    @property
    def engine(self) -> Engine:
        return self.storage.engine

    def _place(self) -> None:
        """Every far end at its address."""
        for house in self._stage.houses:
            if any(site.inbound() is not None for site in house.sites):
                self._receiver("core", core_of(house))
            for at, site in enumerate(house.sites):
                if site.kind in SHARED_HOSTS:
                    self._holders[site.kind][site.secrets["api_key"].reveal().decode()] = site
                elif site.kind in HOOKS:
                    self._receiver("hook", hook_of(site, at))
        for kind, holders in self._holders.items():
            if holders:
                self._receiver(kind, shared_of(kind, holders))

    def _receiver(self, kind: str, place: tuple[frozenset[str], Identify]) -> None:
        names, identify = place
        dice = random.Random(self._dice.random())
        one = Receiver(names, kind, identify, self._around.loop, dice, self._watcher)
        self.receivers.append(one)
        self.network.put(one)

    def house(self, site: Site) -> House:
        return next(one for one in self._stage.houses if one.store.id == site.store)

    def living(self) -> list[Process]:
        return [one for one in self.processes if not one.dead and not one.leaving]

    def serving(self) -> Process | None:
        """Whom a sender reaches: one of those that listen, frozen or not."""
        found = [one for one in self.living() if one.serving]
        return self._dice.choice(found) if found else None

    def join(self, skew_ms: int | None = None) -> Process:
        skew = self._dice.choice(self.skews) if skew_ms is None else skew_ms
        name = f"p{len(self.processes) + 1}"
        process = Process(self._around, name, random.Random(self._dice.random()), skew)
        self.processes.append(process)
        process.on_death = self._restart
        process.start()
        return process

    def _restart(self, process: Process) -> None:
        """Whoever supervises it starts it anew."""
        self._watcher_told(process)
        loop = self._around.loop
        loop.world_at(loop.time() + self._dice.choice((0.1, 2.0, 12.0)), self._if_alone)

    def _if_alone(self) -> None:
        if not self.healed and len(self.living()) < self.processes_max:
            self.join()

    def _watcher_told(self, process: Process) -> None:
        self._around.told(process, "world.crashed", {})

    def put_right(self) -> None:
        """The network, the disk and the far ends are as they should be, and nobody joins any more."""
        self.healed = True
        self._around.storage.mend()
        self.network.weather = Weather()
        for receiver in self.receivers:
            receiver.mood = Mood()

    def relieve(self) -> Process:
        """Everybody is relieved by one whose clock is ahead of all that any of them ever had: what they were to wait
        for is due. Who was alone all the time goes on alone, whatever its clock did."""
        if self._around.storage.embedded:
            return next(iter(self.living()), None) or self.join()
        if len(self.processes) == 1 and self.living():
            return self.processes[0]
        ahead = max((one.skew_max_ms for one in self.processes), default=0)
        last = self.join(max(0, ahead))
        for process in self.living():
            if process is not last:
                process.drain()
        return last

    def new_secret(self, site: Site) -> tuple[str, Secret]:
        """For the slot of the site that it proves itself with; its far end knows it already."""
        slot = SLOTS[site.kind][0]
        if site.kind in SHARED_HOSTS:
            secret = Secret(f"canary-key-{self._dice.randbytes(12).hex()}".encode())
            self._holders[site.kind][secret.reveal().decode()] = site
            return slot, secret
        return slot, Secret(b"whsec_" + base64.b64encode(self._dice.randbytes(24)))
