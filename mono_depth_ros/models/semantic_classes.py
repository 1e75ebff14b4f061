"""Class sets of the semantic branch: 4, 13 or 40 classes of rooms, Cityscapes train ids of streets.

Names and numbers of the 40 room classes and of the 19 street classes are those of
`mono_depth_ros.labels`. Channel k of the logits belongs to `class_names(...)[k]`.

40 to 4: Silberman et al. 2012, as printed in `classMapping40.mat`; see `labels.nyu40_to_4`. 40 to
13: the classes of Couprie et al. 2013, by the table that SceneNet and SemanticFusion use
(`class13Mapping.mat`). The 13 are no refinement of the 4: a counter is furniture here and structure
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.labels import CITYSCAPES_IGNORE, NYU_VOID, City, Nyu, nyu40_to_4
from mono_depth_ros.models.base import IGNORED_LABEL

Semantics = Literal["none", "nyu4", "nyu13", "nyu40", "cityscapes"]

NYU4_NAMES = ("ground", "structure", "furniture", "props")
NYU13_NAMES = (
    "bed",
    "books",
    "ceiling",
    "chair",
    "floor",
    "furniture",
    "objects",
    "picture",
    "sofa",
    "table",
    "tv",
    "wall",
    "window",
)
# The supplement counts 21 "train IDs" of Cityscapes. The label files hold 19 classes and two more
# values, 255 for void and -1 for licence plates, which 8-bit pictures do not keep apart from void.
CITYSCAPES_EXTRA_NAMES = ("void", "license plate")

_CLASS_SETS: tuple[tuple[Semantics, int], ...] = (
    ("nyu4", 0),
    ("nyu13", 0),
    ("nyu40", 0),
    *(("cityscapes", extra) for extra in range(len(CITYSCAPES_EXTRA_NAMES) + 1)),
)

# Row 0 is void, rows 1 to 40 are Nyu classes, values count from 1 in the order of NYU13_NAMES.
_NYU13 = "0 12 5 6 1 4 9 10 12 13 6 8 6 13 10 6 13 6 7 7 5 7 3 2 6 11 7 7 7 7 7 7 6 7 7 7 7 7 7 6 7"
_NYU13_OF_NYU40 = np.array(_NYU13.split(), np.uint8)


def nyu40_to_13(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Map NYU labels to the 13 classes of Couprie et al.

    Args:
        labels: any shape, 0 (void) or 1..40.

    Returns:
        Same shape: 0 void, 1..13 in the order of `NYU13_NAMES`.
    """
    return _NYU13_OF_NYU40[labels]


def class_names(semantics: Semantics, extra_classes: int = 0) -> tuple[str, ...]:
    """Name the channels of the semantic logits, in order; empty for `none`.

    Args:
        semantics: class set.
        extra_classes: of Cityscapes' values beyond the 19 classes, how many are classes too: 1 adds
            void, 2 licence plates as well.

    Raises:
        ConfigError: extra classes were asked for where there are none.
    """
    most = len(CITYSCAPES_EXTRA_NAMES) if semantics == "cityscapes" else 0
    if not 0 <= extra_classes <= most:
        raise ConfigError(
            f"extra_classes is {extra_classes}; with semantics {semantics} choose 0 to {most}"
        )
    return {
        "none": (),
        "nyu4": NYU4_NAMES,
        "nyu13": NYU13_NAMES,
        "nyu40": tuple(_words(member.name) for member in Nyu),
        "cityscapes": (
            *(_words(member.name) for member in City),
            *CITYSCAPES_EXTRA_NAMES[:extra_classes],
        ),
    }[semantics]


def label_map(semantics: Semantics, extra_classes: int = 0) -> npt.NDArray[np.int16]:
    """Say which class each label on disk is.

    Room labels are 0 (void) or 1..40, street labels are Cityscapes train ids with 255 for void.

    Args:
        semantics: class set; `none` makes every label one without a class.
        extra_classes: as in `class_names`.

    Returns:
        (256,) int16: channel of the logits, -1 where the label has no class.
    """
    names = class_names(semantics, extra_classes)
    classes = np.full(256, IGNORED_LABEL, np.int16)
    if semantics == "cityscapes":
        classes[: len(City)] = np.arange(len(City))
        if extra_classes:
            classes[CITYSCAPES_IGNORE] = names.index("void")
    elif semantics != "none":
        labels = np.arange(NYU_VOID, len(Nyu) + 1, dtype=np.uint8)
        if semantics == "nyu4":
            mapped = nyu40_to_4(labels)
        else:
            mapped = nyu40_to_13(labels) if semantics == "nyu13" else labels
        # Void is 0 in all three sets, so it becomes -1 here.
        classes[labels] = mapped.astype(np.int16) - 1
    return classes


def labels_of_names(names: Sequence[str]) -> npt.NDArray[np.int16]:
    """Return the `label_map` (256,) of the class set whose channels have these names.

    Raises:
        ConfigError: no class set has them.
    """
    for semantics, extra_classes in _CLASS_SETS:
        if class_names(semantics, extra_classes) == tuple(names):
            return label_map(semantics, extra_classes)
    raise ConfigError(
        f"the classes {', '.join(names)} are none of the sets nyu4, nyu13, nyu40 and cityscapes; "
        "evaluate without labels"
    )


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
