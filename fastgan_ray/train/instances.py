"""InsGen and FakeCLR: D learns to distinguish each picture from earlier pictures.

Yang et al., "Data-Efficient Instance Generation from Instance Discrimination" (NeurIPS 2021,
InsGen), and Li et al., "FakeCLR: Exploring Contrastive Learning for Solving Latent Discontinuity in
Data-Efficient GANs" (ECCV 2022). D embeds a picture; the embedding is called a query. A slow copy
of D embeds a second view of the same picture; this embedding is called a key. The query must be
similar to its key, and not similar to the keys of earlier pictures, which are stored in a queue.
G's loss has the same term for generated pictures, so G learns to make pictures that D can
distinguish.

The second view of a real picture is another augmentation of the picture. The second view of a
generated picture also has another augmentation, and is generated from the same latent with added
noise. InsGen compares real and generated pictures, with a head and a queue for each kind. FakeCLR
compares only generated pictures, and gives older keys less weight (see `loss`).

There are two differences from the published code. The queries are computed from the features by
which D judges the pictures, so D processes no picture twice. G's loss uses the keys that were
computed for D's loss in the same step. All networks use batch statistics, as in D's other losses.
With several processes, these are the statistics of the whole batch.

The keys of a batch enter the queue after the losses that use these keys. New keys enter at the end
of the queue, and the oldest keys at the start leave it. So the position of a key shows its age. A
step, even a captured one, needs no pointer into the queue.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.task_fields import INSTANCE_KINDS
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.models import AnyDiscriminator, distribute
from fastgan_ray.models.base import EMBEDDING
from fastgan_ray.torch_compat import copy_each_, move_each_

# A queue has room for at least this number of batches. Otherwise, a queue for 5 % of 50 pictures
# would have room for only 3 keys.
MIN_BATCHES = 4


@dataclass(frozen=True)
class Queue:
    """The keys of earlier pictures, the oldest first.

    `keys` (K, 128) have length 1. `count` is a scalar, int64. Only the last `count` rows of `keys`
    contain keys; the other rows are still empty.
    """

    keys: Tensor
    count: Tensor


@dataclass(frozen=True)
class Instances:
    """The state of InsGen or FakeCLR.

    `network` is the slow copy of D. `queues` has a queue for each kind of pictures ("fake",
    "real"). `ages` (K,) has the age of each key in a queue (see `ages_of`).
    """

    network: AnyDiscriminator
    queues: dict[str, Queue]
    ages: Tensor


def instances_state(
    config: RunConfig, discriminator: AnyDiscriminator, image_count: int, group: Group = ALONE
) -> Instances | None:
    """Return the state before the first step, or None if D has neither InsGen nor FakeCLR.

    The slow copy of D starts with the weights of `discriminator`, on the same device. Call this
    function before `distribute(discriminator, group)`. `image_count` is the number of training
    pictures.
    """
    kinds = INSTANCE_KINDS.get(config.model.task, ())
    if not kinds:
        return None
    network = copy.deepcopy(discriminator).requires_grad_(False)
    distribute(network, group)
    device = next(network.parameters()).device
    length = queue_length(config, image_count)
    queues = {
        kind: Queue(
            torch.zeros(length, EMBEDDING, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
        )
        for kind in kinds
    }
    return Instances(network, queues, ages_of(length, config.train.batch_size).to(device))


def queue_length(config: RunConfig, image_count: int) -> int:
    """Return the number of keys in a queue, a multiple of the batch size.

    It is the fraction `train.insgen_queue` of `image_count`, rounded up to whole batches. It is at
    least MIN_BATCHES batches.
    """
    batch = config.train.batch_size
    batches = math.ceil(config.train.insgen_queue * image_count / batch - 1e-9)
    return batch * max(MIN_BATCHES, batches)


def ages_of(length: int, batch: int) -> Tensor:
    """Return the ages (K,) of the K = `length` keys of a queue: 0 is the newest, 1 the oldest.

    `batch` is the number of keys that enter together. They have the same age. The age grows
    linearly from batch to batch.
    """
    batches = length // batch
    return torch.linspace(1, 0, batches).repeat_interleave(batch)


def loss(
    queries: Tensor,
    keys: Tensor,
    queue: Queue,
    temperature: float | Tensor,
    penalties: Tensor | None = None,
) -> Tensor:
    """Compute the mean cross-entropy of finding each query's key among all keys, as a scalar.

    `queries` and `keys` are (B, 128), of length 1. Row i of both belongs to the same picture. For a
    query q with the key k, temperature t and the queue's keys k_j with the penalties a_j, the
    cross-entropy is

        -log( exp(q.k / t) / (exp(q.k / t) + sum_j exp(q.k_j / t - a_j)) ).

    `penalties` (K,) are FakeCLR's forgetting factor times the ages (see `ages_of`). So the newest
    key has the weight 1, and the oldest key has the weight exp(-factor). If `penalties` is None,
    all penalties are 0 (InsGen). Empty rows of the queue are ignored. If all rows are empty, the
    loss is 0.
    """
    right_B1 = (queries * keys).sum(dim=1, keepdim=True) / temperature
    wrong_BK = queries @ queue.keys.to(queries).T / temperature
    if penalties is not None:
        wrong_BK = wrong_BK - penalties
    length = len(queue.keys)
    places_K = torch.arange(length, device=queries.device)
    wrong_BK = wrong_BK.masked_fill(places_K < length - queue.count, -torch.inf)
    logits = torch.cat([right_B1, wrong_BK], dim=1)
    # The right answer is the first column.
    return -F.log_softmax(logits, dim=1)[:, 0].mean()


@torch.no_grad()
def key_of(instances: Instances, images: Tensor, kind: str) -> Tensor:
    """Embed pictures (B, C, H, W) with the slow copy of D; return keys (B, 128) of length 1.

    `kind` is the kind of the pictures, "fake" or "real".
    """
    network = instances.network
    return network.embed_instances(network.trunk(images), kind)


@torch.no_grad()
def follow(instances: Instances, discriminator: AnyDiscriminator, momentum: float | Tensor) -> None:
    """Move the weights of the slow copy of D towards D's weights.

    Each weight moves by the fraction 1 - `momentum` of its difference from D's weight. If a
    schedule changes the momentum, `momentum` must be a scalar tensor on the device. The state of
    CHAIN's normalisation is copied from D. Batch statistics and the vectors of spectral
    normalisation are not copied.
    """
    copies: list[Tensor] = list(instances.network.parameters())
    weights: list[Tensor] = list(discriminator.parameters())
    if isinstance(momentum, Tensor):
        move_each_(copies, weights, 1 - momentum)
    else:
        get_ema_multi_avg_fn(momentum)(copies, weights, 0)  # type: ignore[no-untyped-call]
    if instances.network.chain is not None and discriminator.chain is not None:
        chains = (instances.network.chain, discriminator.chain)
        copy_each_(*(list(chain.buffers()) for chain in chains))


@torch.no_grad()
def push(instances: Instances, keys: Mapping[str, Tensor], group: Group = ALONE) -> None:
    """Add the keys (B, 128) of each kind to the queue of this kind; remove the oldest keys.

    `keys` maps "fake" and "real" to the keys. The keys of all processes of `group` are added in the
    order of their ranks.
    """
    for kind, local in keys.items():
        queue, new = instances.queues[kind], group.gather(local).to(instances.queues[kind].keys)
        queue.keys.copy_(torch.cat([queue.keys[len(new) :], new]))
        queue.count.add_(len(new)).clamp_(max=len(queue.keys))


def restart(instances: Instances | None, discriminator: AnyDiscriminator) -> None:
    """Copy D's weights and buffers to its slow copy; call this after replacing D's weights.

    If `instances` is None, do nothing.
    """
    if instances is not None:
        instances.network.load_state_dict(discriminator.state_dict())


def queue_tensors(instances: Instances) -> dict[str, Tensor]:
    """Return the tensors of the queues for checkpoints, by names such as "fake.keys"."""
    return {
        f"{kind}.{name}": tensor
        for kind, queue in instances.queues.items()
        for name, tensor in vars(queue).items()
    }


def load_queues(instances: Instances, stored: Mapping[str, Tensor]) -> None:
    """Load the queues from tensors that `queue_tensors` returned.

    Raises ValueError if a tensor has another shape.
    """
    for name, tensor in queue_tensors(instances).items():
        if stored[name].shape != tensor.shape:
            raise ValueError(
                f"{name} must have shape {tuple(tensor.shape)} (got {tuple(stored[name].shape)})"
            )
        tensor.copy_(stored[name])


def changing_tensors(instances: Instances | None) -> list[Tensor]:
    """Return all tensors of `instances` that a step changes; [] if `instances` is None."""
    if instances is None:
        return []
    return [*instances.network.state_dict().values(), *queue_tensors(instances).values()]
