"""Which models a device class means."""

from scheduler.catalogue.models import Catalogue
from scheduler.domain.jobs import DeviceClass


def models_of(wanted: DeviceClass, catalogue: Catalogue) -> list[str]:
    """Keys of the models that fit, in the catalogue's order. A figure that nobody published fits nothing."""
    return [
        key
        for key, model in catalogue.models.items()
        if (wanted.vendor is None or model.vendor.key == wanted.vendor)
        and (wanted.domestic is None or model.domestic is wanted.domestic)
        and _reaches(model.memory_bytes, wanted.memory_bytes_at_least)
        and _reaches(model.fp16_gflops, (wanted.fp16_tflops_at_least or 0) * 1000 or None)
    ]


def _reaches(figure: int | None, wanted: int | None) -> bool:
    return wanted is None or (figure is not None and figure >= wanted)
