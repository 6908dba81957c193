"""Fragmentation Gradient Descent (Weng et al., USENIX ATC 2023).

A pod goes to the node, and a share to the device, where it raises the expected fragmentation least: the
devices' capacity that a pod drawn from the workload could not use. Equal scores go to the first node.
The paper's artifact squeezes its scores into the whole numbers 0 to 100, so that most are equal and the
first node wins; that is kept as `truncated`, because it is what was published, and it packs better.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.traces.pods import WHOLE_MILLI, Pod, TraceNode

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_TIE = 1e-9


class Seat(NamedTuple):
    """Where a pod went: the node's number, and the devices on it."""

    node: int
    devices: tuple[int, ...]


class _Kind(NamedTuple):
    """Pods that score alike: memory decides only whether they fit."""

    cpu_milli: int
    devices: int
    device_milli: int
    models: tuple[str, ...]


class Fgd:
    """The nodes while pods arrive. Cost of a pod: nodes changed since one of its kind came x kinds of pods."""

    def __init__(
        self, nodes: Sequence[TraceNode], workload: Sequence[Pod], *, truncated: bool = False
    ) -> None:
        self._truncated = truncated
        width = max(node.devices for node in nodes)
        self.cpu: Ints = np.array([node.cpu_milli for node in nodes])
        self.memory: Ints = np.array([node.memory_mib for node in nodes])
        self.free: Ints = np.zeros((len(nodes), width), dtype=np.int64)
        for number, node in enumerate(nodes):
            self.free[number, : node.devices] = WHOLE_MILLI
        names = sorted({node.model for node in nodes})
        self._model_number = {name: number for number, name in enumerate(names)}
        self._model: Ints = np.array([self._model_number[node.model] for node in nodes])
        self._changed: Ints = np.zeros(len(nodes), dtype=np.int64)
        self._kinds: dict[_Kind, tuple[Floats, Ints, Ints]] = {}  # score, device, version seen
        self._allowed: dict[tuple[str, ...], NDArray[np.bool_]] = {}
        self._typical(workload)

    def place(self, pod: Pod) -> Seat | None:
        """Takes the best seat; None where the pod fits nowhere."""
        kind = _Kind(pod.cpu_milli, pod.devices, pod.device_milli, pod.models)
        score, device, seen = self._scores(kind)
        stale = np.flatnonzero(seen != self._changed)
        if len(stale):
            score[stale], device[stale] = self._rise(kind, stale)
            seen[stale] = self._changed[stale]
        fits = np.where(self.memory >= pod.memory_mib, score, np.inf)
        node = int(np.argmin(fits))
        least = float(fits[node])
        if least == np.inf:
            return None
        node = int(np.argmax(fits <= least + _TIE))
        devices = self._devices_of(pod, node, int(device[node]))
        self.cpu[node] -= pod.cpu_milli
        self.memory[node] -= pod.memory_mib
        self.free[node, list(devices)] -= pod.device_milli
        self._changed[node] += 1
        return Seat(node, devices)

    def leave(self, pod: Pod, seat: Seat) -> None:
        """Gives back what a pod held."""
        self.cpu[seat.node] += pod.cpu_milli
        self.memory[seat.node] += pod.memory_mib
        self.free[seat.node, list(seat.devices)] += pod.device_milli
        self._changed[seat.node] += 1

    def _typical(self, workload: Sequence[Pod]) -> None:
        """The kinds of pods that want devices, with their shares of the workload."""
        counts = Counter(
            _Kind(pod.cpu_milli, pod.devices, pod.device_milli, pod.models) for pod in workload if pod.devices
        )
        kinds = sorted(counts)
        self._share: Floats = np.array([counts[kind] / len(workload) for kind in kinds])
        self._asks_cpu: Ints = np.array([kind.cpu_milli for kind in kinds])
        self._asks_devices: Ints = np.array([kind.devices for kind in kinds])
        self._demands, self._demand_of = np.unique([kind.device_milli for kind in kinds], return_inverse=True)
        self._runs_on: NDArray[np.bool_] = np.array([self._models(kind.models) for kind in kinds])

    def _models(self, models: tuple[str, ...]) -> NDArray[np.bool_]:
        allowed = self._allowed.get(models)
        if allowed is None:
            allowed = np.zeros(len(self._model_number), dtype=bool)
            numbers = [self._model_number[name] for name in models if name in self._model_number]
            allowed[numbers if models else slice(None)] = True
            self._allowed[models] = allowed
        return allowed

    def _scores(self, kind: _Kind) -> tuple[Floats, Ints, Ints]:
        known = self._kinds.get(kind)
        if known is None:
            nodes = len(self.cpu)
            unseen = np.full(nodes, -1, dtype=np.int64)
            known = self._kinds[kind] = (np.full(nodes, np.inf), np.zeros(nodes, dtype=np.int64), unseen)
        return known

    def _rise(self, kind: _Kind, nodes: Ints) -> tuple[Floats, Ints]:
        """By how much the kind would raise each node's fragmentation, and on which device (shares)."""
        score: Floats = np.full(len(nodes), np.inf)
        device: Ints = np.zeros(len(nodes), dtype=np.int64)
        free = self.free[nodes]
        fits = (self.cpu[nodes] >= kind.cpu_milli) & self._models(kind.models)[self._model[nodes]]
        if kind.devices:
            fits &= (free >= kind.device_milli).sum(axis=1) >= kind.devices
        chosen = np.flatnonzero(fits)
        if not len(chosen):
            return score, device
        free, cpu, model = free[chosen], self.cpu[nodes[chosen]], self._model[nodes[chosen]]
        before = self.fragmentation(free, cpu, model)
        if kind.devices == 1 and kind.device_milli < WHOLE_MILLI:
            rows, options = np.nonzero(free >= kind.device_milli)
            after = free[rows]
            after[np.arange(len(rows)), options] -= kind.device_milli
            after_cpu = cpu[rows] - kind.cpu_milli
            rise = self._score(self.fragmentation(after, after_cpu, model[rows]) - before[rows])
            best = np.full((len(chosen), free.shape[1]), np.inf)
            best[rows, options] = rise
            device[chosen] = np.argmin(best, axis=1)
            score[chosen] = best.min(axis=1)
        else:
            after = free.copy()
            whole = free >= WHOLE_MILLI
            after[whole & (np.cumsum(whole, axis=1) <= kind.devices)] = 0
            score[chosen] = self._score(self.fragmentation(after, cpu - kind.cpu_milli, model) - before)
        return score, device

    def _score(self, rise: Floats) -> Floats:
        if not self._truncated:
            return rise
        squeezed: Floats = -np.floor(100.0 / (1.0 + np.exp(rise / WHOLE_MILLI)))
        return squeezed

    def fragmentation(self, free: Ints, cpu: Ints, model: Ints) -> Floats:
        """Expected capacity, in thousandths of a device, that a pod of the workload could not use."""
        total = free.sum(axis=1)
        small = free[:, :, None] < self._demands[None, None, :]
        unusable = (free[:, :, None] * small).sum(axis=1)  # nodes x demands
        usable_devices = free.shape[1] - small.sum(axis=1)
        runs = cpu[:, None] >= self._asks_cpu[None, :]
        runs &= usable_devices[:, self._demand_of] >= self._asks_devices[None, :]
        runs &= self._runs_on.T[model]
        fragments = np.where(runs, unusable[:, self._demand_of], total[:, None])
        result: Floats = fragments @ self._share
        return result

    def _devices_of(self, pod: Pod, node: int, device: int) -> tuple[int, ...]:
        if pod.devices == 1 and pod.device_milli < WHOLE_MILLI:
            return (device,)
        return tuple(int(n) for n in np.flatnonzero(self.free[node] >= WHOLE_MILLI)[: pod.devices])
