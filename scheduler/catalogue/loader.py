"""Reads the vendors' YAML files. Strict: an unknown key or a wrong type is an error with file and path."""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache, partial
from importlib import resources
from typing import Any

import yaml

from scheduler.catalogue.models import CONFIDENCES, Catalogue, DeviceModel, ShapeRule, Vendor
from scheduler.domain.reading import Reader

_KEY = r"[a-z0-9][a-z0-9.-]*"
_MOST = 1 << 60
# The same in C where PyYAML was built with it: every process reads the catalogue when it starts.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def load_catalogue() -> Catalogue:
    """The catalogue that is shipped with this package. Read once per process."""
    folder = resources.files("scheduler.catalogue")
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda f: f.name)
    return catalogue_from_texts((file.name, file.read_text(encoding="utf-8")) for file in files)


def catalogue_from_texts(texts: Iterable[tuple[str, str]]) -> Catalogue:
    """Builds a catalogue from (file name, YAML) pairs. Raises Invalid with all problems of a bad file."""
    vendors: dict[str, Vendor] = {}
    models: dict[str, DeviceModel] = {}
    for name, text in texts:
        reader = Reader(yaml.load(text, _YAML), f"{name}: ")  # noqa: S506 - a safe one
        vendor = _vendor(reader)
        vendors[vendor.key] = vendor
        for number, model in enumerate(reader.each("models", partial(_model, vendor=vendor))):
            if model.key in models:
                where = f"{reader.at('models')}[{number}].model"
                reader.problem(where, model.key, "a key that no other model has")
            models[model.key] = model
        reader.finish()
    return Catalogue(vendors, models)


def _vendor(reader: Reader) -> Vendor:
    visibility = reader.child("visibility")
    vendor = Vendor(
        key=reader.text("vendor", pattern=_KEY),
        name=reader.text("name"),
        domestic=bool(reader.raw("domestic")),
        domestic_basis=reader.text("domestic_basis"),
        visibility=_texts(visibility, "process"),
        container_visibility=visibility.raw("container"),
        torch_device=reader.text("torch_device"),
        backend=reader.text("backend"),
        kubernetes_resources=_texts(reader, "kubernetes_resources"),
    )
    if not isinstance(reader.raw("domestic"), bool):
        reader.problem(reader.at("domestic"), reader.raw("domestic"), "true or false")
    visibility.refuse_unknown()
    return vendor


def _model(reader: Reader, vendor: Vendor) -> DeviceModel:
    reader.raw("fp16_note")
    return DeviceModel(
        key=reader.text("model", pattern=_KEY),
        name=reader.text("name"),
        vendor=vendor,
        also_called=_texts(reader, "also_called"),
        memory_bytes=reader.optional_integer("memory_bytes", low=1, high=_MOST),
        memory_confidence=_confidence(reader, "memory_confidence", reader.has("memory_bytes")),
        fp16_tflops=_figure(reader, "fp16_tflops"),
        fp16_confidence=_confidence(reader, "fp16_confidence", reader.has("fp16_tflops")),
        devices_per_node=reader.optional_integer("devices_per_node", low=1, high=1024),
        fast_link_group=reader.optional_integer("fast_link_group", low=1, high=1024),
        link=reader.raw("link"),
        kubernetes_resources=_texts(reader, "kubernetes_resources") or vendor.kubernetes_resources,
        shape=_shape(reader.child("shape")),
    )


def _shape(reader: Reader) -> ShapeRule:
    counts = reader.items("counts")
    rule = ShapeRule(
        counts=frozenset(counts) if counts else None,
        stay_in_group_up_to=reader.integer("stay_in_group_up_to", 0, low=0, high=1024),
        even_split_above_group=bool(reader.raw("even_split_above_group")),
        package=reader.integer("package", 1, low=1, high=1024),
        block=reader.integer("block", 0, low=0, high=1024),
        stay_in_block_up_to=reader.integer("stay_in_block_up_to", 0, low=0, high=1024),
        source=reader.text("source", ""),
    )
    reader.refuse_unknown()
    return rule


def _figure(reader: Reader, key: str) -> Fraction | None:
    value = reader.raw(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        reader.problem(reader.at(key), value, "a positive number")
        return None
    return Fraction(str(value))  # 378.9 as people wrote it, not as a binary float


def _confidence(reader: Reader, key: str, needed: bool) -> str | None:
    return reader.choice(key, CONFIDENCES) if needed else reader.raw(key)


def _texts(reader: Reader, key: str) -> tuple[str, ...]:
    items: list[Any] = reader.items(key)
    for item in items:
        if not isinstance(item, str):
            reader.problem(reader.at(key), item, "a list of texts")
    return tuple(str(item) for item in items)
