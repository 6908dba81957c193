"""The processes of the gang as one: what they add up, and what one of them tells the rest.

A process that runs alone has no process group; every operation is then the identity.
"""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist
from launch import Launch
from torch import Tensor

# Long enough for a slow node to import PyTorch, short enough for a gang that lost a process to end by itself.
PATIENCE = timedelta(seconds=120)


class PeerLostError(Exception):
    """Another process of the gang has gone; nothing can be added up any more."""


class Processes:
    """The process group of this job, over gloo (PyTorch's collective library for processors)."""

    def __init__(self, launch: Launch) -> None:
        self.rank = launch.process_rank
        self.count = launch.process_count
        if self.count > 1:
            # MASTER_ADDR and MASTER_PORT come from the launch environment.
            dist.init_process_group("gloo", timeout=PATIENCE)

    def add_up(self, values: Tensor) -> Tensor:
        """Replace ``values`` by their sum over all processes.

        Raises:
            PeerLostError: a process has gone, or was not heard of within the patience.
        """
        if self.count > 1:
            try:
                dist.all_reduce(values)
            except RuntimeError as error:
                raise PeerLostError(str(error)) from error
        return values

    def gather(self, value: int) -> list[int]:
        """The whole number that each process brings, by process rank."""
        values = torch.zeros(self.count, dtype=torch.int64)
        values[self.rank] = value
        return [int(each) for each in self.add_up(values)]

    def tell(self, teller: int, payload: bytes) -> bytes:
        """The payload of process ``teller``, in every process.

        Raises:
            PeerLostError: as for ``add_up``.
        """
        if self.count == 1:
            return payload
        size = self.gather(len(payload))[teller]
        message = torch.empty(size, dtype=torch.uint8)
        if self.rank == teller:
            message = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
        try:
            dist.broadcast(message, src=teller)
        except RuntimeError as error:
            raise PeerLostError(str(error)) from error
        return bytes(message.tolist())

    def leave(self) -> None:
        """Leave the process group in good order."""
        if self.count > 1:
            dist.destroy_process_group()
