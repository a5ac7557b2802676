"""Data held once in memory: 8-bit pixels stay 8-bit, and a batch is gathered by index and normalised on the fly.

Images are stored [N, H, W, C], so that a gathered batch seen as [B, C, H, W] is channels_last without a copy.
"""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import Batch, DataSpec

OFFSET = 32768  # 16-bit pixels are stored as int16: torch gathers int16 on every device, uint16 on few
_TOLERANCE = 1e-6  # how far rounding in float32 may carry a value of [-1, 1] beyond its end


class Resident:
    """A `Source` that holds all samples as one tensor.

    `images` is uint8 (8-bit), int16 holding value - 32768 (16-bit), or float32 in [-1, 1]; its shape is [N, H, W, C],
    or [N, D] for vectors. `labels` is int64 [N] in [0, spec.num_classes); or other conditions, float32 [N, D] or images
    held like samples; or None. `report` says what was read, refused and counted, as
    JSON data (see `sparring.data.open`).
    """

    def __init__(self, images: Tensor, labels: Tensor | None, spec: DataSpec, report: dict[str, Any]) -> None:
        self.images = images
        self.labels = labels
        self.spec = spec
        self.report = report

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Tensor) -> Batch:
        """The samples at int64 positions [B] in [0, len): x float32 [B, C, H, W] (channels_last) or [B, D], in [-1, 1].

        8-bit values v become v / 127.5 - 1, 16-bit values v / 32767.5 - 1; floats are taken as they are. Conditions
        that are images are y float32 [B, C, H, W] in [-1, 1] in the same way.
        """
        index = index.to(self.images.device)
        x = seen(self.images.index_select(0, index))
        return Batch(x, None if self.labels is None else seen(self.labels.index_select(0, index)))

    def ahead(self, index: Tensor) -> None:
        """Nothing: everything is at hand."""

    def to(self, device: torch.device) -> Resident:
        """The same source, held on a device."""
        labels = None if self.labels is None else self.labels.to(device)
        return Resident(self.images.to(device), labels, self.spec, self.report)

    def numpy(self) -> NDArray[Any]:
        """All samples as they were given: uint8, uint16 or float32, [N, H, W, C] or [N, D]."""
        array: NDArray[Any] = self.images.cpu().numpy()
        return array.view(np.uint16) ^ np.uint16(OFFSET) if array.dtype == np.int16 else array

    def subset(self, index: Tensor, note: str) -> Resident:
        """The samples at int64 positions [n], in that order; the report counts them anew and its notes say `note`."""
        images = self.images.index_select(0, index)
        labels = None if self.labels is None else self.labels.index_select(0, index)
        sha256, duplicates = _fingerprint(images, labels, self.spec.levels)
        classes = {}
        if labels is not None and self.spec.num_classes:
            counts = torch.bincount(labels, minlength=self.spec.num_classes).tolist()
            classes = dict(zip(self.spec.class_names, counts, strict=True))
        report = self.report | {
            "count": len(images),
            "classes": classes,
            "duplicates": duplicates,
            "notes": [*self.report["notes"], note],
            "sha256": sha256,
        }
        return Resident(images, labels, self.spec.replace(sha256=sha256), report)

    def without_labels(self) -> Resident:
        """The same samples with the labels set aside; the report's notes say so."""
        if self.labels is None:
            return self
        kind = f"{self.spec.num_classes} classes" if self.spec.num_classes else "conditions"
        note = f"labels ignored as asked: {kind} set aside, training is unconditional"
        sha256, _ = _fingerprint(self.images, None, self.spec.levels)
        spec = self.spec.replace(num_classes=0, class_names=(), y_shape=(), sha256=sha256)
        report = self.report | {"classes": {}, "notes": [*self.report["notes"], note], "sha256": sha256}
        return Resident(self.images, None, spec, report)


def from_arrays(
    x: NDArray[Any] | Tensor,
    y: NDArray[Any] | Tensor | None = None,
    *,
    name: str = "array",
    class_names: tuple[str, ...] = (),
) -> Resident:
    """A source from samples that Python already holds.

    - numpy: images [N, H, W] or [N, H, W, C] (channels last), vectors [N, D];
    - torch: images [N, H, W] or [N, C, H, W] (channels first), vectors [N, D];
    - C is 1, 3 or 4. uint8 in 0..255, uint16 in 0..65535, or floats in [-1, 1]. At least two samples.
    - y: classes as integers [N], from 0; or conditions: attributes as booleans [N, D], other vectors as floats [N, D]
      of any range, or images of any size and number of channels, laid out and valued like samples.

    Samples that already have the stored layout and type are held, not copied: leave them unchanged afterwards.
    Raises `RequestError`, opened by `name`, for any other type, shape or range, for NaN and infinities, and for
    labels and conditions that do not fit.

    >>> source = from_arrays(np.zeros((2, 24, 40, 3), np.uint8), np.array([0, 1]))
    >>> source.spec.shape, source.spec.num_classes, source.take(torch.tensor([1])).x.shape
    ((3, 24, 40), 2, torch.Size([1, 3, 24, 40]))
    """
    notes: list[str] = []
    given = _tensor(x, name, "samples")
    _check_shape(given, name, channels_first=isinstance(x, Tensor))
    images, levels = _stored(given, name, notes)
    if images.ndim == 3:
        images = images.unsqueeze(-1)
    elif images.ndim == 4 and isinstance(x, Tensor):
        images = images.permute(0, 2, 3, 1)
    images = images.contiguous()
    labels, counts = None, []
    y_shape: tuple[int, ...] = ()
    asked = None if y is None else _tensor(y, name, "labels")
    if asked is not None and _is_condition(asked):
        if class_names:
            raise RequestError(f"{name}: class_names name classes, and y {list(asked.shape)} holds conditions")
        labels = _conditions(asked, len(images), name, channels_first=isinstance(y, Tensor))
        y_shape = tuple(seen(labels[:1]).shape[1:])
        notes.append(f"every sample has a condition of shape {list(y_shape)}")
    elif asked is not None:
        labels = _labels(asked, len(images), len(class_names), name)
        counts = torch.bincount(labels, minlength=len(class_names)).tolist()
        class_names = class_names or tuple(str(i) for i in range(len(counts)))
        if 0 in counts:
            empty = [c for c, count in zip(class_names, counts, strict=True) if not count]
            notes.append(f"{len(empty)} of {len(counts)} classes have no sample, the first is {empty[0]!r}")
    elif class_names:
        raise RequestError(f"{name}: class_names without labels; give labels y, or leave class_names out")
    if len(set(class_names)) < len(class_names):
        raise RequestError(f"{name}: two classes have the same name; give each class its own")
    sha256, duplicates = _fingerprint(images, labels, levels)
    is_image = images.ndim == 4
    height, width, channels = images.shape[1:] if is_image else (0, 0, 0)
    shape = (channels, height, width) if is_image else tuple(images.shape[1:])
    spec = DataSpec(
        name=name,
        shape=shape,
        levels=levels,
        num_classes=len(counts),
        class_names=class_names,
        y_shape=y_shape,
        sha256=sha256,
    )
    report = {
        "source": name,
        "split": "train",
        "kind": "array",
        "count": len(images),
        "shape": list(shape),
        "levels": levels,
        "classes": dict(zip(class_names, counts, strict=True)),
        "sizes": {f"{height}x{width}": len(images)} if is_image else {},
        "channels": channels,
        "converted": {},
        "resized": 0,
        "cropped": 0,
        "duplicates": duplicates,
        "ignored": 0,
        "refused": [],
        "notes": notes,
        "sha256": sha256,
        "seconds": 0.0,
    }
    return Resident(images, labels, spec, report)


def _tensor(array: object, name: str, what: str) -> Tensor:
    """The array as a tensor of the same layout, sharing its memory where it can."""
    if isinstance(array, Tensor):
        return array.detach()
    if not isinstance(array, np.ndarray):
        raise RequestError(
            f"{name}: expected the {what} as a numpy array or torch tensor, found {type(array).__name__}; "
            "np.asarray(...) makes one"
        )
    if array.dtype.kind not in "buif":
        raise RequestError(
            f"{name}: {what} of type {array.dtype} cannot be used; expected numbers "
            "(uint8, uint16 or floats in [-1, 1] for samples, integers for labels)"
        )
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    with warnings.catch_warnings():  # a read-only array is fine: nothing here writes to it
        warnings.filterwarnings("ignore", message=".*not writable")
        return torch.from_numpy(array)


def _check_shape(x: Tensor, name: str, channels_first: bool) -> None:
    shape = list(x.shape)
    layout = "[N,C,H,W]" if channels_first else "[N,H,W,C]"
    expected = f"expected images [N,H,W] or {layout} with C of 1, 3 or 4, or vectors [N,D]"
    if x.ndim not in (2, 3, 4):
        mend = "; reshape it to [N,D], or add an axis: x[None]" if x.ndim == 1 else ""
        raise RequestError(f"{name}: samples of shape {shape}; {expected}{mend}")
    if 0 in shape:
        raise RequestError(f"{name}: samples of shape {shape} hold nothing; {expected}, no side of 0")
    channels_at, others_at = (1, 3) if channels_first else (3, 1)
    if x.ndim == 4 and shape[channels_at] not in (1, 3, 4):
        order = "(0, 3, 1, 2)" if channels_first else "(0, 2, 3, 1)"
        call = "permute" if channels_first else "transpose"
        mend = f"; x.{call}{order} puts the channels there" if shape[others_at] in (1, 3, 4) else ""
        raise RequestError(f"{name}: samples of shape {shape} have {shape[channels_at]} channels; {expected}{mend}")
    if x.ndim == 3 and not channels_first and shape[2] in (1, 3, 4) and min(shape[:2]) >= 8:
        raise RequestError(
            f"{name}: samples of shape {shape} look like one image [H,W,C]; expected many: {layout} "
            "(narrow grey images are given as [N,H,W,1])"
        )
    if len(x) < 2:
        raise RequestError(f"{name}: one sample only; a generator learns from many, so give at least two")


def _stored(x: Tensor, name: str, notes: list[str]) -> tuple[Tensor, int]:
    """Samples in their stored type and the number of levels; floats are checked for range."""
    if x.dtype == torch.uint8:
        return x, 256
    if x.dtype == torch.uint16:
        return x.contiguous().view(torch.int16) ^ -OFFSET, 65536
    if not x.dtype.is_floating_point:
        raise RequestError(
            f"{name}: samples of type {str(x.dtype).removeprefix('torch.')} cannot be used; expected uint8 in 0..255, "
            "uint16 in 0..65535 or floats in [-1, 1]; x.astype('uint8') makes 8-bit pixels"
        )
    low, high = (float(v) for v in torch.aminmax(x))
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = (~torch.isfinite(x)).nonzero()
        at = ", ".join(str(int(i)) for i in bad[0])
        raise RequestError(
            f"{name}: {len(bad)} of {x.numel()} values are NaN or infinite, the first at [{at}]; "
            "expected finite numbers in [-1, 1]; remove or replace those samples"
        )
    if low < -1 - _TOLERANCE or high > 1 + _TOLERANCE:
        bytes_like = low >= 0 and high <= 255
        mend = "x.astype('uint8') if these are 8-bit pixels, or x / 127.5 - 1" if bytes_like else ""
        mend = mend or "2 * (x - x.min()) / (x.max() - x.min()) - 1 brings it there"
        raise RequestError(f"{name}: floats from {low:g} to {high:g}; expected [-1, 1]; {mend}")
    if low >= 0:
        notes.append(
            f"floats from {low:g} to {high:g} look like [0, 1]: they are taken as they are, but generators that end "
            "in tanh expect [-1, 1]; 2 * x - 1 brings them there"
        )
    stored = x.to(torch.float32)
    return (stored.clamp(-1, 1) if low < -1 or high > 1 else stored), 0


def seen(x: Tensor) -> Tensor:
    """Gathered values as networks see them: pixels [B, H, W, C] as float32 [B, C, H, W] in [-1, 1], labels as they
    are."""
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2)
    if x.dtype == torch.uint8:
        return x.to(torch.float32).div_(127.5).sub_(1.0)
    if x.dtype == torch.int16:
        return x.to(torch.float32).add_(OFFSET).div_(32767.5).sub_(1.0)
    return x


def _is_condition(y: Tensor) -> bool:
    """Whether y holds no classes: vectors of floats or booleans, or images."""
    return y.ndim in (3, 4) or (y.ndim == 2 and (y.dtype.is_floating_point or y.dtype == torch.bool))


def _conditions(y: Tensor, count: int, name: str, channels_first: bool) -> Tensor:
    """Conditions as they are stored: float32 [count, D], or images [count, H, W, C]."""
    if 0 in y.shape:
        raise RequestError(f"{name}: conditions of shape {list(y.shape)} hold nothing; expected no side of 0")
    if len(y) != count:
        raise RequestError(f"{name}: {len(y)} conditions for {count} samples; expected one condition per sample")
    if y.ndim > 2:
        y, _ = _stored(y, f"{name}, conditions", [])
        y = y.unsqueeze(-1) if y.ndim == 3 else y.permute(0, 2, 3, 1) if channels_first else y
        return y.contiguous()
    stored = y.to(torch.float32).contiguous()
    bad = (~stored.isfinite()).nonzero()
    if len(bad):
        at = ", ".join(str(int(i)) for i in bad[0])
        raise RequestError(
            f"{name}: {len(bad)} of {y.numel()} values of the conditions are NaN, infinite or too large for float32, "
            f"the first at [{at}]; remove or replace those samples"
        )
    return stored


def _labels(y: Tensor, count: int, num_classes: int, name: str) -> Tensor:
    """Labels as int64 [count] in [0, num_classes), or in [0, max] where `num_classes` is 0."""
    if y.dtype.is_floating_point or y.dtype.is_complex or y.dtype == torch.bool:
        mend = "; y[:, None] makes conditions of one number each" if y.dtype.is_floating_point and y.ndim == 1 else ""
        raise RequestError(
            f"{name}: labels of type {str(y.dtype).removeprefix('torch.')}; expected integers from 0; "
            f"y.astype('int64') makes them{mend}"
        )
    if y.ndim != 1:
        mend = ""
        if y.ndim == 2 and y.shape[1] > 1:
            mend = "; y.argmax(1) turns one-hot rows into labels, y.astype(bool) makes attributes of zeros and ones"
        raise RequestError(f"{name}: labels of shape {list(y.shape)}; expected one integer per sample, [N]{mend}")
    if len(y) != count:
        raise RequestError(f"{name}: {len(y)} labels for {count} samples; expected one label per sample")
    y = y.to(torch.int64)
    low, high = int(y.min()), int(y.max())
    if low < 0:
        raise RequestError(f"{name}: label {low} is negative; expected 0, 1, 2, ...")
    if num_classes and high >= num_classes:
        raise RequestError(f"{name}: label {high} has no name; expected labels below {num_classes}, the class names")
    if not num_classes and high >= count:
        raise RequestError(
            f"{name}: label {high} means {high + 1} classes for {count} samples; number the classes from 0 without "
            "gaps: np.unique(y, return_inverse=True)[1], or give class_names"
        )
    return y


def _fingerprint(images: Tensor, labels: Tensor | None, levels: int) -> tuple[str, int]:
    """SHA-256 of all samples and labels in order, and how many samples repeat an earlier one exactly."""
    rows = images.cpu().numpy().reshape(len(images), -1).view(np.uint8)
    digests = [hashlib.sha256(row.data).digest() for row in rows]
    whole = hashlib.sha256(f"{levels} {list(images.shape)}".encode())
    whole.update(b"".join(digests))
    if labels is not None:
        if labels.ndim > 1:
            whole.update(f"{labels.dtype} {list(labels.shape)}".encode())
        whole.update(labels.cpu().numpy().data)
    return whole.hexdigest(), len(digests) - len(set(digests))
