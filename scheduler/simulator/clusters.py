"""Clusters described in a file: nodes by kind, models that the catalogue does not know, prices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from scheduler.catalogue import Catalogue, load_catalogue
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.reading import Reader
from scheduler.simulator.cluster import NodeSpec
from scheduler.simulator.models import catalogue_of

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


def read_cluster(path: Path, name: str | None = None) -> ClusterFile:
    """Reads a cluster, or the one of a name from a file of several. Raises Invalid with every problem."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(
            [FieldProblem(str(path), error.strerror or str(error), "a file that can be read")]
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid([FieldProblem(str(path), str(error), "YAML")]) from None
    if name is not None:
        if not isinstance(value, dict) or name not in value:
            names = ", ".join(value) if isinstance(value, dict) else "nothing"
            raise Invalid([FieldProblem(str(path), name, f"one of {names}")])
        value = value[name]
    return cluster_from(value, f"{path.name}: ")


def cluster_from(value: Any, where: str = "") -> ClusterFile:
    """A cluster from parsed YAML. Raises Invalid with every problem."""
    reader = Reader(value, where)
    speeds = _models(reader)
    known = load_catalogue()
    catalogue = catalogue_of(speeds, known)
    nodes: list[NodeSpec] = []
    for number, item in enumerate(reader.items("nodes")):
        child = Reader(item, f"{where}nodes[{number}]", reader.problems)
        nodes += _nodes(child, number, catalogue)
        child.refuse_unknown()
        if len(nodes) > MOST_NODES:
            reader.problem(f"{where}nodes", f"{len(nodes)} nodes", f"at most {MOST_NODES}")
            break
    if not nodes:
        reader.problem(f"{where}nodes", "none", "at least one node")
    prices = _prices(reader)
    reader.finish()
    return ClusterFile(catalogue, tuple(nodes), prices)


def _models(reader: Reader) -> dict[str, int]:
    """GFLOPS of models that the catalogue does not know; 0: nobody published a figure."""
    child = reader.child("models")
    speeds = {}
    for key in _keys(reader, "models"):
        item = child.child(key)
        speeds[key] = item.integer("fp16_gflops", 0, low=0, high=1_000_000_000)
        item.refuse_unknown()
    return speeds


def _nodes(reader: Reader, number: int, catalogue: Catalogue) -> list[NodeSpec]:
    model = reader.text("model", pattern=_KEY, want="key of a device model")
    count = reader.integer("count", 1, low=1, high=MOST_NODES)
    devices = reader.integer("devices", low=0, high=1024)
    known = catalogue.get(model)
    if known is None:
        reader.problem(reader.at("model"), model, "a model of the catalogue, or one that stands under models")
    group = 0 if known is None or known.fast_link_group is None else known.fast_link_group
    pool = reader.text("pool", DEFAULT_POOL, pattern=_KEY, want="name of a pool")
    name = reader.text("name", f"{model}-{number}", pattern=_KEY, want="beginning of the nodes' names")
    per_leaf = reader.optional_integer("nodes_per_leaf", low=1, high=MOST_NODES)
    cores = reader.optional_integer("cpu_cores", low=1, high=100_000)
    memory_gib = reader.optional_integer("memory_gib", low=1, high=1_000_000)
    return [
        NodeSpec(
            name=f"{name}-{n}",
            model=model,
            devices=devices,
            pool=pool,
            cpu_milli=None if cores is None else cores * 1000,
            memory_bytes=None if memory_gib is None else memory_gib << 30,
            domains=(None, None, None if per_leaf is None else f"{name}-leaf-{n // per_leaf}"),
            position=0 if per_leaf is None else n % per_leaf,
            fast_link_group=reader.integer("fast_link_group", group, low=0, high=1024),
        )
        for n in range(count)
    ]


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
