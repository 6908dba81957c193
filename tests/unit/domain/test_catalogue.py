"""The catalogue that is shipped, against the facts that it was made from."""

from fractions import Fraction

import pytest
import yaml

from scheduler.catalogue import load_catalogue
from scheduler.catalogue.loader import catalogue_from_texts
from scheduler.domain.errors import Invalid
from tests.shared_data import shared_path


def test_every_chinese_vendor_is_domestic_and_nvidia_is_not() -> None:
    catalogue = load_catalogue()
    foreign = {key for key, vendor in catalogue.vendors.items() if not vendor.domestic}
    assert foreign == {"nvidia"}
    assert len(catalogue.vendors) == 11


def test_every_model_says_how_sure_its_figures_are() -> None:
    for model in load_catalogue().models.values():
        assert (model.memory_bytes is None) == (model.memory_confidence is None), model.key
        assert (model.fp16_tflops is None) == (model.fp16_confidence is None), model.key
        assert model.vendor.visibility, model.key
        assert model.vendor.backend, model.key


def test_shapes_that_vendors_document_are_in_it() -> None:
    catalogue = load_catalogue()
    assert catalogue.shape("ascend-910a").stay_in_group_up_to == 4
    assert catalogue.shape("ascend-910c").package == 2
    assert not catalogue.shape("ascend-910c").allows_count(3)
    assert catalogue.shape("ascend-910b2c").even_split_above_group
    assert catalogue.shape("mlu370-x8").counts == {1, 2, 4, 8}
    assert catalogue.shape("kunlunxin-p800").stay_in_block_up_to == 4
    assert catalogue.shape("ascend-910b3").allows_count(3)


def test_a_decimal_figure_is_kept_as_it_was_written() -> None:
    assert load_catalogue().models["ascend-910b1"].fp16_tflops == Fraction(3789, 10)


def test_every_figure_agrees_with_the_collected_facts() -> None:
    collected = yaml.safe_load(shared_path("accelerators/catalog.yaml").read_text(encoding="utf-8"))
    ours = {(m.vendor.key, m.name): m for m in load_catalogue().models.values()}
    per_package = {"ascend-910c", "mlu370-x8"}  # published for two of our devices
    for fact in collected["models"]:
        model = ours.pop((fact["vendor"], fact["model"]))
        if fact.get("memory_mib_reported"):
            assert model.memory_bytes == fact["memory_mib_reported"] << 20, model.key
        figure = fact.get("fp16_tflops") or fact.get("bf16_tflops")
        share = 2 if model.key in per_package else 1
        assert model.fp16_tflops == (None if figure is None else Fraction(str(figure)) / share), model.key
    assert ours == {}


GOOD = """
vendor: acme
name: Acme
domestic: true
domestic_basis: test
visibility: {process: [ACME_DEVICES], container: null}
torch_device: acme
backend: acl
kubernetes_resources: []
models:
- model: acme-1
  name: One
"""


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (("name: One", "name: One\n  colour: red"), "acme.yaml: models[0].colour"),
        (("name: One", "name: One\n  memory_bytes: 5"), "acme.yaml: models[0].memory_confidence"),
        (("name: One", "name: One\n  fp16_tflops: fast"), "acme.yaml: models[0].fp16_tflops"),
        (("domestic: true", "domestic: perhaps"), "acme.yaml: domestic"),
        (("  name: One", "  name: One\n- model: acme-1\n  name: Two"), "acme.yaml: models[1].model"),
    ],
)
def test_a_file_with_an_error_is_refused_with_the_place(change: tuple[str, str], field: str) -> None:
    assert catalogue_from_texts([("acme.yaml", GOOD)]).models["acme-1"].name == "One"
    with pytest.raises(Invalid) as caught:
        catalogue_from_texts([("acme.yaml", GOOD.replace(*change))])
    assert field in {problem.field for problem in caught.value.problems}
