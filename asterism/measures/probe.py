"""The linear probe: accuracy of a linear classifier on an embedding."""

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.measures.estimate import Estimate, share_of
from asterism.measures.retrieval import check_targets

MAX_ITERATIONS = 2000


def linear_probe(
    train: Float[Tensor, "m d"],
    train_target: Int[Tensor, " m"],
    test: Float[Tensor, "n d"],
    test_target: Int[Tensor, " n"],
    *,
    seed: int = 0,
) -> Estimate | None:
    """Return the accuracy of a logistic regression on the standardised embedding.

    Mean and deviation of each column are those of the training set. The regression is
    scikit-learn's with its own penalty (C = 1), solved by L-BFGS.

    Args:
        train: Embeddings to fit.
        train_target: Their classes.
        test: Embeddings to classify.
        test_target: Their classes.
        seed: Random state of the solver; L-BFGS draws nothing.

    Returns:
        The accuracy, or None if either set is empty. With a single class to learn, that class is
        the answer for all. The interval is of other rows to classify with this very probe; what
        would have been learnt from other rows is not asked.

    Raises:
        ValueError: If embeddings and targets do not match, or are not finite.

    Examples:
        >>> import torch
        >>> rows, target = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1])
        >>> linear_probe(rows, target, rows, target)
        1.0
    """
    # Here, not above: scikit-learn takes longer to import than all of asterism.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

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
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS, random_state=seed)
    )
    rows, queries = (x.detach().double().cpu().numpy() for x in (train, test))
    with warnings.catch_warnings():
        # It warns of many classes, and of weights that still move when the accuracy does not.
        warnings.simplefilter("ignore", UserWarning)
        probe.fit(rows, train_target.cpu().numpy())
    predicted = torch.from_numpy(probe.predict(queries))
    return share_of((predicted == test_target.cpu()).double())
