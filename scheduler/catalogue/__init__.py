"""Accelerator models as data, one YAML file a vendor, and the loader that checks them.

Belongs here: facts that vendors publish (memory, FP16 figure, visibility variable, collective backend,
resource names, allowed shapes), each with how sure we are, and the ruling whether a vendor is domestic.
Does not belong here: measurements, prices, anything that an operator decides per installation.
"""

from scheduler.catalogue.classes import models_of
from scheduler.catalogue.loader import load_catalogue
from scheduler.catalogue.models import Catalogue, DeviceModel, ShapeRule, Vendor

__all__ = ["Catalogue", "DeviceModel", "ShapeRule", "Vendor", "load_catalogue", "models_of"]
