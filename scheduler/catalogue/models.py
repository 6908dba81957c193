"""What the catalogue knows of a vendor and of a device model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

CONFIDENCES = ("documented", "secondary", "memory")


@dataclass(frozen=True, slots=True)
class ShapeRule:
    """Which sets of devices of one node a task may take; an empty rule allows every set.

    Packages and blocks are cut by device index: package 2 is (0,1), (2,3), ...
    """

    counts: frozenset[int] | None = None  # allowed numbers of devices on a node; None: any
    stay_in_group_up_to: int = 0  # up to so many devices must lie in one fast-link group
    even_split_above_group: bool = False  # more than that are split evenly over two groups
    package: int = 1  # an even number of devices takes whole packages of so many
    block: int = 0  # blocks of so many devices by index; 0: none
    stay_in_block_up_to: int = 0  # up to so many devices must lie in one block
    source: str = ""

    def allows_count(self, devices: int) -> bool:
        """Whether a task may have so many devices on one node at all."""
        return self.counts is None or devices in self.counts


@dataclass(frozen=True, slots=True)
class Vendor:
    """What holds for every model of a vendor."""

    key: str
    name: str
    domestic: bool  # the ruling by default; a subsidy program may bring its own list of models
    domestic_basis: str
    visibility: tuple[str, ...]  # variables that bind a process to devices; the first is the usual one
    container_visibility: str | None
    torch_device: str
    backend: str  # torch.distributed
    kubernetes_resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """A kind of device. A figure that nobody published is None."""

    key: str
    name: str
    vendor: Vendor
    also_called: tuple[str, ...]
    memory_bytes: int | None
    memory_confidence: str | None
    fp16_tflops: Fraction | None  # vendor peak, dense: a prior, not a measurement
    fp16_confidence: str | None
    devices_per_node: int | None  # usual number
    fast_link_group: int | None  # usual number of devices joined by fast links
    link: str | None
    kubernetes_resources: tuple[str, ...]
    shape: ShapeRule = field(default_factory=ShapeRule)

    @property
    def domestic(self) -> bool:
        """The ruling for the vendor."""
        return self.vendor.domestic

    @property
    def fp16_gflops(self) -> int:
        """The prior of speed as a whole number; 0 where no figure is known."""
        tflops = self.fp16_tflops
        if tflops is None:
            return 0
        return tflops.numerator * 1000 // tflops.denominator  # asked often: no arithmetic of fractions


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every vendor and model by key."""

    vendors: Mapping[str, Vendor]
    models: Mapping[str, DeviceModel]

    def get(self, key: str) -> DeviceModel | None:
        """A model, or None when the catalogue does not know it."""
        return self.models.get(key)

    def fp16_gflops(self, key: str) -> int:
        """The prior of a model's speed; 0 where the model or its figure is not known."""
        model = self.models.get(key)
        return 0 if model is None else model.fp16_gflops

    def shape(self, key: str) -> ShapeRule:
        """The shape rule of a model; the empty rule for an unknown one."""
        model = self.models.get(key)
        return _ANY_SHAPE if model is None else model.shape


_ANY_SHAPE = ShapeRule()
