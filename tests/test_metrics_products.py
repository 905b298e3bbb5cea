"""Products on another device than numpy's are numpy's, and so are the metrics made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastgan_ray.metrics import products
from fastgan_ray.metrics.kernel import kernel_distance
from fastgan_ray.metrics.manifold import precision_recall_density_coverage


class Elsewhere:
    """A device that is not called the CPU, whose tensors are the CPU's."""

    type = "elsewhere"


@pytest.fixture
def elsewhere(monkeypatch):
    there = torch.Tensor.to
    monkeypatch.setattr(products, "product_device", Elsewhere)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, dtype: there(tensor, dtype))


def features() -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(0)
    return noise.normal(size=(40, 12)), noise.normal(0.1, 1.1, size=(600, 12))


def test_a_product_elsewhere_is_numpys(elsewhere):
    x, y = features()
    found = products.product_with(y)(x)
    assert found.dtype == np.float64 and found.flags.writeable
    np.testing.assert_allclose(found, x @ y.T, rtol=1e-12, atol=1e-12)


def test_metrics_do_not_depend_on_the_device_of_products(monkeypatch, request):
    x, y = features()
    here = kernel_distance(x, y), precision_recall_density_coverage(x, y)
    request.getfixturevalue("elsewhere")
    there = kernel_distance(x, y), precision_recall_density_coverage(x, y)
    np.testing.assert_allclose(there[0], here[0], rtol=1e-9)
    assert there[1] == here[1]
