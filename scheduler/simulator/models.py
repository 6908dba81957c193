"""Device models that a trace names and the catalogue does not know."""

from collections.abc import Mapping
from fractions import Fraction

from scheduler.catalogue import Catalogue, DeviceModel, ShapeRule, Vendor

_TRACE_VENDOR = Vendor("trace", "a trace", False, "as the trace says", ("DEVICES",), None, "cpu", "gloo", ())


def catalogue_of(
    speeds: Mapping[str, int], known: Catalogue | None = None, shapes: Mapping[str, ShapeRule] | None = None
) -> Catalogue:
    """A catalogue of a trace's models: GFLOPS by model (0: unknown), beside what is known already.

    A model that the real catalogue knows keeps its facts.
    """
    models = {} if known is None else dict(known.models)
    vendors = {} if known is None else dict(known.vendors)
    vendors[_TRACE_VENDOR.key] = _TRACE_VENDOR
    for key, gflops in speeds.items():
        if key in models:
            continue
        models[key] = DeviceModel(
            key=key,
            name=key,
            vendor=_TRACE_VENDOR,
            also_called=(),
            memory_bytes=None,
            memory_confidence=None,
            fp16_tflops=Fraction(gflops, 1000) if gflops else None,
            fp16_confidence=None,
            devices_per_node=None,
            fast_link_group=None,
            link=None,
            kubernetes_resources=(),
            shape=ShapeRule() if shapes is None else shapes.get(key, ShapeRule()),
        )
    return Catalogue(vendors, models)
