"""The linear probe: accuracy of a linear classifier on an embedding."""

import warnings
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from asterism.measures.estimate import Estimate, share_of
from asterism.measures.retrieval import check_targets

Solver = Literal["logistic", "sgd"]
MAX_ITERATIONS = 2000
# How the papers probe students on STL-10 and Tiny ImageNet (RRD, after CRD).
EPOCHS, MILESTONES, BATCH, RATE, DECAY = 120, (30, 60, 90), 64, 0.05, 5e-4


def linear_probe(
    train: Float[Tensor, "m d"],
    train_target: Int[Tensor, " m"],
    test: Float[Tensor, "n d"],
    test_target: Int[Tensor, " n"],
    *,
    solver: Solver = "logistic",
    seed: int = 0,
) -> Estimate | None:
    """Return the accuracy of a linear classifier on an embedding.

    `logistic` is scikit-learn's logistic regression on the standardised embedding (mean and
    deviation of each column from the training set) with its own penalty (C = 1), solved by L-BFGS.
    `sgd` is the papers': 120 epochs of SGD on the embedding as it is, in batches of 64, with
    momentum 0.9, weight decay 5e-4 and a rate of 0.05, a tenth of it after 30, 60 and 90 epochs. On
    one frozen embedding of each sample, though: the papers crop and flip the pictures anew.

    Args:
        train: Embeddings to fit.
        train_target: Their classes.
        test: Embeddings to classify.
        test_target: Their classes.
        solver: `logistic` or `sgd`.
        seed: Of first weights and order of `sgd`; L-BFGS draws nothing.

    Returns:
        The accuracy, or None if either set is empty. With a single class to learn, that class is
        the answer for all. The interval is of other rows to classify with this very probe; what
        would have been learnt from other rows is not asked.

    Raises:
        ValueError: If embeddings and targets do not match, or are not finite, or `sgd` diverges.

    Examples:
        >>> import torch
        >>> rows, target = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1])
        >>> linear_probe(rows, target, rows, target)
        1.0
    """
    check_targets("linear_probe", train, train_target)
    check_targets("linear_probe", test, test_target)
    if not (train.isfinite().all() and test.isfinite().all()):
        raise ValueError(
            "linear_probe needs finite embeddings; got NaN or infinity: has the training diverged?"
        )
    if len(train) == 0 or len(test) == 0:
        return None
    if (train_target == train_target[0]).all():
        return share_of((test_target == train_target[0]).double())
    fitted = _logistic if solver == "logistic" else _descended
    predicted = fitted(train, train_target.cpu(), test, seed)
    return share_of((predicted == test_target.cpu()).double())


def _logistic(train: Tensor, target: Tensor, test: Tensor, seed: int) -> Tensor:
    """Return the classes that scikit-learn's logistic regression tells of the test rows."""
    # Here, not above: scikit-learn takes longer to import than all of asterism.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS, random_state=seed)
    )
    rows, queries = (x.detach().double().cpu().numpy() for x in (train, test))
    with warnings.catch_warnings():
        # It warns of many classes, and of weights that still move when the accuracy does not.
        warnings.simplefilter("ignore", UserWarning)
        probe.fit(rows, target.numpy())
    return torch.from_numpy(probe.predict(queries))


def _descended(train: Tensor, target: Tensor, test: Tensor, seed: int) -> Tensor:
    """Return the classes that a layer trained as the papers' tells of the test rows."""
    classes, number = torch.unique(target, return_inverse=True)
    rows = train.detach().float().cpu()
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(rows.shape[1], len(classes))
    nn.init.normal_(layer.weight, std=0.01, generator=generator)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.SGD(layer.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(MILESTONES))
    with torch.enable_grad():
        for _ in range(EPOCHS):
            for some in torch.split(torch.randperm(len(rows), generator=generator), BATCH):
                optimiser.zero_grad()
                torch.autograd.backward(F.cross_entropy(layer(rows[some]), number[some]))
                optimiser.step()
            schedule.step()
    scores = F.linear(test.detach().float().cpu(), layer.weight.detach(), layer.bias.detach())
    if not scores.isfinite().all():
        raise ValueError(
            "the probe by SGD has diverged: the embedding is too large for the papers' rate; "
            "use logistic regression, which standardises it."
        )
    found: Tensor = classes[scores.argmax(1)]
    return found
