"""Profiles: how much attention a row pays to each row of a bank, streamed over the bank."""

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.relations.budget import block_elements
from asterism.relations.streamed import streamed

# Similarities in one block on a CPU (4 MiB in float32): near the cache, yet few calls for a large
# bank.
IN_CACHE = 2**20


@streamed
def profile_cross_entropy(
    student: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n d"],
    bank: Float[Tensor, "k d"],
    *,
    student_temperature: float,
    teacher_temperature: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d"]]:
    r"""Return the mean cross-entropy between the profiles of both networks over one bank.

    A profile is $p(x)_k \propto \exp(\langle x, m_k \rangle / \tau)$. Because the student's logits
    are inner products, the cross-entropy needs no matrix of $n \times k$ probabilities: with the
    mean of the bank under each profile, $\mu(x) = \sum_k p(x)_k m_k$,

    $$\ell_i = \log \sum_k e^{\langle s_i, m_k \rangle / \tau_s}
      - \langle s_i, \mu(t_i) \rangle / \tau_s, \qquad
      \nabla_{s_i} \ell_i = (\mu(s_i) - \mu(t_i)) / \tau_s,$$

    and both come from one pass over blocks of the bank: $O(nd)$ memory beside one block. The
    gradient is computed in that pass, so the bank may change before `backward`, and cannot be
    differentiated again.

    Args:
        student: Rows whose profile is learnt.
        teacher: Rows whose profile is the target; no gradient flows into them.
        bank: Rows both are compared with, as they are; no gradient flows into them.
        student_temperature: Softness $\tau_s$ of the student's profile.
        teacher_temperature: Softness $\tau_t$ of the teacher's profile.

    Returns:
        The value, and its gradient for the student.
    """
    _, target = _attend(teacher / teacher_temperature, bank)
    log_mass, mean = _attend(student / student_temperature, bank)
    value = (log_mass - (student * target).sum(1) / student_temperature).mean()
    return value, (mean - target).div_(len(student) * student_temperature)


def _attend(queries: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp of each query's logits and the mean of the bank under their softmax.

    Sums are kept relative to the largest logit seen so far and shrunk when a larger one comes.
    """
    peak = queries.new_full((len(queries), 1), -torch.inf)
    mass = torch.zeros_like(peak)
    mean = torch.zeros_like(queries)
    step = block_elements(bank, bytes_each=8, in_cache=IN_CACHE) // len(queries)
    for block in torch.split(bank, max(1, step)):
        logits = queries @ block.T
        highest = torch.maximum(peak, logits.amax(1, keepdim=True))
        weight = logits.sub_(highest).exp_()
        shrink = (peak - highest).exp_()
        mass = mass.mul_(shrink).add_(weight.sum(1, keepdim=True))
        mean = torch.addmm(mean.mul_(shrink), weight, block)
        peak = highest
    return (peak + mass.log()).squeeze(1), mean.div_(mass)
