"""Classes from a few examples: a linear classifier on what objects look like, that may be unsure.

Logistic regression on the parts of :mod:`maskloop.sam.appearance`, each standardised and of length one. How strongly it
is regularised, how far its chances are to be trusted and from which chance on it answers is decided by
cross-validation over photos: objects of one photo are too alike to test one by another.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskloop.errors import BadRequest
from maskloop.sam.values import LOOKS_LENGTH, LOOKS_PARTS

Matrix = NDArray[np.float64]
FEWEST = 3
"""Examples of a class, below which it isn't learned."""
MOST = 50
"""Examples of a class, the newest, from which it is learned: more take time and tell little."""
STRENGTHS = (1.0, 10.0, 100.0)
TEMPERATURES = np.geomspace(0.3, 5.0, 15)
FOLDS = 5
STEPS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """names: of the C classes, sorted. mean, scale: of L = LOOKS_LENGTH features, (L,). weights: (L, C); bias: (C,).

    temperature: by which scores are divided before they become chances.
    threshold: the least chance of an answer. right: share of the examples that photos other than their own tell right.
    examples: how many it has learned from.
    """

    names: tuple[str, ...]
    mean: Matrix
    scale: Matrix
    weights: Matrix
    bias: Matrix
    temperature: float = 1.0
    threshold: float = 0.0
    right: float = 0.0
    examples: int = 0

    def chances(self, looks: ArrayLike) -> Matrix:
        """Of each class, for each of N objects, (N, C)."""
        return _softmax(self._scores(looks) / self.temperature)

    def predict(self, looks: ArrayLike) -> list[str | None]:
        """The class of each object, None if unsure."""
        chances = self.chances(looks)
        best = chances.argmax(axis=1)
        sure = chances.max(axis=1) >= self.threshold
        return [self.names[index] if answers else None for index, answers in zip(best, sure, strict=True)]

    def _scores(self, looks: ArrayLike) -> Matrix:
        return _standardised(np.asarray(looks, np.float64), self.mean, self.scale) @ self.weights + self.bias

    def to_bytes(self) -> bytes:
        """A NumPy archive (.npz) that ``from_bytes`` reads."""
        file = io.BytesIO()
        values = {name: getattr(self, name) for name in self.__slots__ if name != "names"}
        np.savez(file, names=np.array(self.names, np.str_), **values)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, archive: bytes) -> Self:
        """What ``to_bytes`` wrote. Raises ValueError if it is something else, or of features of another length."""
        try:
            with np.load(io.BytesIO(archive), allow_pickle=False) as file:
                arrays = [file[name] for name in ("mean", "scale", "weights", "bias")]
                temperature, threshold, right = (float(file[name]) for name in ("temperature", "threshold", "right"))
                names, examples = tuple(file["names"].tolist()), int(file["examples"])
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"not a classifier: {error}") from error
        mean, scale, weights, bias = arrays
        if weights.shape != (LOOKS_LENGTH, len(names)):
            raise ValueError(f"a classifier of other features: {weights.shape}")
        return cls(names, mean, scale, weights, bias, temperature, threshold, right, examples)


def fit(looks: ArrayLike, labels: Sequence[str], photos: Sequence[str]) -> Classes:
    """A classifier from examples: looks (N, LOOKS_LENGTH), their labels, and the photo that each is from.

    Classes of fewer than ``FEWEST`` examples are left out. Raises BadRequest if fewer than two are left.
    """
    counts = {name: labels.count(name) for name in sorted(set(labels))}
    names = tuple(name for name, count in counts.items() if count >= FEWEST)
    if len(names) < 2:
        told = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
        raise BadRequest(
            f"There are too few examples to learn classes from: {told}.",
            f"It takes at least two classes, with {FEWEST} examples each.",
        )
    used = [index for index, label in enumerate(labels) if label in names]
    x = np.asarray(looks, np.float64)[used]
    y = np.array([names.index(labels[index]) for index in used])
    folds = _folds([photos[index] for index in used], y)
    held_out = [_held_out(x, y, folds, len(names), strength) for strength in STRENGTHS]
    strength, scores = min(
        zip(STRENGTHS, held_out, strict=True), key=lambda one: _log_loss(one[1] / _temperature(one[1], y), y)
    )
    temperature = _temperature(scores, y)
    chances = _softmax(scores / temperature)
    right = chances.argmax(axis=1) == y
    mean, scale = _moments(x)
    weights, bias = _regress(_standardised(x, mean, scale), y, len(names), strength)
    threshold = _threshold(chances.max(axis=1), right)
    return Classes(names, mean, scale, weights, bias, temperature, threshold, float(right.mean()), len(x))


def _folds(photos: Sequence[str], y: NDArray[np.intp]) -> NDArray[np.intp]:
    """Each class's photos dealt out in turn, so that every fold leaves some of every class; the examples of a class
    that is on one photo alone are dealt out themselves."""
    fold = np.zeros(len(y), np.intp)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        known = sorted({photos[index] for index in members})
        for number, index in enumerate(members):
            fold[index] = (known.index(photos[index]) if len(known) > 1 else number) % FOLDS
    return fold


def _held_out(x: Matrix, y: NDArray[np.intp], folds: NDArray[np.intp], classes: int, strength: float) -> Matrix:
    """Scores of each example by a classifier that has not seen its fold."""
    scores = np.zeros((len(x), classes))
    for fold in np.unique(folds):
        seen, unseen = folds != fold, folds == fold
        mean, scale = _moments(x[seen])
        weights, bias = _regress(_standardised(x[seen], mean, scale), y[seen], classes, strength)
        scores[unseen] = _standardised(x[unseen], mean, scale) @ weights + bias
    return scores


def _regress(x: Matrix, y: NDArray[np.intp], classes: int, strength: float) -> tuple[Matrix, Matrix]:
    """Multinomial logistic regression; every class weighs the same, however many examples it has."""
    import torch  # only here: who names masks or asks what is known need not have it
    from torch.nn import functional as F

    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    counts = torch.bincount(targets, minlength=classes).clamp(min=1).double()
    each = (len(y) / int((counts > 0).sum()) / counts)[targets] * strength
    weights = torch.zeros(x.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (F.cross_entropy(inputs @ weights + bias, targets, reduction="none") * each).sum()
        value = value + 0.5 * (weights**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy(), bias.detach().numpy()


def _moments(x: Matrix) -> tuple[Matrix, Matrix]:
    return x.mean(axis=0), x.std(axis=0) + 1e-3 * float(np.abs(x).mean()) + 1e-9


def _standardised(x: Matrix, mean: Matrix, scale: Matrix) -> Matrix:
    parts = ((x - mean) / scale).reshape(len(x), LOOKS_PARTS, -1)
    return np.asarray((parts / (np.linalg.norm(parts, axis=2, keepdims=True) + 1e-9)).reshape(len(x), -1), np.float64)


def _temperature(scores: Matrix, y: NDArray[np.intp]) -> float:
    """The one with which the chances are the likeliest."""
    return float(min(TEMPERATURES, key=lambda temperature: _log_loss(scores / temperature, y)))


def _threshold(chances: Matrix, right: NDArray[np.bool_]) -> float:
    """A wrong answer costs as much as a right one saves: the least chance from which on that balance is the best."""
    order = np.argsort(-chances, kind="stable")
    balance = np.concatenate([[0], np.cumsum(np.where(right[order], 1, -1))])
    answered = int(balance.argmax())
    return float(chances[order[answered - 1]]) if answered else 1.0


def _log_loss(scores: Matrix, y: NDArray[np.intp]) -> float:
    return float(-np.log(np.maximum(_softmax(scores)[np.arange(len(y)), y], 1e-9)).mean())


def _softmax(scores: Matrix) -> Matrix:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)
