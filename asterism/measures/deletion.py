"""Scores of queries from their lists of neighbours, and what each neighbour adds to them, exactly.

Without a neighbour those behind it move up by one, and the next row of the gallery comes in at the
end; so a list that is longer by one tells what the score would be. All functions return the scores
`(b,)` and, for the first neighbours in order, the score less the score without it `(b, k)`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Scored = tuple[Float[Tensor, " b"], Float[Tensor, "b k"]]
# Queries whose votes are counted at a time.
AT_ONCE = 2**12


def hits(match: Bool[Tensor, "b d"], k: int) -> Scored:
    """Return whether any of the first k is a match.

    Args:
        match: Whether each neighbour is one, nearest first.
        k: How many neighbours count.
    """
    first = match[:, :k]
    following = _next(match, k)
    number = first.sum(1, keepdim=True) + following
    hit = first.any(1)
    left = number - first.long() > 0
    return hit.double(), hit[:, None].double() - left.double()


def votes(classes: Int[Tensor, "b d"], own: Int[Tensor, " b"], k: int) -> Scored:
    """Return whether the query's class wins the vote of the first k, the i-th with 1 / i votes.

    Args:
        classes: Classes of the neighbours, nearest first.
        own: Class of each query.
        k: How many neighbours vote.
    """
    scored = [
        _votes(some[:, : k + 1], mine, k)
        for some, mine in zip(torch.split(classes, AT_ONCE), torch.split(own, AT_ONCE), strict=True)
    ]
    won, change = zip(*scored, strict=True)
    return torch.cat(won), torch.cat(change)


def _votes(classes: Tensor, own: Tensor, k: int) -> Scored:
    width = classes.shape[1]
    place = torch.arange(width)
    # Column p: the place of each neighbour once the p-th is gone; the last column: all are there.
    moved = place[:, None] - (place[:, None] > torch.arange(width + 1)).long()
    gone = F.pad(torch.eye(width, dtype=torch.bool), (0, 1))
    weight = torch.where((moved < k) & ~gone, 1 / (moved + 1).double(), 0)
    same = (classes[:, :, None] == classes[:, None, :]).double()
    # To 9 digits: equal votes are equal in whatever order they are summed; then the nearest wins.
    count = (1e9 * (same @ weight)).round().masked_fill(weight == 0, -1)
    right = classes.gather(1, count.argmax(1)) == own[:, None]
    scores = right.double()
    return scores[:, -1], scores[:, -1:] - scores[:, : min(k, width)]


def precision_at_r(
    match: Bool[Tensor, "b d"], partners: Int[Tensor, " b"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b d"], Float[Tensor, " b"]]:
    r"""Return the average precision at R of each query.

    Without one of its R partners R is smaller by one, wherever the partner lies. So the third
    result is what each partner adds that is not among the first R, and the second, for matches,
    what they add beyond that.

    Args:
        match: Whether each neighbour is of the query's class, nearest first.
        partners: How many are in the gallery.
    """
    place = torch.arange(1, match.shape[1] + 1, device=match.device).double()
    r = partners[:, None]
    inside = place <= r
    hit = (match & (place <= r + 1)).double()
    number = hit.cumsum(1)
    before = (place - 1).clamp_min(1)
    stays = torch.where(inside, hit * number / place, 0)
    after_other = hit * number / before
    after_partner = torch.where(inside, hit * (number - 1) / before, 0)
    total = stays.cumsum(1)
    left = total - stays

    def behind(terms: Tensor) -> Tensor:
        return terms.sum(1, keepdim=True) - terms.cumsum(1)

    fewer = (r - 1).clamp_min(1)
    score = total[:, -1:] / r.clamp_min(1)
    last = torch.where(place == r, stays, 0).sum(1, keepdim=True)
    rest = score - (total[:, -1:] - last) / fewer
    change = torch.where(
        match,
        score - (left + behind(after_partner)) / fewer - rest,
        score - (left + behind(after_other)) / r.clamp_min(1),
    )
    return score[:, 0], torch.where(inside, change, 0), rest[:, 0]


def overlaps(
    student: Int[Tensor, "b d"], teacher: Int[Tensor, "b d"], k: int
) -> tuple[Float[Tensor, " b"], Int[Tensor, "b m"], Float[Tensor, "b m"]]:
    """Return the share of the teacher's first k among the student's first k.

    Args:
        student: Neighbours of each query in the student, nearest first.
        teacher: In the teacher.
        k: How many are compared.

    Returns:
        The shares; neighbours, of the student first; what each adds.
    """
    k = min(k, student.shape[1])
    ours, theirs = student[:, :k], teacher[:, :k]
    alike = ours[:, :, None] == theirs[:, None, :]
    in_theirs, in_ours = alike.any(2), alike.any(1)
    coming = [_following(x, k) for x in (student, teacher)]
    one = (coming[0] == theirs).any(1).double()
    two = (coming[1] == ours).any(1).double()
    both = ((coming[0] == coming[1]) & (coming[0] >= 0))[:, 0].double()
    shared = 1 - one - two - both
    change = torch.cat(
        [
            torch.where(in_theirs, shared[:, None], -one[:, None]),
            torch.where(in_ours, 0.0, -two[:, None]),
        ],
        1,
    )
    width = max(1, k)
    return in_theirs.sum(1).double() / width, torch.cat([ours, theirs], 1), change / width


def nearest_found(
    student: Int[Tensor, "b d"], teacher: Int[Tensor, "b d"], k: int
) -> tuple[Float[Tensor, " b"], Int[Tensor, "b m"], Float[Tensor, "b m"]]:
    """Return whether the teacher's nearest is among the student's first k; see `overlaps`."""
    nearest = teacher[:, :1]
    hit, change = hits(student == nearest, k)
    # Without the teacher's nearest its second is looked for, among those that are left.
    second = student == _following(teacher, 1)
    among = student[:, : k + 1] != nearest
    left = (second[:, : k + 1] & (among.cumsum(1) <= k)).any(1)
    own = hit - left.double()
    change = torch.where(student[:, : change.shape[1]] == nearest, 0, change)
    return (
        hit,
        torch.cat([student[:, : change.shape[1]], nearest], 1),
        torch.cat([change, own[:, None]], 1),
    )


def _next(match: Tensor, k: int) -> Tensor:
    """Return column k, counted from 0, or no match."""
    return match[:, k : k + 1] if match.shape[1] > k else torch.zeros_like(match[:, :1])


def _following(rows: Tensor, k: int) -> Tensor:
    """Return column k, counted from 0, or -1."""
    return rows[:, k : k + 1] if rows.shape[1] > k else torch.full_like(rows[:, :1], -1)
