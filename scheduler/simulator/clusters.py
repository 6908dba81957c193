"""Clusters described in a file: nodes by kind, models that the catalogue does not know, prices."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from scheduler.catalogue import Catalogue, load_catalogue
from scheduler.domain.errors import DomainError, FieldProblem, Invalid
from scheduler.domain.reading import Reader
from scheduler.domain.suggestions import one_of
from scheduler.simulator.cluster import NodeSpec
from scheduler.simulator.models import catalogue_of
from suanli.client.yaml_files import BadYaml, read_yaml

MOST_NODES = 200_000
DEFAULT_POOL = "pool"
_KEY = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """What a file describes."""

    catalogue: Catalogue
    nodes: tuple[NodeSpec, ...]
    prices_nano_cny: Mapping[str, int] = field(default_factory=dict)  # for a device-hour, by model

    @property
    def models(self) -> tuple[str, ...]:
        """Device models, in the order in which the file names them."""
        return tuple(dict.fromkeys(node.model for node in self.nodes if node.devices))

    @property
    def devices(self) -> Mapping[str, int]:
        """How many of each model."""
        return {model: sum(n.devices for n in self.nodes if n.model == model) for model in self.models}


class BadFile(DomainError):
    """A file that cannot be read as what it should be; the sentence names it and the line."""


def content_of(path: Path) -> dict[str, Any]:
    """What stands in a YAML file, read as `suanli apply` reads it. Raises BadFile."""
    try:
        return read_yaml(str(path)).content
    except BadYaml as error:
        raise BadFile(str(error)) from None


def read_cluster(path: Path, name: str | None = None) -> ClusterFile:
    """Reads a cluster, or the one of a name from a file of several. Raises BadFile, and Invalid with every
    problem.
    """
    value: Any = content_of(path)
    if name is not None:
        if name not in value:
            several = "nodes" not in value
            want = one_of(name, list(value)) if several else f"nothing: {path} describes one cluster"
            raise Invalid([FieldProblem("--cluster-name", name, want)])
        value = value[name]
    elif value and all(isinstance(one, Mapping) and "nodes" in one for one in value.values()):
        raise Invalid([FieldProblem("--cluster-name", "nothing", one_of("", list(value)))])
    return cluster_from(value, f"{path.name}: ")


def cluster_from(value: Any, where: str = "") -> ClusterFile:
    """A cluster from parsed YAML. Raises Invalid with every problem."""
    reader = Reader(value, where)
    speeds = _models(reader)
    known = load_catalogue()
    catalogue = catalogue_of(speeds, known)
    wrong_before = len(reader.problems)
    alike = reader.each("nodes", partial(_alike, catalogue=catalogue))
    count = sum(group.count for group in alike)
    unsaid = len(reader.problems) == wrong_before
    if count > MOST_NODES or (not count and unsaid):
        reader.problem(reader.at("nodes"), f"{count} nodes", f"1 to {MOST_NODES} nodes")
    prices = _prices(reader)
    reader.finish()
    nodes = tuple(node for number, group in enumerate(alike) for node in group.nodes(number))
    return ClusterFile(catalogue, nodes, prices)


def _models(reader: Reader) -> dict[str, int]:
    """GFLOPS of models that the catalogue does not know; 0: nobody published a figure."""
    child = reader.child("models")
    speeds = {}
    for key in _keys(reader, "models"):
        item = child.child(key)
        speeds[key] = item.integer("fp16_gflops", 0, low=0, high=1_000_000_000)
        item.refuse_unknown()
    return speeds


@dataclass(frozen=True, slots=True)
class _Alike:
    """`count` nodes like this one, which are told apart by number."""

    node: NodeSpec
    name: str | None  # beginning of their names
    count: int
    per_leaf: int | None

    def nodes(self, number: int) -> Iterator[NodeSpec]:
        """Each of them. `number`: which entry of the file this is."""
        name = self.name or f"{self.node.model}-{number}"
        for n in range(self.count):
            leaf, position = (0, 0) if self.per_leaf is None else divmod(n, self.per_leaf)
            yield replace(
                self.node,
                name=f"{name}-{n}",
                domains=(None, None, None if self.per_leaf is None else f"{name}-leaf-{leaf}"),
                position=position,
            )


def _alike(reader: Reader, catalogue: Catalogue) -> _Alike:
    model = reader.text("model", pattern=_KEY, want="key of a device model")
    count = reader.integer("count", 1, low=1, high=MOST_NODES)
    devices = reader.integer("devices", low=0, high=1024)
    known = catalogue.get(model)
    if known is None:
        reader.problem(reader.at("model"), model, "a model of the catalogue, or one that stands under models")
    group = 0 if known is None or known.fast_link_group is None else known.fast_link_group
    pool = reader.text("pool", DEFAULT_POOL, pattern=_KEY, want="name of a pool")
    name = reader.optional_text("name", pattern=_KEY, want="beginning of the nodes' names")
    per_leaf = reader.optional_integer("nodes_per_leaf", low=1, high=MOST_NODES)
    cores = reader.optional_integer("cpu_cores", low=1, high=100_000)
    memory_gib = reader.optional_integer("memory_gib", low=1, high=1_000_000)
    node = NodeSpec(
        name="",
        model=model,
        devices=devices,
        pool=pool,
        cpu_milli=None if cores is None else cores * 1000,
        memory_bytes=None if memory_gib is None else memory_gib << 30,
        fast_link_group=reader.integer("fast_link_group", group, low=0, high=1024),
    )
    return _Alike(node, name, count, per_leaf)


def _prices(reader: Reader) -> dict[str, int]:
    """Nano CNY for a device-hour, from decimal text."""
    prices = {}
    for key, text in reader.text_map("prices_cny", most=1000, key_pattern=_KEY).items():
        try:
            nano = Decimal(text) * 1_000_000_000
            prices[key] = int(nano)
            good = nano.is_finite() and nano >= 0 and nano == prices[key]
        except (ArithmeticError, ValueError):
            good = False
        if not good:
            reader.problem(
                f"{reader.at('prices_cny')}.{key}", text, 'CNY for a device-hour as text, like "2.50"'
            )
    return prices


def _keys(reader: Reader, key: str) -> list[str]:
    value = reader.raw(key)
    return [name for name in value if isinstance(name, str)] if isinstance(value, Mapping) else []
